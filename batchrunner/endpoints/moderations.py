"""OpenAI's moderations."""

from collections.abc import Mapping
from typing import Final

import msgspec

from batchrunner.core.attempt import Outcome
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.answers import Answer, Form, Misshapen, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts
from batchrunner.endpoints.facts import Asked, decode, keys, refuse_repeats
from batchrunner.endpoints.rules import NAME, OBJECT, TEXT, Rule, either, list_of
from batchrunner.endpoints.usage import Counted, consumed


class _Body(Asked, gc=False, kw_only=True):
    input: msgspec.Raw


class _Result(msgspec.Struct, gc=False):
    flagged: bool


class _Moderation(Answer, gc=False):
    results: list[_Result] | None = None


_BODY = msgspec.json.Decoder(_Body)
_WATCHED = keys("model", "input")


def _judge(answer: _Moderation) -> None:
    """Raise Misshapen unless there are results."""
    if not answer.results:
        raise Misshapen("it has no results")


def _count(raw: msgspec.Raw) -> Counted:
    return consumed(raw, "total_tokens", "prompt_tokens")


_FORM = Form("a moderation", msgspec.json.Decoder(_Moderation), _judge, _count)

_RULES: Final[Mapping[str, Rule]] = {"model": NAME, "input": either(TEXT, list_of(TEXT), list_of(OBJECT))}


class Moderations:
    """Moderations as OpenAI speaks them. Their answers carry no usage, and cost nothing there."""

    path = "/v1/moderations"
    name = "moderations"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model and input (a text, texts, or parts with images); raises BadBody."""
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        given = bytes(asked.input)
        if not given.startswith((b'"', b"[")) or given == b"[]":
            raise BadBody("`input` must be a string or a list that is not empty", "input")
        return Facts(asked.model, tokens(given), 0)

    def feed(self, body: bytes) -> None:
        """Return None: verdicts are not streamed."""

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are."""
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return None: a verdict is not text."""
        return None
