"""A POST straight on aiohttp's connections, without what its session and its objects add to a call.

They match cookies, merge headers, keep timers and start a task for every body, none of which we use: it costs as much
as all the rest of a call. What is left out here is thus never the connecting, the pool or the parsing of answers.
"""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import httpx
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import BaseConnector, Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from batchrunner.transport.connections import Connector, Trip, Wire
from batchrunner.transport.wire import Answered, Post, Whole

PARAMETERS = {"skip_payload", "read_until_eof", "auto_decompress", "max_line_size", "max_field_size"}


def works_with_this_aiohttp() -> bool:
    """Whether aiohttp is inside as this module takes it to be; else its session has to be used, which is slower."""
    try:
        parameters = inspect.signature(ResponseHandler.set_response_params).parameters
        return (
            parameters.keys() >= PARAMETERS
            and list(inspect.signature(BaseConnector.connect).parameters) == ["self", "req", "traces", "timeout"]
            and hasattr(RawResponseMessage, "code")
            and hasattr(RawResponseMessage, "raw_headers")
            and hasattr(RawResponseMessage, "headers")
            and isinstance(vars(aiohttp.ClientRequest)["connection_key"], property)
            and isinstance(vars(Connection)["protocol"], property)
            and all(callable(method) for method in _methods())
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _methods() -> list[Callable[..., Any]]:
    reader = StreamReader
    return [
        *(Connection.release, Connection.close, ResponseHandler.read, ResponseHandler.is_connected),
        *(reader.read_nowait, reader.readany, reader.is_eof, reader.exception),
    ]


class Target(aiohttp.ClientRequest):
    """Where calls go, as the connector wants to be told: the same for all calls to an address, and without the key."""

    @functools.cached_property
    def connection_key(self) -> ConnectionKey:  # the parent makes it anew at every look
        return super().connection_key


class Shortcut:
    """Sends POSTs over a connector's connections."""

    def __init__(self, connector: Connector, timeout: aiohttp.ClientTimeout, head_bytes: int) -> None:
        self._connector = connector
        self._timeout = timeout
        self._head_bytes = head_bytes
        self._target = functools.lru_cache(maxsize=16)(self._make_target)

    async def post(self, post: Post, trip: Trip) -> Answered:
        """Send a call and return its answer, whole if it came at once, else with its stream.

        Tells ``trip`` how far it gets. Raises aiohttp's errors, HttpProcessingError and OSError.
        """
        connection = await self._connect(post.url)
        try:
            wire = trip.wire = _wire_of(connection)
            self._write(wire, post, trip)
            message, payload = await wire.read()
            while 100 <= message.code < 200 and message.code != 101:  # interim; after a 101 it is no longer HTTP
                message, payload = await wire.read()
        except BaseException:
            connection.close()
            raise
        return Answered(message.code, message.raw_headers, _body(connection, payload), message.headers)

    async def _connect(self, url: str) -> Connection:
        try:
            return await self._connector.connect(self._target(url), [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error

    def _make_target(self, url: str) -> Target:
        return Target("POST", yarl.URL(url, encoded=True), loop=asyncio.get_running_loop())

    def _write(self, wire: Wire, post: Post, trip: Trip) -> None:
        """Hand a call to the socket.

        No other task runs between the look at an idle connection and this.
        """
        wire.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=self._head_bytes,
            max_field_size=self._head_bytes,
        )
        transport = wire.transport
        if transport is None or wire.heard or not wire.is_connected():
            raise aiohttp.ClientConnectionResetError("bad before anything was written")
        data = post.message()
        trip.leave()
        transport.write(data)


def _wire_of(connection: Connection) -> Wire:
    wire = connection.protocol
    if not isinstance(wire, Wire):
        raise TypeError("the connector handed out a connection that is not ours")
    return wire


def _body(connection: Connection, payload: StreamReader) -> httpx.AsyncByteStream:
    if not payload.is_eof() or payload.exception() is not None:
        return _Stream(connection, payload)
    data = payload.read_nowait()
    _let_go(connection, payload)
    return Whole(data)


def _let_go(connection: Connection, payload: StreamReader) -> None:
    """Keep a connection if its answer was read to the end and its request went out whole; close it if not."""
    transport = connection.transport
    if payload.is_eof() and transport is not None and not transport.get_write_buffer_size():
        connection.release()
    else:
        connection.close()


class _Stream(httpx.AsyncByteStream):
    """The body of an answer, in the pieces in which it arrives."""

    def __init__(self, connection: Connection, payload: StreamReader) -> None:
        self._connection = connection
        self._payload = payload

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._payload.readany()
        except (aiohttp.ClientError, OSError):
            self._connection.close()
        else:
            if data:
                return data
            raise StopAsyncIteration
        raise httpx.RemoteProtocolError("the answer broke off inside its body")

    async def aclose(self) -> None:
        """Let the connection go."""
        _let_go(self._connection, self._payload)
