"""Servers on 127.0.0.1 that misbehave byte by byte, and the calls that meet them."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from batchrunner.core.http import HttpCall
from batchrunner.transport.aiohttp_engine import AiohttpTransport
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY

PATH = "/v1/chat/completions"
BODY = b'{"model":"m","messages":[]}'


def call(body: bytes = BODY, *, deadline: float = 5.0, max_response: int = 1 << 20, id: str = "a-1") -> HttpCall:
    return HttpCall(PATH, body, id, deadline, max_response)


def answer(body: bytes = b'{"ok":true}', status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Peer:
    """One connection, seen from the server."""

    server: "Server"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False

    async def request(self) -> bytes:
        """Read one whole request and return its body; IncompleteReadError when the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if line)
        body = await self.reader.readexactly(int(fields.get("Content-Length", "0")))
        self.server.heads.append(head)
        self.server.bodies.append(body)
        return body

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Server:
    """What a server has seen."""

    url: str = ""
    connections: int = 0
    most_open: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


Behaviour = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server that does ``behave`` with each connection and closes it when that returns."""
    seen = Server()
    peers: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peers.add(task)
        seen.connections += 1
        seen.most_open = max(seen.most_open, len(peers))
        try:
            await behave(Peer(seen, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            peers.discard(task)
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=tls, backlog=1024)
    host = "localhost" if tls else "127.0.0.1"
    seen.url = f"http{'s' if tls else ''}://{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        server.close()
        for task in list(peers):
            task.cancel()
        await asyncio.gather(*peers, return_exceptions=True)


@contextlib.asynccontextmanager
async def client(url: str, engine: AiohttpTransport | None = None) -> AsyncIterator[HttpTransport]:
    async with HttpTransport(engine or AiohttpTransport(), url, Secret(CANARY_KEY)) as transport:
        yield transport


async def good(peer: Peer) -> None:
    """Answer every request on the connection, echoing its body."""
    while True:
        await peer.write(answer(await peer.request()))


def every(*turns: Callable[[Peer], Awaitable[None]]) -> Behaviour:
    """Do the turns one after the other on each connection, then close it."""

    async def behave(peer: Peer) -> None:
        for turn in turns:
            await turn(peer)

    return behave


async def served(peer: Peer) -> None:
    """One good exchange."""
    await peer.write(answer(await peer.request()))


async def taken(peer: Peer) -> None:
    """One request read, nothing answered."""
    await peer.request()


def writes(data: bytes) -> Behaviour:
    async def turn(peer: Peer) -> None:
        await peer.write(data)

    return turn


def waits(seconds: float) -> Behaviour:
    async def turn(peer: Peer) -> None:
        await asyncio.sleep(seconds)

    return turn


async def resets(peer: Peer) -> None:
    """Close with a RST, once what was written is out."""
    await asyncio.sleep(0.05)
    peer.reset()


async def hangs(peer: Peer) -> None:
    await asyncio.sleep(60)


async def drips(peer: Peer) -> None:
    """A good answer, a byte at a time."""
    for byte in answer(b"x" * 200):
        await peer.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def promises(peer: Peer) -> None:
    """Interim responses without end."""
    while True:
        await peer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.02)


async def pours(peer: Peer) -> None:
    """A body without end."""
    await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
