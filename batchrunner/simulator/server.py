"""A Provider on a real loopback socket, raw enough to commit the faults of the wire. Needs asyncio (aiohttp)."""

from __future__ import annotations

import errno
import ipaddress
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
from batchrunner.simulator.provider import Provider
from batchrunner.simulator.verdicts import Answer

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_BACKLOG: Final = 4096
_LOOK_EVERY: Final = 0.02
"""Seconds between two looks at whether the door should be shut (outage of kind `refused`)."""
_GRACE: Final = 0.02
"""Seconds that calls in flight get when the server stops; some of them hang on purpose."""
_ROUNDS_TO_END: Final = 5
"""Turns of the loop in which cancelled calls enter their end in the ledger and sockets close."""
_BEFORE_RESET: Final = 0.01
"""Seconds that the first half of an answer gets on its way before the reset overtakes it."""


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
        written = False
        try:
            if answer.delay > 0:
                await anyio.sleep(answer.delay)
            response, written = await self._send(request, answer)
        finally:
            # Also when the client has gone, which cancels this task.
            self._provider.finish(answer.number, written=written)
        return response

    async def _send(self, request: BaseRequest, answer: Answer) -> tuple[StreamResponse, bool]:
        if answer.fault is not None:
            return _Gone(), await self._break(request, answer)
        response = web.Response(
            status=answer.status, reason=reason(answer.status), headers=answer.headers, body=answer.body
        )
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            return _Gone(), False
        return response, True

    async def _break(self, request: BaseRequest, answer: Answer) -> bool:
        """Do what the fault says to the connection; true if the whole answer was written all the same."""
        transport, settings = request.transport, self._provider.settings
        if transport is None:
            return False
        fault = answer.fault
        if fault == "hang":
            await (anyio.sleep_forever() if settings.hang_seconds is None else anyio.sleep(settings.hang_seconds))
        elif fault == "drip":
            return await self._drip(request, answer, settings.drip_interval)
        elif fault in ("truncate", "reset_mid"):
            head = _head(answer)
            transport.write(head + answer.body[: len(answer.body) // 2])
            if fault == "reset_mid":
                await anyio.sleep(_BEFORE_RESET)
        if fault in ("reset_before", "reset_mid", "refused"):
            _reset(transport)
        else:
            transport.close()
        return False

    async def _drip(self, request: BaseRequest, answer: Answer, interval: float) -> bool:
        for place, byte in enumerate(_head(answer) + answer.body):
            if place:
                await anyio.sleep(interval)
            transport = request.transport
            if transport is None or transport.is_closing():
                return False
            transport.write(bytes((byte,)))
        if request.transport is not None:
            request.transport.close()
        return True


class _Gone(StreamResponse):
    """What a handler returns when nothing more may be written to the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        return None


def _head(answer: Answer) -> bytes:
    """Status line and headers by hand, with the length of the whole body whatever of it is then sent."""
    lines = [f"HTTP/1.1 {answer.status} {reason(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += [f"Content-Length: {len(answer.body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _reset(transport: Transport) -> None:
    """Close with RST instead of FIN: a linger time of 0 makes the kernel do so."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
