"""Embeddings."""

from collections.abc import Mapping
from typing import Final

import msgspec

from batchrunner.core.attempt import Outcome
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.answers import Answer, Form, Misshapen, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts
from batchrunner.endpoints.facts import Asked, decode, keys, refuse_repeats
from batchrunner.endpoints.rules import NAME, TEXT, TOKENS, Rule, either, list_of, one_of, whole
from batchrunner.endpoints.texts import texts
from batchrunner.endpoints.usage import Counted, consumed


class _Body(Asked, gc=False, kw_only=True):
    input: msgspec.Raw


class _Vector(msgspec.Struct, gc=False):
    embedding: msgspec.Raw = msgspec.Raw()


class _Vectors(Answer, gc=False):
    data: tuple[_Vector, ...] = ()


_BODY = msgspec.json.Decoder(_Body)
_WATCHED = keys("model", "input")
_STARTS = frozenset(b'["')


def _judge(answer: _Vectors) -> None:
    """Raise Misshapen unless every item holds a vector: a list of numbers, or base64 of them."""
    if not answer.data:
        raise Misshapen("it has no data")
    for item in answer.data:
        start = memoryview(item.embedding)[:2]  # vectors are large: their bytes are not copied to be looked at
        if len(start) < 2 or start[0] not in _STARTS or bytes(start) in (b"[]", b'""'):
            raise Misshapen("an item of its data holds no embedding")


def _count(raw: msgspec.Raw) -> Counted:
    return consumed(raw, "prompt_tokens", "total_tokens")


_FORM = Form("a list of embeddings", msgspec.json.Decoder(_Vectors), _judge, _count)

_GIVEN: Final = either(TEXT, list_of(TEXT, 2048), TOKENS, list_of(TOKENS, 2048))
_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "input": Rule("a string that is not empty, or a list of at most 2,048 of them", _GIVEN.look),
    "encoding_format": one_of("float", "base64"),
    "dimensions": whole(1),
    "user": TEXT,
}


class Embeddings:
    """Embeddings as Together, OpenAI and vLLM speak them."""

    path = "/v1/embeddings"
    name = "embeddings"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model and input: there must be some, and none of them empty; raises BadBody."""
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        given = texts(asked.input, "input")
        if given.blank:
            raise BadBody("`input` holds an empty text, which providers refuse: leave it out", "input")
        return Facts(asked.model, given.tokens, 0)

    def feed(self, body: bytes) -> None:
        """Return None: vectors are not streamed."""

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are.

        Whether there is a vector for every text can only be told by who knows the request.
        """
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return None: vectors are not text."""
        return None
