"""Our httpx transport over aiohttp (asyncio only). What it raises is true about money.

Both published adapters report "closed after the request was sent" as a connect error, which reads as never billed;
this one tells three cases apart: never sent, sent and broken, and the race on a kept-alive connection.
"""

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import aiohttp
import httpx
import yarl
from aiohttp import payload
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from batchrunner.transport.connections import Connector, Trip, Wire, life_sign_socket
from batchrunner.transport.direct import Shortcut, works_with_this_aiohttp
from batchrunner.transport.wire import Answered, Direct, Engine, MalformedReply, Outgoing, Post, StaleConnection

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 4.0
"""An idle connection is dropped after this: below the shortest keep-alive of common servers (uvicorn's 5 s)."""
RACE_SECONDS = 0.25
"""A close on a reused connection this soon after the send is the keep-alive race; later, it may have been served.

A server that had closed the connection says so one round trip after our bytes, and a quarter of a second spans the
globe. Longer would take a fast call that was served, such as an embedding, for one that was not billed.
"""
HEAD_BYTES = 64 * 1024
DNS_SECONDS = 60

FOREIGN_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError)


class AiohttpTransport(Engine):
    """Sends httpx requests over one aiohttp session, and POSTs straight over its connections where that works.

    As many connections as calls in flight, kept alive between calls. No deadline but the one for connecting: a call's
    deadline is its caller's, who cancels. No cookies, redirects, decompression, environment or second tries of its own.
    Raises ``ConnectError``, ``ConnectTimeout`` or ``ProxyError`` for what never left, ``StaleConnection`` for the
    keep-alive race, ``ReadError``, ``RemoteProtocolError`` or ``MalformedReply`` for what may have been served.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
        connect_timeout: float = CONNECT_SECONDS,
        resolver: Callable[[], AbstractResolver] | None = None,
    ) -> None:
        """``resolver`` makes what finds addresses by name, once there is a loop; None: the system's."""
        self._resolver = resolver or aiohttp.ThreadedResolver
        self._tls = tls
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._session: aiohttp.ClientSession | None = None
        self._shortcut: Shortcut | None = None
        self._field = functools.lru_cache(maxsize=128)(_field)  # most fields are the same in every call

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer's head; the body is read from the response's stream."""
        stream = request.stream
        outgoing = stream if isinstance(stream, Outgoing) else Outgoing(await request.aread())
        session = self._session or self._open()
        outgoing.sent = not outgoing.data
        trip = Trip(outgoing)
        try:
            return await self._by_session(session, request, trip)
        except FOREIGN_ERRORS as error:
            fault = _fault(error, trip)
        # Outside the except block: aiohttp's errors hold the request's headers, so nothing may chain to them.
        raise fault

    def direct(self) -> Direct | None:
        """Return this as the short way for POSTs, unless there is a proxy or aiohttp is built otherwise."""
        return self if self._proxy is None and works_with_this_aiohttp() else None

    async def post(self, post: Post) -> Answered:
        """Send a POST the short way; ask ``direct`` before."""
        if self._shortcut is None:
            self._open()
        assert self._shortcut is not None  # noqa: S101 - for the type checker: opened above
        post.sent = False
        trip = Trip(post)
        try:
            return await self._shortcut.post(post, trip)
        except FOREIGN_ERRORS as error:
            fault = _fault(error, trip)
        raise fault

    async def _by_session(self, session: aiohttp.ClientSession, request: httpx.Request, trip: Trip) -> httpx.Response:
        """Send by aiohttp's front door."""
        response = await session.request(
            request.method,
            _url(str(request.url)),
            data=_Body(trip) if trip.outgoing.data else None,
            headers=CIMultiDict(map(self._field, request.headers.raw)),
            allow_redirects=False,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Answer(response), request=request)

    async def aclose(self) -> None:
        """Close the session and its connections."""
        session, self._session, self._shortcut = self._session, None, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        connector = Connector(
            limit=0,
            keepalive_timeout=IDLE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
            resolver=self._resolver(),
            socket_factory=life_sign_socket,
            ssl=self._tls or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            proxy=self._proxy,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
        )
        self._shortcut = Shortcut(connector, self._timeout, HEAD_BYTES)
        return self._session


class _Hidden(str):
    """A header's value that aiohttp can send, but that its errors and reprs do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class _Body(payload.BytesPayload):
    """Raises the flag of a call's body at the moment its first byte is handed to the socket."""

    _default_headers = CIMultiDict({"Content-Type": "application/json"})

    def __init__(self, trip: Trip) -> None:  # deliberately not the parent's: it warns of bodies over 1 MiB
        self._value = trip.outgoing.data
        self._size = len(self._value)
        self._headers = self._default_headers
        self._encoding = self._filename = None
        self._trip = trip

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and the head that waits with it, unless the connection is known to be bad by now."""
        wire = getattr(writer, "protocol", None)
        if isinstance(wire, Wire):
            self._trip.wire = wire
            if wire.heard or not wire.is_connected():
                raise aiohttp.ClientConnectionResetError("bad before anything was written")
        self._trip.leave()
        await writer.write(self._value)


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, in the pieces in which it arrives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._content = response.content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._content.readany()
        except FOREIGN_ERRORS:
            self._response.close()
            fault = httpx.RemoteProtocolError("the answer broke off inside its body")
        else:
            if data:
                return data
            raise StopAsyncIteration
        raise fault

    async def aclose(self) -> None:
        """Let the connection go: it is kept if the answer was read to its end, and closed if not."""
        if not self._response.closed:
            self._response.close()


def _fault(error: BaseException, trip: Trip) -> httpx.TransportError:
    """Translate, by what is known of the connection: the same aiohttp error can come before and after sending."""
    if (fault := _connect_fault(error)) is not None:
        return fault
    if not trip.outgoing.sent:
        if trip.reused:
            return StaleConnection("closed while it was idle")
        return httpx.ConnectError("the server ended the connection, or spoke, before anything was sent")
    if _raced(trip):
        return StaleConnection("closed while it was idle")
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        return MalformedReply(" ".join(error.message.split()))
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.ReadError("closed without an answer")
    return httpx.ReadError(_reason(error))


def _raced(trip: Trip) -> bool:
    """Whether the connection, if it broke now, did so because the server had closed it while it was idle."""
    if trip.wire is None or trip.wire.heard:
        return False
    return trip.reused and asyncio.get_running_loop().time() - trip.written < RACE_SECONDS


def _connect_fault(error: BaseException) -> httpx.TransportError | None:
    """Translate the errors that aiohttp raises while it connects, and only then.

    They are chained to the system's own error, by which TLS faults are told: that one holds no headers.
    """
    fault: httpx.TransportError
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        fault = httpx.ConnectError("the certificate does not verify")
        fault.__cause__ = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        fault = httpx.ConnectError(_reason(error.os_error))
        fault.__cause__ = error.os_error
    elif isinstance(error, aiohttp.ConnectionTimeoutError):
        fault = httpx.ConnectTimeout("no connection in time")
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        kind = httpx.ProxyError if error.status == 407 else httpx.ConnectError
        fault = kind(f"the proxy answered {error.status}")
    else:
        return None
    return fault


def _reason(error: BaseException) -> str:
    """Say what the system said, without addresses and pointers."""
    if isinstance(error, socket.gaierror):
        return f"the name was not found ({error.strerror})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__


def _field(raw: tuple[bytes, bytes]) -> tuple[str, str]:
    name, value = raw
    if name.lower() == b"authorization":
        return name.decode("ascii"), _Hidden(value, "ascii")
    return name.decode("ascii"), value.decode("latin-1")


@functools.lru_cache(maxsize=256)
def _url(text: str) -> yarl.URL:
    return yarl.URL(text, encoded=True)
