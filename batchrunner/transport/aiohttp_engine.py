"""Our httpx transport over aiohttp (asyncio only). What it raises is true about money.

Both published adapters report "closed after the request was sent" as a connect error, which reads as never billed;
this one tells three cases apart: never sent, sent and broken, and the race on a kept-alive connection.
"""

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
import yarl
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from batchrunner.transport.connections import Connector, Wire, life_sign_socket
from batchrunner.transport.wire import MalformedReply, Outgoing, StaleConnection

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 4.0
"""An idle connection is dropped after this: below the shortest keep-alive of common servers (uvicorn's 5 s)."""
RACE_SECONDS = 1.0
"""A close on a reused connection this soon after the send is the keep-alive race; later, it may have been served."""
HEAD_BYTES = 64 * 1024
DNS_SECONDS = 60

FOREIGN_ERRORS = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests over one aiohttp session.

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
    ) -> None:
        self._tls = tls
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._session: aiohttp.ClientSession | None = None
        self._field = functools.lru_cache(maxsize=128)(_field)  # most fields are the same in every call

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer's head; the body is read from the response's stream."""
        stream = request.stream
        outgoing = stream if isinstance(stream, Outgoing) else Outgoing(await request.aread())
        body = _Body(outgoing) if outgoing.data else None
        outgoing.sent = body is None
        headers = CIMultiDict(map(self._field, request.headers.raw))
        try:
            response = await (self._session or self._open()).request(
                request.method, _url(str(request.url)), data=body, headers=headers, allow_redirects=False
            )
        except FOREIGN_ERRORS as error:
            fault = _fault(error, body)
        else:
            return httpx.Response(
                response.status, headers=response.raw_headers, stream=_Answer(response), request=request
            )
        # Outside the except block: aiohttp's errors hold the request's headers, so nothing may chain to them.
        raise fault

    async def aclose(self) -> None:
        """Close the session and its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        connector = Connector(
            limit=0,
            keepalive_timeout=IDLE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
            resolver=aiohttp.ThreadedResolver(),
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
        return self._session


class _Hidden(str):
    """A header's value that aiohttp can send, but that its errors and reprs do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class _Body(payload.BytesPayload):
    """Raises the flag of a call's body at the moment its first byte is handed to the socket."""

    _default_headers = CIMultiDict({"Content-Type": "application/json"})

    def __init__(self, outgoing: Outgoing) -> None:  # deliberately not the parent's: it warns of bodies over 1 MiB
        self._value = outgoing.data
        self._size = len(outgoing.data)
        self._headers = self._default_headers
        self._encoding = self._filename = None
        self.outgoing = outgoing
        self.wire: Wire | None = None
        self.written = 0.0

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and the head that waits with it, unless the connection is known to be bad by now."""
        wire = getattr(writer, "protocol", None)
        if isinstance(wire, Wire):
            self.wire = wire
            if wire.heard or not wire.is_connected():
                raise aiohttp.ClientConnectionResetError("bad before anything was written")
        self.written = asyncio.get_running_loop().time()
        self.outgoing.sent = True
        await writer.write(self._value)

    @property
    def reused(self) -> bool:
        """Whether the connection had served a call before."""
        return self.wire is not None and self.wire.calls > 1

    @property
    def raced(self) -> bool:
        """Whether the connection, if it broke now, did so because the server had closed it while it was idle."""
        if self.wire is None or self.wire.heard:
            return False
        return self.reused and asyncio.get_running_loop().time() - self.written < RACE_SECONDS


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


def _fault(error: BaseException, body: _Body | None) -> httpx.TransportError:
    """Translate, by what is known of the connection: the same aiohttp error can come before and after sending."""
    if (fault := _connect_fault(error)) is not None:
        return fault
    if body is not None and not body.outgoing.sent:
        if body.reused:
            return StaleConnection("closed while it was idle")
        return httpx.ConnectError("the server ended the connection, or spoke, before anything was sent")
    if body is not None and body.raced:
        return StaleConnection("closed while it was idle")
    if isinstance(error, aiohttp.ClientResponseError):
        return MalformedReply(" ".join(error.message.split()))
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.ReadError("closed without an answer")
    return httpx.ReadError(_reason(error))


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
