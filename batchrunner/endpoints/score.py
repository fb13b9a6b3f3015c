"""vLLM's scores: how much two texts have to do with each other."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batchrunner.core.attempt import Outcome
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.answers import Answer, Form, Misshapen, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts
from batchrunner.endpoints.facts import Asked, decode, keys, refuse_repeats
from batchrunner.endpoints.rules import NAME, TEXT, Rule, either, list_of, whole
from batchrunner.endpoints.usage import Counted, consumed


class _Body(Asked, gc=False, kw_only=True):
    text_1: msgspec.Raw
    text_2: msgspec.Raw


class _Scored(msgspec.Struct, gc=False):
    score: float


class _Scores(Answer, gc=False):
    data: list[_Scored] | None = None


_BODY = msgspec.json.Decoder(_Body)
_LIST = msgspec.json.Decoder(list[Any])
_WATCHED = keys("model", "text_1", "text_2")


def _judge(answer: _Scores) -> None:
    """Raise Misshapen unless there are scores."""
    if not answer.data:
        raise Misshapen("it has no data")


def _count(raw: msgspec.Raw) -> Counted:
    return consumed(raw, "prompt_tokens", "total_tokens")


_FORM = Form("a list of scores", msgspec.json.Decoder(_Scores), _judge, _count)

_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "text_1": either(TEXT, list_of(TEXT)),
    "text_2": either(TEXT, list_of(TEXT)),
    "truncate_prompt_tokens": whole(-1),
}


class Score:
    """Scores as vLLM speaks them, beside ``/v1`` and not below it."""

    path = "/score"
    name = "score"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model and the two texts, of which each may be several; raises BadBody.

        One text against many is read with each of them, so it counts as often.
        """
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        one, other = _number(asked.text_1, "text_1"), _number(asked.text_2, "text_2")
        if one != other and 1 not in (one, other):
            raise BadBody(f"`text_2`: expected one text, or {one:,} as in `text_1`, not {other:,}", "text_2")
        pairs = max(one, other)
        estimate = sum(
            tokens(bytes(text)) * (pairs if number == 1 else 1)
            for text, number in ((asked.text_1, one), (asked.text_2, other))
        )
        return Facts(asked.model, estimate, 0)

    def feed(self, body: bytes) -> None:
        """Return None: scores are not streamed."""

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are."""
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return None: scores are not text."""
        return None


def _number(raw: msgspec.Raw, field: str) -> int:
    """Return how many texts there are."""
    value = bytes(raw)
    if value.startswith(b"["):
        number = len(decode(_LIST, raw, field))
    else:
        number = int(value.startswith((b'"', b"{")))
    if not number:
        raise BadBody(f"`{field}` must be a string or a list that is not empty", field)
    return number
