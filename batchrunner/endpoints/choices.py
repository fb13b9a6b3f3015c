"""Answers that are a list of choices: those of chat and of completions."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from batchrunner.core.flags import CUT_OFF, EMPTY, FILTERED, REFUSED, TOOL_ARGUMENTS, Flags, flag
from batchrunner.endpoints.answers import UNREADABLE, Answer, Misshapen, is_error
from batchrunner.endpoints.redact import kept_message

ENDED = frozenset({"stop", "eos", "tool_calls", "function_call", ""})
"""Finish reasons of an answer that ended by itself; Together has also been seen to send an empty one."""


class Message(msgspec.Struct, gc=False):
    """A message. It only has to be an object; its parts are looked at for what may be odd about them."""

    content: msgspec.Raw = msgspec.Raw()
    tool_calls: msgspec.Raw = msgspec.Raw()
    function_call: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()


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


_ORDINARY = frozenset({"stop", "eos"})
_FINISHES = {"length": CUT_OFF, "content_filter": FILTERED}
_LONG = 64
"""Bytes of a value from which on nobody looks whether it is blank."""
_NOTHING = frozenset({b"", b"null", b"[]", b"{}", b'""'})
_ANY = msgspec.json.Decoder(Any)


class _Function(msgspec.Struct, gc=False):
    name: Any = None
    arguments: Any = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None


_TOOL_CALLS = msgspec.json.Decoder(list[_ToolCall])
_FUNCTION = msgspec.json.Decoder(_Function)


def flags(answer: Choices) -> Flags:
    """Return what is odd about an answer that is one: each flag once, whichever of its choices has it."""
    if len(answer.choices) == 1 and _is_plain(answer.choices[0]):
        return ()
    return tuple(dict.fromkeys(one for choice in answer.choices for one in _odd(choice)))


def _is_plain(choice: Choice) -> bool:
    """Whether a choice is what almost all are: a text, and nothing beside it."""
    message = choice.message
    if choice.finish_reason not in _ORDINARY:
        return False
    if message is None:
        return len(choice.text) >= _LONG
    return len(message.content) >= _LONG and len(message.tool_calls) <= 4 and len(message.refusal) <= 4


def _odd(choice: Choice) -> Iterator[str]:
    finish = _FINISHES.get(choice.finish_reason)
    if finish is not None:
        yield finish
    message = choice.message or Message(content=choice.text)
    refused, calls = not _is_nothing(message.refusal), list(_calls(message))
    if refused:
        yield REFUSED
    if not (refused or calls or finish == FILTERED) and _is_blank(message.content):
        yield EMPTY
    for place, call in enumerate(calls):
        problem = problem_of_arguments(call.arguments)
        if problem is not None:
            yield flag(TOOL_ARGUMENTS, kept_message(f"call {place} ({call.name}): {problem}", 200))


def _calls(message: Message) -> Iterator[_Function]:
    """Yield the functions that a message calls, in the tools' format or the one before it."""
    for raw, decoder in ((message.tool_calls, _TOOL_CALLS), (message.function_call, _FUNCTION)):
        if _is_nothing(raw):
            continue
        try:
            found = decoder.decode(raw)
        except UNREADABLE:
            yield _Function()
            continue
        for call in found if isinstance(found, list) else (_ToolCall(found),):
            yield call.function or _Function()


def problem_of_arguments(arguments: Any) -> str | None:
    """Return why the arguments of a call can't be used; None where they are a text that holds JSON, as they should."""
    if not isinstance(arguments, str):
        return "its arguments are no text"
    try:
        _ANY.decode(arguments.encode("utf-8", "replace"))
    except UNREADABLE as problem:
        return f"its arguments are not JSON ({problem})"
    return None


def _is_nothing(raw: msgspec.Raw) -> bool:
    return len(raw) <= 4 and bytes(raw) in _NOTHING


def _is_blank(raw: msgspec.Raw) -> bool:
    """Whether a content is missing, null, or a text (or parts) without a single sign."""
    if len(raw) >= _LONG:
        return False
    try:
        value = _ANY.decode(raw) if raw else None
    except UNREADABLE:
        return False
    return not value or (isinstance(value, str) and not value.strip())
