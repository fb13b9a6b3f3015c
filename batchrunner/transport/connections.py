"""aiohttp's connections, made to know what happened on them and never to hand one call another call's answer."""

import asyncio
import functools
import select
import socket
from typing import Any

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from batchrunner.transport.wire import Outgoing


class Wire(ResponseHandler):
    """A connection that knows what happened on it since its last call began."""

    calls = 0
    poll: "select.poll | None" = None
    heard = False
    """Whether any byte has come, be it of an interim response."""

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last call, up to what the kernel holds and the loop has yet to read."""
        if self.transport is None or self.transport.is_closing() or self.should_close:
            return False
        if self.poll is None:
            self.poll = select.poll()
            self.poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return not self.poll.poll(0)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        # aiohttp tells the reader of a head, but leaves the reader of a body waiting when a later chunk is malformed.
        self._break_off()
        super().set_exception(exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None:  # aiohttp takes a reset for the end of a body that ends with the connection
            self._break_off()
        super().connection_lost(exc)

    def _break_off(self) -> None:
        body = getattr(self, "_payload", None)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("broken off"))


class Trip:
    """How far a call has got: on which connection, and when its first byte left."""

    __slots__ = ("outgoing", "wire", "written")

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.wire: Wire | None = None
        self.written = 0.0

    def leave(self) -> None:
        """Note that the first byte is handed to the socket, just before it is."""
        self.written = asyncio.get_running_loop().time()
        self.outgoing.sent = True

    @property
    def reused(self) -> bool:
        """Whether the connection had served a call before."""
        return self.wire is not None and self.wire.calls > 1


class Connector(aiohttp.TCPConnector):
    """Hands out ``Wire`` connections, and never again one that the server wrote to or closed while it was idle.

    aiohttp looks only when a call ends: what comes later would be read as the next call's answer. (aiohttp #13656)
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._factory: functools.partial[Wire] = functools.partial(Wire, loop=self._loop)  # type: ignore[assignment]

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        while True:
            connection = await super().connect(*args, **kwargs)
            wire = connection.protocol
            if not isinstance(wire, Wire):
                return connection
            if not wire.calls or wire.is_quiet():
                wire.calls += 1
                wire.heard = False
                return connection
            connection.close()


def life_sign_socket(address: AddrInfoType) -> socket.socket:
    """Make a socket that asks for life signs: an answer may take minutes, and routers forget silent connections."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 5)):
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
