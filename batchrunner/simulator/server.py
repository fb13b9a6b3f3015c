"""A Provider on a real loopback socket, raw enough to commit the faults of the wire. Needs asyncio (aiohttp)."""

from __future__ import annotations

import errno
import ipaddress
import math
import socket
import struct
from asyncio import Transport
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel
from aiohttp import web
from aiohttp.web import BaseRequest, StreamResponse

from batchrunner.simulator.control import PREFIX, control
from batchrunner.simulator.errors import reason
from batchrunner.simulator.faults import WHOLE_KINDS
from batchrunner.simulator.provider import Provider
from batchrunner.simulator.verdicts import Answer
from batchrunner.simulator.wire import Ending, script

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_BACKLOG: Final = 4096
_LOOK_EVERY: Final = 0.02
"""Seconds between two looks at whether the door should be shut (outage of kind `refused`)."""
_GRACE: Final = 0.02
"""Seconds that calls in flight get when the server stops; some of them hang on purpose."""
_ROUNDS_TO_END: Final = 5
"""Turns of the loop in which cancelled calls enter their end in the ledger and sockets close."""
_MOST_BUFFERED: Final = 1 << 20
"""Bytes of an answer that wait for a slow client before more of it is made."""


@asynccontextmanager
async def serve(provider: Provider, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Listen on `host` (loopback only) and give the base URL, `http://127.0.0.1:PORT`, without `/v1`.

    Port 0 picks a free one. On leaving, connections are cut, calls in flight are entered as not written, and the
    ledger's file is closed.
    """
    if not _is_loopback(host):
        raise ValueError(f"the simulator listens on loopback only, not on {host!r}")
    connections = _Connections(provider)
    server = web.Server(connections.answer, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        door = _Door(runner, host, port)
        await door.open()
        async with anyio.create_task_group() as group:
            group.start_soon(_keep_door, door, provider)
            yield f"http://{f'[{host}]' if ':' in host else host}:{door.port}"
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()
            for _ in range(_ROUNDS_TO_END):
                await anyio.lowlevel.checkpoint()
        provider.ledger.close()


class _Door:
    """The listening socket, which can be shut and opened again on the same port."""

    def __init__(self, runner: web.ServerRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self.port = port
        self._site: web.SockSite | None = None

    @property
    def is_open(self) -> bool:
        return self._site is not None

    async def open(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self.port))
        except OSError:
            listening.close()
            raise
        self.port = listening.getsockname()[1]
        self._site = web.SockSite(self._runner, listening, backlog=_BACKLOG)
        await self._site.start()

    async def shut(self) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None


async def _keep_door(door: _Door, provider: Provider) -> None:
    while True:
        await anyio.sleep(_LOOK_EVERY)
        if provider.refusing() and door.is_open:
            await door.shut()
        elif not provider.refusing() and not door.is_open:
            try:
                await door.open()
            except OSError as error:
                # Someone else may hold the port for a moment; try again at the next look.
                if error.errno != errno.EADDRINUSE:
                    raise


class _Connections:
    """Carries requests to the provider and its answers back."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._served: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    async def answer(self, request: BaseRequest) -> StreamResponse:
        body = await request.content.read()
        if request.path.startswith(PREFIX):
            told = control(self._provider, request.method, request.raw_path, body)
            return web.Response(status=told.status, headers=told.headers, body=told.body)
        transport = request.transport
        before = self._served.get(transport, 0)
        if transport is not None:
            self._served[transport] = before + 1
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self._provider.handle(request.method, request.raw_path, headers, body, served_on_connection=before)
        written, way = False, _Way()
        try:
            if answer.delay > 0:
                await anyio.sleep(answer.delay)
            response, written = await self._send(request, answer, way)
        finally:
            # Also when the client has gone, which cancels this task.
            self._provider.finish(answer.number, written=written, sent=way.sent)
        return response

    async def _send(self, request: BaseRequest, answer: Answer, way: _Way) -> tuple[StreamResponse, bool]:
        if answer.fault is not None:
            return await self._play(request, answer)
        if answer.pieces:
            return await self._stream(request, answer, way)
        response = web.Response(
            status=answer.status, reason=reason(answer.status), headers=answer.headers, body=answer.body
        )
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            return _Gone(), False
        way.sent = len(answer.body)
        return response, True

    async def _stream(self, request: BaseRequest, answer: Answer, way: _Way) -> tuple[StreamResponse, bool]:
        """Send event by event, each in a chunk of its own."""
        response = StreamResponse(status=answer.status, reason=reason(answer.status), headers=answer.headers)
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            for piece in answer.pieces:
                if way.sent and answer.pace:
                    await anyio.sleep(answer.pace)
                await response.write(piece)
                way.sent += len(piece)
            await response.write_eof()
        except ConnectionError:
            return _Gone(), False
        return response, True

    async def _play(self, request: BaseRequest, answer: Answer) -> tuple[StreamResponse, bool]:
        """Do what the fault says to the connection; true if the whole answer was written all the same."""
        transport = request.transport
        if transport is None:
            return _Gone(), False
        for step in script(answer, self._provider.settings):
            if transport.is_closing():
                return _Gone(), False
            if isinstance(step, bytes):
                transport.write(step)
                await _drained(transport)
            elif isinstance(step, float | int):
                await (anyio.sleep_forever() if math.isinf(step) else anyio.sleep(step))
            elif step is Ending.KEEP:
                return _Gone(keep=True), answer.fault in WHOLE_KINDS
            elif step is Ending.RESET:
                _reset(transport)
        transport.close()
        return _Gone(), answer.fault in WHOLE_KINDS


class _Way:
    """How much of an answer's body has left."""

    def __init__(self) -> None:
        self.sent = 0


async def _drained(transport: Transport) -> None:
    """Wait while the client is slower than we are: an endless answer must not fill our memory."""
    while transport.get_write_buffer_size() > _MOST_BUFFERED and not transport.is_closing():  # noqa: ASYNC110  # no event tells of it
        await anyio.sleep(_LOOK_EVERY)


class _Gone(StreamResponse):
    """What a handler returns when nothing more may be written; with `keep` the connection waits for the next call."""

    def __init__(self, *, keep: bool = False) -> None:
        super().__init__()
        self._kept = keep

    @property
    def keep_alive(self) -> bool | None:
        return self._kept

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        return None


def _reset(transport: Transport) -> None:
    """Close with RST instead of FIN: a linger time of 0 makes the kernel do so."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
