"""The endpoints there are, and how a line of a job file finds its own."""

from collections.abc import Container, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from batchrunner.endpoints.base import BadBody, BringsFiles, Composing, Endpoint, Polled
from batchrunner.endpoints.chat import Chat
from batchrunner.endpoints.completions import Completions
from batchrunner.endpoints.embeddings import Embeddings
from batchrunner.endpoints.images import Images
from batchrunner.endpoints.moderations import Moderations
from batchrunner.endpoints.rerank import Rerank
from batchrunner.endpoints.responses import Responses
from batchrunner.endpoints.score import Score
from batchrunner.endpoints.speech import Speech
from batchrunner.endpoints.transcripts import Transcripts
from batchrunner.endpoints.videos import Videos

CHAT = Chat()
COMPLETIONS = Completions()
EMBEDDINGS = Embeddings()
RERANK = Rerank()
TRANSCRIPTIONS = Transcripts("/v1/audio/transcriptions", "transcriptions")
TRANSLATIONS = Transcripts("/v1/audio/translations", "translations")
IMAGES = Images()
SPEECH = Speech()
VIDEOS = Videos()

RESPONSES = Responses()
MODERATIONS = Moderations()
SCORE = Score()

ENDPOINTS: tuple[Endpoint, ...] = (
    *(CHAT, COMPLETIONS, EMBEDDINGS, RERANK),
    *(RESPONSES, MODERATIONS),
    *(TRANSCRIPTIONS, TRANSLATIONS, IMAGES, SPEECH, VIDEOS),
    *(SCORE, Rerank("/rerank"), Rerank("/v2/rerank")),
)
"""All of them, in the order in which they are listed to people."""

BY_PATH: Mapping[str, Endpoint] = MappingProxyType({endpoint.path: endpoint for endpoint in ENDPOINTS})
"""The endpoints by their path, as it is stored with every request."""
COMPOSING: Mapping[str, Composing] = MappingProxyType(
    {endpoint.path: endpoint for endpoint in (CHAT, RESPONSES, TRANSCRIPTIONS, TRANSLATIONS)}
)
"""Those whose bodies may refer to local files, or are no JSON when they are sent."""
FILED: Mapping[str, BringsFiles] = MappingProxyType({each.path: each for each in (IMAGES, SPEECH, VIDEOS)})
"""Those whose answers are files."""
POLLED: Mapping[str, Polled] = MappingProxyType({each.path: each for each in (VIDEOS,)})
"""Of these, those whose purchase makes a job that is asked for."""
_SHOWN = 60


def by_path(path: str) -> Endpoint | None:
    """Return the endpoint with exactly this path."""
    return BY_PATH.get(path)


def resolve(url: str) -> Endpoint:
    """Return the endpoint that a line's ``url`` names; raises BadBody.

    Only the fixed paths themselves are taken, character by character: never an absolute URL, a query, an escape or a
    path to be resolved. So a job file can't send the key anywhere.
    """
    endpoint = BY_PATH.get(url)
    if endpoint is None:
        shown = ascii(url) if len(url) <= _SHOWN else f"{url[:_SHOWN]!a}..."
        near = get_close_matches(url[:_SHOWN], BY_PATH, 1, 0.8)
        if near:
            raise BadBody(f"`url` {shown} is no endpoint: did you mean {near[0]}?", "url")
        raise BadBody(f"`url` {shown} is none of {', '.join(BY_PATH)}; the host is --provider's or --base-url's", "url")
    return endpoint


def infer(keys: Container[str]) -> Endpoint | None:
    """Return the endpoint that a body's top-level keys tell of, or None.

    The rule is part of a job's identity and never changes: ``messages`` is chat, ``prompt`` completions, ``query`` with
    ``documents`` rerank, ``input`` embeddings. Everything else needs a ``url``.
    """
    if "messages" in keys:
        return CHAT
    if "prompt" in keys:
        return COMPLETIONS
    if "query" in keys and "documents" in keys:
        return RERANK
    return EMBEDDINGS if "input" in keys else None
