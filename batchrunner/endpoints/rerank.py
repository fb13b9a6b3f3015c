"""Reranking."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from batchrunner.core.attempt import Outcome
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.answers import Answer, Form, Misshapen, read_answer
from batchrunner.endpoints.base import Classifier, Facts
from batchrunner.endpoints.facts import Asked, Text, decode, keys, refuse_repeats
from batchrunner.endpoints.rules import NAME, OBJECT, SWITCH, TEXT, Rule, either, list_of, whole
from batchrunner.endpoints.usage import Counted, consumed


class _Body(Asked, gc=False, kw_only=True):
    query: Text
    documents: msgspec.Raw


class _Ranked(msgspec.Struct, gc=False):
    index: int
    relevance_score: float


class _Ranking(Answer, gc=False):
    results: list[_Ranked] | None = None
    choices: list[_Ranked] | None = None


_BODY = msgspec.json.Decoder(_Body)
_DOCUMENTS = msgspec.json.Decoder(Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1)])
_WATCHED = keys("model", "query", "documents")


def _judge(answer: _Ranking) -> None:
    """Raise Misshapen unless there are ranked documents, under either name that Together's documentation uses."""
    if not (answer.results or answer.choices):
        raise Misshapen("it has no results")


def _count(raw: msgspec.Raw) -> Counted:
    """Count tokens and the one search: some providers bill by the one, some by the other."""
    counted = consumed(raw, "total_tokens", "prompt_tokens")
    return counted if counted.usage is None else counted._replace(usage=counted.usage._replace(searches=1))


ONE_SEARCH = Usage(searches=1)
_FORM = Form("a ranking", msgspec.json.Decoder(_Ranking), _judge, _count)

_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "query": NAME,
    "documents": list_of(either(TEXT, OBJECT), 1024, least=1),
    "top_n": whole(1),
    "return_documents": SWITCH,
    "rank_fields": list_of(TEXT),
}


class Rerank:
    """Reranking as Together and vLLM (in Jina's format) speak it; vLLM has it at three paths."""

    name = "rerank"
    streams = False
    rules = _RULES

    def __init__(self, path: str = "/v1/rerank") -> None:
        self.path = path

    def inspect(self, body: bytes) -> Facts:
        """Check model, query and documents (texts or objects); raises BadBody.

        A reranker reads the query with every document, so the query counts once for each.
        """
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        documents = decode(_DOCUMENTS, asked.documents, "documents")
        estimate = tokens(bytes(asked.documents)) + tokens(asked.query.encode()) * len(documents)
        return Facts(asked.model, estimate, 0, ONE_SEARCH)

    def feed(self, body: bytes) -> None:
        """Return None: rankings are not streamed."""

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are."""
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return None: a ranking is not text."""
        return None
