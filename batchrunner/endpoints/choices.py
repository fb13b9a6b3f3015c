"""Answers that are a list of choices: those of chat and of completions."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from batchrunner.endpoints.answers import Answer, Misshapen, is_error

ENDED = frozenset({"stop", "eos", "tool_calls", "function_call", ""})
"""Finish reasons of an answer that ended by itself; Together has also been seen to send an empty one."""


class Message(msgspec.Struct, gc=False):
    """A message of which nothing is looked at: it only has to be an object."""


class Choice(msgspec.Struct, gc=False):
    """One of the answers to one prompt."""

    finish_reason: Any = None
    message: Message | None = None
    text: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Choices(Answer, gc=False):
    """An answer with its choices."""

    choices: tuple[Choice, ...] = ()


def has_text(choice: Choice) -> bool:
    """Whether the choice holds a text (an empty one is one)."""
    return bytes(choice.text).startswith(b'"')


def has_message(choice: Choice) -> bool:
    """Whether the choice holds a message, or the text that Together's first chat API sent in its place."""
    return choice.message is not None or has_text(choice)


def judge(answer: Choices, holds: Callable[[Choice], bool]) -> str:
    """Return the finish reason of the answer; raises Misshapen where a choice is broken or not finished.

    Any string is a finish reason, also an empty or a new one. Null or none at all means that the answer stops in the
    middle. Of several choices the first that did not end by itself speaks for all: one that was cut off must show.
    """
    if not answer.choices:
        raise Misshapen("it has no choices")
    finishes = [_finish(choice, holds) for choice in answer.choices]
    return finishes[0] if len(finishes) == 1 else _speaker(finishes)


def _finish(choice: Choice, holds: Callable[[Choice], bool]) -> str:
    finish = choice.finish_reason
    if is_error(choice.error):
        raise Misshapen("a choice holds an error", bytes(choice.error))
    if finish == "error":
        raise Misshapen(
            "a choice ended with an error", b'{"message":"The answer ended with finish_reason \\"error\\"."}'
        )
    if type(finish) is not str:
        raise Misshapen("a choice has no finish_reason, so the answer may not be whole")
    if not holds(choice):
        raise Misshapen("a choice holds no answer")
    return finish


def _speaker(finishes: Sequence[str]) -> str:
    return next((finish for finish in finishes if finish not in ENDED), finishes[0])
