"""Reasoning kept apart from the answer: DeepSeek R1 and its kin write it into the text, between ``<think>`` tags."""

from typing import Any, NamedTuple

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


def said_in(message: Any) -> str | None:
    """Return the reasoning that a message keeps in a field of its own, under either name that providers use."""
    if not isinstance(message, dict):
        return None
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str) and message[name]:
            return str(message[name])
    return None
