"""Server-sent events, incrementally: bytes in, events out, however the network cuts them (WHATWG HTML, 9.2)."""

from typing import NamedTuple

MOST_EVENT = 32 * 1024 * 1024
"""Bytes that a line or an event may have: a whole answer may come as one event."""

_BOM = b"\xef\xbb\xbf"
_COLON, _LF = b":\n"


class Event(NamedTuple):
    """One event. Its id and the time to reconnect after are not kept: an answer can't be taken up again."""

    name: bytes
    """What ``event`` says; empty where nothing does."""
    data: bytes
    """The lines of its data, joined by LF; never empty."""


class TooLong(Exception):  # noqa: N818 - a finding about the stream, always caught
    """A line or an event passes the limit."""


class SseParser:
    """Finds the events in a stream that comes in pieces of any size.

    Lines end with CRLF, LF or CR, also in a mixture; comments and unknown fields are passed over, and so is a byte
    order mark at the beginning. Nothing is decoded: what the data holds is for others to say.
    """

    __slots__ = ("_after_cr", "_data", "_fresh", "_limit", "_name", "_rest")

    def __init__(self, limit: int = MOST_EVENT) -> None:
        self._limit = limit
        self._rest = bytearray()  # of a line whose end has not come
        self._data = bytearray()  # each line with an LF behind it
        self._name = b""
        self._after_cr = False
        self._fresh = True

    @property
    def held(self) -> int:
        """Return the bytes of what is not complete yet."""
        return len(self._rest) + len(self._data)

    def take(self, piece: bytes) -> list[Event]:
        """Return the events that this piece completes. Raises TooLong."""
        if self._after_cr and piece:
            self._after_cr = False
            if piece[0] == _LF:  # the CR that ended the piece before was the first half of a CRLF
                piece = piece[1:]
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = piece.split(b"\n")
        events: list[Event] = []
        if lines:
            lines[0] = bytes(self._rest + lines[0])
            self._rest.clear()
            for line in lines:
                self._line(line, events)
        self._rest += rest
        if self.held > self._limit:
            raise TooLong(f"a line or an event of more than {self._limit} bytes")
        return events

    def end(self) -> list[Event]:
        """Return the event that lacks nothing but its end: some servers leave the last empty line out."""
        events: list[Event] = []
        line = bytes(self._rest)
        self._rest.clear()
        if line:
            self._line(line, events)
        self._line(b"", events)
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data[:-1]:
                events.append(Event(self._name, bytes(self._data[:-1])))
            self._data.clear()
            self._name = b""
        elif line[0] != _COLON:
            self._field(line)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data += value[1:] if value[:1] == b" " else value
            self._data.append(_LF)
            if len(self._data) > self._limit:
                raise TooLong(f"an event of more than {self._limit} bytes")
        elif name == b"event":
            self._name = value.strip()
