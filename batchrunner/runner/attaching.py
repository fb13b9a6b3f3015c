"""What is sent of a body that refers to files: they are read, and put in, just before the call; off the event loop.

The queue holds references only, and memory what is in the air: where files are large, rows wait for room here, with
nothing of them read yet.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import anyio

from batchrunner.core.attachments import Attachments, Composed, Unattachable, Wanted, shown
from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.endpoints.registry import COMPOSING
from batchrunner.runner.offload import Offload

ROOM = 128 * 1024 * 1024
"""Bytes of files that may be in the air at once, before base64 makes four of three; one larger row goes alone."""
MOST_IN_A_BODY = 80_000_000
"""Bytes of all files of one body: no provider is known to take more."""


T = TypeVar("T")


class Sendable(NamedTuple):
    """What goes out in the place of a body."""

    composed: Composed
    digest: bytes
    """First 16 bytes of the SHA-256 of what goes out."""


class Attaching:
    """Composes bodies in the files' own thread, one after the other, and keeps what they hold within ``room``."""

    def __init__(self, attachments: Attachments, offload: Offload, room: int = ROOM) -> None:
        self._attachments = attachments
        self._offload = offload
        self._room = room
        self._held = 0
        self._turn = anyio.Lock()
        self._freed = anyio.Event()

    @asynccontextmanager
    async def composed(self, path: str, body: bytes) -> AsyncIterator[Sendable | Failure]:
        """Give what is sent for a body to the endpoint at ``path``, and keep its room taken meanwhile.

        A file that is missing, or may not be sent, is a Failure that is not billed: nothing was sent.
        """
        size = await self._offload.run(lambda: _caught(self._measure, path, body))
        if isinstance(size, Failure):
            yield size
            return
        await self._make_room(size)
        try:
            yield await self._offload.run(lambda: _caught(self._compose, path, body))
        finally:
            self._held -= size
            self._freed.set()

    async def _make_room(self, size: int) -> None:
        """Wait until there is room: whoever came first goes first, however much it needs."""
        async with self._turn:
            while self._held and self._held + size > self._room:
                self._freed = anyio.Event()
                await self._freed.wait()
            self._held += size

    def _measure(self, path: str, body: bytes) -> int:
        wanted = COMPOSING[path].wanted(body)
        size = sum(map(self._attachments.look, wanted))
        if size > MOST_IN_A_BODY:
            raise Unattachable(
                f"{_names(wanted)} have {size:,} bytes together, and {MOST_IN_A_BODY:,} are the most that is sent"
            )
        return size

    def _compose(self, path: str, body: bytes) -> Sendable:
        endpoint = COMPOSING[path]
        composed = endpoint.compose(body, [self._attachments.read(wanted) for wanted in endpoint.wanted(body)])
        return _sendable(composed)


def sendable(body: bytes) -> Sendable:
    """Return a body that goes out as it is, though it is not the one that was stored."""
    return _sendable(Composed(body, "application/json"))


def _sendable(composed: Composed) -> Sendable:
    return Sendable(composed, hashlib.sha256(composed.body).digest()[:16])


def _caught(call: Callable[[str, bytes], T], path: str, body: bytes) -> T | Failure:
    try:
        return call(path, body)
    except Unattachable as refused:
        return Failure(FailureKind.ATTACHMENT, str(refused), Billing.NOT_BILLED)


def _names(files: Sequence[Wanted]) -> str:
    first = ", ".join(shown(file.name) for file in files[:3])
    return first if len(files) <= 3 else f"{first} and {len(files) - 3} more"
