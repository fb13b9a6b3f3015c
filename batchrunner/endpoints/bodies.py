"""Looking at the fields of bodies, for ``check``: by the endpoint's rules, and by what a provider is stricter about.

A rule that Together and OpenAI disagree about is the wider one, unless the provider is known: then its own counts.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from batchrunner.endpoints.registry import by_path
from batchrunner.endpoints.rules import (
    NAME,
    NOTHING,
    SWITCH,
    TEXT,
    TOKENS,
    Finding,
    Rule,
    either,
    fields,
    list_of,
    one_of,
    shown,
    text,
    whole,
)

_STOPS: Final = list_of(TEXT)
OWN: Final[Mapping[str, Mapping[str, Mapping[str, Rule]]]] = MappingProxyType(
    {
        "together": {
            "/v1/chat/completions": {"logprobs": whole(0, 20), "stop": _STOPS},
            "/v1/completions": {"logprobs": whole(0, 20), "stop": _STOPS, "prompt": TEXT},
            "/v1/images/generations": {"n": whole(1, 4), "response_format": one_of("url", "base64")},
            "/v1/audio/speech": {"response_format": one_of("mp3", "wav", "raw")},
            "/v1/audio/transcriptions": {"response_format": one_of("json", "verbose_json")},
        },
        "openai": {
            "/v1/chat/completions": {
                "logprobs": SWITCH,
                "stop": either(TEXT, list_of(TEXT, 4)),
                "response_format": fields({"type": one_of("text", "json_object", "json_schema")}, "type"),
            },
            "/v1/embeddings": {"input": either(NAME, list_of(NAME, 2048, least=1), TOKENS, list_of(TOKENS, 2048))},
            "/v1/audio/speech": {"input": text(4096, least=1)},
        },
    }
)
"""What one provider is stricter about, by its dialect."""


class Looked(NamedTuple):
    """What was found in one body."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]
    """Top-level fields that nobody describes: they are sent as they are."""


def look(path: str, body: Mapping[str, Any], dialect: str) -> Looked:
    """Look at a body's fields as a provider of this dialect (``together``, ``openai``, ``generic``) would."""
    endpoint = by_path(path)
    if endpoint is None:
        return Looked((), ())
    known = endpoint.rules
    own = OWN.get(dialect, {}).get(path, {})
    findings: list[Finding] = []
    for name, value in body.items():
        if name in known and value is not None:  # null is the same as leaving it out
            found = list(known[name].look(value, name))
            findings += found or (own[name].look(value, name) if name in own else ())
    if dialect == "openai" and path in _STREAMED and body.get("stream") is True:
        findings += _uncounted(body.get("stream_options"))
    return Looked(tuple(findings), tuple(name for name in body if name not in known))


def nearest(path: str, unknown: str) -> str | None:
    """Return the known field that an unknown one is probably a slip of, None where there is none that is near."""
    endpoint = by_path(path)
    return None if endpoint is None else next(iter(get_close_matches(unknown, endpoint.rules, 1, 0.8)), None)


_STREAMED: Final = frozenset({"/v1/chat/completions", "/v1/completions"})


def _uncounted(options: Any) -> Iterator[Finding]:
    """Find a stream that will not tell its usage: OpenAI sends it only where it is asked for."""
    if type(options) is not dict or options.get("include_usage") is not True:
        wished = '{"include_usage": true} beside a stream, or its tokens are only estimated'
        yield Finding("stream_options", wished, NOTHING if options is None else shown(options))
