"""Streamed answers of chat and completions, put together to what the same call brings without a stream.

All dialects seen are read alike: Together's of 2026 (usage beside the finish reason) and of 2024 (finish reason and
usage at the top), OpenAI's (usage in a last event without choices, obfuscation) and vLLM's (usage in every event).
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from batchrunner.core.http import BadStream, Feed
from batchrunner.endpoints.answers import is_error
from batchrunner.endpoints.choicestream import ChatChoice, ChoiceStream, TextChoice
from batchrunner.endpoints.pieces import (
    EMPTY,
    NONE,
    NULL,
    Growing,
    Values,
    object_of,
    objects,
    rendered,
    restored,
)
from batchrunner.endpoints.redact import kept_message
from batchrunner.endpoints.sse import Event, SseParser, TooLong
from batchrunner.endpoints.toolcalls import whole_number

_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a stream of events can begin; everything else is an ordinary body."""
_LONGEST_START = 6
_BLANK = b"\xef\xbb\xbf\r\n \t"
_DONE = b"[DONE]"
_PLAIN = (b"", b"message")
"""Names of events that have none."""
_NOT_KEPT = frozenset({"choices", "usage", "error", "token", "obfuscation", "finish_reason"})
"""Keys of an event that are read, or say something of that event alone."""
_WHOLE_NAMES = {
    b'"chat.completion.chunk"': b'"chat.completion"',
    b'"completion.chunk"': b'"text.completion"',
}
"""``object`` of an event, and of the whole."""
_MEASURED_EVERY = 64 * 1024
_MOST_CHOICES = 4096
_SHOWN = 100


class Shape(NamedTuple):
    """What is put together."""

    choice: Callable[[int], ChoiceStream]
    answers: int
    """Choices that were asked for."""


def chat_stream(answers: int) -> Feed:
    """Return what puts a chat completion together."""
    return AnswerStream(Shape(ChatChoice, answers))


def text_stream(answers: int) -> Feed:
    """Return what puts a completion together."""
    return AnswerStream(Shape(TextChoice, answers))


class AnswerStream:
    """A body that may be a stream: events become an ordinary answer, anything else stays as it is."""

    def __init__(self, shape: Shape) -> None:
        self._parser = SseParser()
        self._answer = _Answer(shape)
        self._plain = bytearray()  # until it is known to be a stream; all of it where it is none
        self._is_stream: bool | None = None
        self._came = 0
        self._measured = 0

    @property
    def begun(self) -> bool:
        """Whether a word of the answer has come."""
        return self._answer.begun

    @property
    def ended(self) -> bool:
        """Whether ``[DONE]`` has come."""
        return self._answer.ended

    @property
    def settled(self) -> bool:
        """Whether the answer is whole, or an error."""
        return self._answer.settled

    @property
    def size(self) -> int:
        """Return the bytes that are held; what is put together is measured every 64 KiB that come."""
        return self._measured + self._parser.held + len(self._plain)

    def take(self, piece: bytes) -> None:
        """Take the next bytes. Raises BadStream where they are a stream that can't be read."""
        if self._is_stream is None:
            self._plain += piece
            self._is_stream = _is_stream(self._plain)
            if not self._is_stream:
                return
            piece = bytes(self._plain)
            self._plain.clear()
        if not self._is_stream:
            self._plain += piece
            return
        try:
            events = self._parser.take(piece)
        except TooLong as problem:
            raise BadStream(f"{problem}") from None
        for event in events:
            self._answer.take(event)
        before, self._came = self._came, self._came + len(piece)
        if before // _MEASURED_EVERY != self._came // _MEASURED_EVERY:
            self._measured = self._answer.size

    def whole(self) -> bytes:
        """Return the ordinary answer as far as it has come, or the body that was no stream."""
        if not self._is_stream:
            return bytes(self._plain)
        try:
            for event in self._parser.end():
                self._answer.take(event)
        except BadStream:
            pass  # it was cut off within its last event, which then says nothing
        return self._answer.json()


def _is_stream(start: bytes | bytearray) -> bool | None:
    """Tell by its first bytes whether a body is a stream; None: too few have come."""
    seen = bytes(start[: _LONGEST_START + 64]).lstrip(_BLANK)
    if any(seen.startswith(mark) for mark in _STARTS):
        return True
    return None if any(mark.startswith(seen) for mark in _STARTS) and len(start) < _LONGEST_START + 64 else False


class _Answer:
    """The answer as it grows, event by event."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._top = Growing()
        self._choices: dict[int, ChoiceStream] = {}
        self._usage: bytes | None = None
        self._error: bytes | None = None
        self._says_twice = False
        self.begun = False
        self.ended = False

    @property
    def settled(self) -> bool:
        return self.ended or self._error is not None or self._is_finished()

    @property
    def size(self) -> int:
        return self._top.size + sum(choice.size for choice in self._choices.values())

    def take(self, event: Event) -> None:
        """Take an event; what comes after the end says nothing. Raises BadStream."""
        if self.ended:
            return
        if event.data.startswith(_DONE):
            self.ended = True
            return
        values = object_of(event.data)
        if values is not None:
            self._take(event.name, values)
        elif event.name == b"error":
            self._error = self._error or msgspec.json.encode(event.data.decode("utf-8", "replace"))
        elif b"\n" in event.data:  # a server that leaves out the empty line between its events
            for line in event.data.split(b"\n"):
                if line:
                    self.take(Event(event.name, line))
        else:
            shown = event.data[:_SHOWN].decode("utf-8", "backslashreplace")
            raise BadStream(kept_message(f"an event that is no JSON object, and begins {shown!r}"))

    def json(self) -> bytes:
        """Return the ordinary answer. What broke off is told by a choice without finish reason, or with an error."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if choices and not self.ended:  # an answer of several of which some never began is not whole
            choices += [self._shape.choice(index) for index in range(self._wanted) if index not in self._choices]
        error = self._error
        parts = [
            choice.json(ended=self.ended, error=error if place == 0 else None) for place, choice in enumerate(choices)
        ]
        if self._says_twice and self._top.get("prompt") == NULL:
            self._top.put("prompt", b"[]")  # Together's answers have it, and its package insists; its events have not
        items = [(key, _WHOLE_NAMES.get(raw, raw)) for key, raw in self._top.items()]
        items.append(("choices", b"[%b]" % b",".join(parts)))
        if self._usage is not None:
            items.append(("usage", self._usage))
        if error is not None and not choices:
            items.append(("error", error))
        return restored(rendered(items))

    @property
    def _wanted(self) -> int:
        return min(self._shape.answers, _MOST_CHOICES)

    def _is_finished(self) -> bool:
        return len(self._choices) >= self._wanted and all(choice.finished for choice in self._choices.values())

    def _take(self, name: bytes, values: Values) -> None:
        if (error := _error_of(name, values)) is not None:
            self._error = self._error or error
            return
        choices = _choices_of(values)
        if name not in _PLAIN and not choices:
            return  # a ping, or news of another kind
        touched = [self._choice_of(choice, place) for place, choice in enumerate(choices)]
        for choice, said in zip(touched, choices, strict=True):
            self._says_twice |= "text" in said and "delta" in said  # only Together does
            self.begun |= choice.take(said)
        self._take_top(values, touched)

    def _take_top(self, values: Values, touched: list[ChoiceStream]) -> None:
        finish = bytes(values.get("finish_reason", NONE))
        if finish not in (NULL, EMPTY):
            for choice in touched or [one for one in self._choices.values() if not one.finished]:
                choice.finish(finish)
        usage = bytes(values.get("usage", NONE))
        if usage != NULL or (self._usage is None and "usage" in values):
            self._usage = usage
        for key, value in values.items():
            if key not in _NOT_KEPT:
                self._top.put(key, bytes(value))

    def _choice_of(self, values: Values, place: int) -> ChoiceStream:
        index = whole_number(values.get("index", NONE))
        index = place if index is None else index
        if index not in self._choices:
            if len(self._choices) >= _MOST_CHOICES:
                raise BadStream(f"more than {_MOST_CHOICES} choices")
            self._choices[index] = self._shape.choice(index)
        return self._choices[index]


def _choices_of(values: Values) -> list[dict[str, msgspec.Raw]]:
    """Return the choices of an event, none where it has none. Raises BadStream where they are something else."""
    raw = bytes(values.get("choices", NONE))
    choices = [] if raw == NULL else objects(raw)
    if choices is None:
        raise BadStream("an event whose choices are no list of objects")
    return choices


def _error_of(name: bytes, values: Values) -> bytes | None:
    """Return the error object that an event is: under ``error``, flat (vLLM), or by its name (OpenAI)."""
    error = values.get("error")
    if error is not None and is_error(error):
        return bytes(error)
    if "choices" in values or name not in (b"error", *_PLAIN):
        return None
    flat = bytes(values.get("object", NONE)) == b'"error"' or "message" in values or "detail" in values
    return rendered([(key, bytes(raw)) for key, raw in values.items()]) if flat or name == b"error" else None
