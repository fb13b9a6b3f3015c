"""Reasoning kept apart from the answer: DeepSeek R1 and its kin write it into the text, between ``<think>`` tags."""

from typing import Any, NamedTuple

import msgspec

from batchrunner.endpoints.answers import UNREADABLE, load
from batchrunner.endpoints.base import Endpoint

_OPEN = "<think>"
_CLOSE = "</think>"


class Thought(NamedTuple):
    """A text, taken apart."""

    reasoning: str | None
    """What was thought before the answer; None where nothing says that anything was."""
    answer: str


def apart(text: str) -> Thought:
    """Take the reasoning at the start of a text apart from the answer that follows it.

    Some chat templates put the opening tag into the prompt, so that only the closing one comes back; an answer that was
    cut off while it was thought has only the opening one, and is all reasoning. Tags further on are the answer's own.
    """
    begin = text.lstrip()
    opened = begin.startswith(_OPEN)
    thought, closing, answer = begin.partition(_CLOSE)
    if closing and (opened or _OPEN not in thought):
        return Thought(thought.removeprefix(_OPEN).strip(), answer.lstrip())
    if opened:
        return Thought(begin.removeprefix(_OPEN).strip(), "")
    return Thought(None, text)


class Flat(NamedTuple):
    """An answer as one text, for people and CSV, and what was thought before it."""

    text: str | None
    reasoning: str | None


class _Summary(msgspec.Struct, gc=False):
    text: Any = None


class _Message(msgspec.Struct, gc=False):
    content: Any = None
    reasoning: Any = None
    reasoning_content: Any = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    text: Any = None


class _Output(msgspec.Struct, gc=False):
    summary: list[_Summary] | None = None


class _Answer(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    output: list[_Output] | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def flattened(endpoint: Endpoint, body: bytes) -> Flat:
    """Return the text of an answer and its reasoning, apart, wherever the provider puts that.

    It may stand in the text, in ``reasoning`` or ``reasoning_content`` of a message, or among the items of a response.
    Several choices are joined by blank lines, and so is what was thought for them. Never raises.
    """
    text = endpoint.text(body)
    if b"reasoning" not in body and b"think>" not in body:
        return Flat(text, None)
    try:
        answer = load(_ANSWER, body)
    except UNREADABLE:
        return Flat(text, None)
    thoughts = [_thought(choice) for choice in answer.choices or ()]
    reasons = [thought.reasoning for thought in thoughts if thought.reasoning]
    for item in answer.output or ():
        reasons += [part.text for part in item.summary or () if isinstance(part.text, str)]
    if text is not None and any(thought.reasoning for thought in thoughts) and b"think>" in body:
        text = "\n\n".join(thought.answer for thought in thoughts)
    return Flat(text, "\n\n".join(reasons) or None)


def _thought(choice: _Choice) -> Thought:
    message = choice.message or _Message(content=choice.text)
    content = message.content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    said = apart(content) if isinstance(content, str) else Thought(None, "")
    kept = (message.reasoning_content, message.reasoning)
    told = next((thought for thought in kept if isinstance(thought, str) and thought), None)
    if told is None:
        return said
    return said._replace(reasoning=told if said.reasoning is None else f"{told}\n\n{said.reasoning}")
