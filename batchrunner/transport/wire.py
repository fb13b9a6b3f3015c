"""What an engine is told of a call, and what it tells: how far it got, its answer, faults httpx has no name for."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import httpx

CONTROLS = bytes(code for code in (*range(32), 127) if code != ord("\t"))


class Outgoing(httpx.ByteStream):
    """The body of a call on its way out, and whether it may have reached anybody.

    ``sent`` is True unless the engine knows better: one that can tell sets it to False when it takes the call and to
    True when the first byte is handed to the network. So an engine that can't tell never makes a call look unpaid.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data
        self.sent = True


class Head:
    """The head of every POST to one address, as HTTP/1.1 writes it (RFC 9112 3 and 5), but for what differs by call.

    It holds the key and does not show it. Raises ValueError, which does not quote it either, where a control character
    would end a line early.
    """

    __slots__ = ("_start",)

    def __init__(self, url: httpx.URL, fields: Sequence[tuple[bytes, bytes]]) -> None:
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        start = b"POST %b HTTP/1.1\r\n%b" % (url.raw_path, lines)
        if len(start) - len(start.translate(None, CONTROLS)) != 2 * len(fields) + 2:
            del fields, lines, start  # they hold the key, and tracebacks can show them
            raise ValueError("a header of a call holds a control character")
        self._start = start

    def __repr__(self) -> str:
        return "Head(***)"

    def with_body(self, body: bytes, client_request_id: str) -> bytes:
        """Return the head and the body of one call. Raises ValueError for an id that is not printable ASCII."""
        if not (client_request_id.isascii() and client_request_id.isprintable()):
            raise ValueError("the id of a call holds a control character")
        mark = client_request_id.encode("ascii")
        return b"%bX-Client-Request-Id: %b\r\nContent-Length: %d\r\n\r\n%b" % (self._start, mark, len(body), body)


class Post(Outgoing):
    """A POST that needs no more than a connection."""

    def __init__(self, url: str, head: Head, client_request_id: str, data: bytes) -> None:
        super().__init__(data)
        self.url = url
        self._head = head
        self._client_request_id = client_request_id

    def message(self) -> bytes:
        """Return all its bytes: the key is in them, so they belong into no frame that an error could show later."""
        return self._head.with_body(self.data, self._client_request_id)


class Answered(NamedTuple):
    """An answer, whose body is still to be read."""

    status: int
    fields: Sequence[tuple[bytes, bytes]]
    stream: httpx.AsyncByteStream
    parsed: Mapping[str, str] | None = None
    """The fields by their names in any case, the first of each, where the engine has them so; ASCII is ASCII in it."""


class Direct(Protocol):
    """A way to the wire past httpx's requests and responses, which cost a call more than its parsing does."""

    async def post(self, post: Post) -> Answered:
        """Send a POST; raises what httpx's transports raise."""
        ...


class Engine(httpx.AsyncBaseTransport):
    """An httpx transport that may have a short way for POSTs beside it."""

    def direct(self) -> Direct | None:
        """Return the short way, None where calls have to go the long one."""
        return None


class Whole(httpx.ByteStream):
    """The body of an answer that came at once: there is nothing to wait for and nothing to close."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class StaleConnection(httpx.RemoteProtocolError):
    """The server had closed this kept-alive connection when we wrote to it (RFC 9112 9.3.1): not processed."""


class MalformedReply(httpx.RemoteProtocolError):
    """The answer's head is not HTTP."""
