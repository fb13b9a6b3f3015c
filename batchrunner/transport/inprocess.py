"""An engine without a network: calls go to a function in this process. It runs on any clock, the jumping one too."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

import anyio
import httpx

SECONDS_PER_BYTE = 0.5


class Answer(Protocol):
    """What the function answers: an HTTP answer, and how badly it travels."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields."""
        ...

    @property
    def body(self) -> bytes:
        """The whole body."""
        ...

    @property
    def delay(self) -> float:
        """Seconds until the first byte."""
        ...

    @property
    def pieces(self) -> Sequence[bytes]:
        """The body in the pieces in which it comes; none: all at once."""
        ...

    @property
    def pace(self) -> float:
        """Seconds between two pieces."""
        ...

    @property
    def fault(self) -> str | None:
        """What the wire does to it.

        ``hang`` (no byte ever), ``reset_before`` and ``close_before`` (the connection ends before the head),
        ``truncate`` and ``reset_mid`` (it ends, or is reset, in mid-body), ``drip`` (a byte every half second),
        ``stream_stall`` (half of the pieces, and then silence).
        """
        ...


Handle = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Method, path, headers (lower-case names) and body in, answer out."""


class InProcessTransport(httpx.AsyncBaseTransport):
    """Hands every request to a function; each request counts as sent.

    Raises ``ReadError`` or ``RemoteProtocolError`` where the wire breaks, as a real engine does, and ValueError for a
    fault it does not know.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the function, wait as long as its answer takes, and break what is to be broken."""
        body = await request.aread()
        path = request.url.raw_path.decode("ascii")
        answer = self._handle(request.method, path, dict(request.headers), body)
        await anyio.sleep(answer.delay)
        stream = await _travel(answer)
        return httpx.Response(answer.status, headers=dict(answer.headers), stream=stream, request=request)


async def _travel(answer: Answer) -> httpx.AsyncByteStream:
    match answer.fault:
        case None:
            return _Paced(answer.pieces, answer.pace) if answer.pieces else httpx.ByteStream(answer.body)
        case "hang":
            await anyio.sleep_forever()
        case "reset_before":
            raise httpx.ReadError("Connection reset by peer")
        case "close_before":
            raise httpx.RemoteProtocolError("closed without an answer")
        case "truncate":
            return _Broken(answer.body, httpx.RemoteProtocolError("it ended in mid-body"))
        case "reset_mid":
            return _Broken(answer.body, httpx.ReadError("Connection reset by peer"))
        case "drip":
            return _Drip(answer.body)
        case "stream_stall":
            return _Paced(answer.pieces[: max(1, len(answer.pieces) // 2)], answer.pace, stalls=True)
    raise ValueError(f"unknown fault of the wire: {answer.fault!r}")


class _Broken(httpx.AsyncByteStream):
    """The first half of a body, and then an error."""

    def __init__(self, body: bytes, error: httpx.TransportError) -> None:
        self._body = body
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise self._error


class _Drip(httpx.AsyncByteStream):
    """A body that comes a byte at a time."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(len(self._body)):
            await anyio.sleep(SECONDS_PER_BYTE)
            yield self._body[at : at + 1]


class _Paced(httpx.AsyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, pieces: Sequence[bytes], pace: float, *, stalls: bool = False) -> None:
        self._pieces = pieces
        self._pace = pace
        self._stalls = stalls

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for place, piece in enumerate(self._pieces):
            if place:
                await anyio.sleep(self._pace)
            yield piece
        if self._stalls:
            await anyio.sleep_forever()
