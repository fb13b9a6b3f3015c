"""Group commits without a timer: whatever queued up while the last commit ran goes into the next one."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio

from batchrunner.core.clock import Clock
from batchrunner.core.errors import DatabaseError, DiskFullError
from batchrunner.core.request import Beside, Closing, Continued, Opened, Release, Settled
from batchrunner.runner.lanes import Ticket
from batchrunner.runner.offload import Offload
from batchrunner.runner.storage import Storage
from batchrunner.store.base import BucketLevel, Queue

T = TypeVar("T")

Look = tuple[Callable[[], Any], Callable[[Any], None]]
"""A read, and who takes what it brings."""


class _Group:
    """What is committed together, and the event for who waits for it."""

    __slots__ = ("closings", "continued", "done", "looks", "released", "settled", "tickets")

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.closings: list[Closing] = []
        self.released: list[Release] = []
        self.continued: list[Continued] = []
        self.settled: list[Settled] = []
        self.looks: list[Look] = []
        self.done = anyio.Event()


class Ledger:
    """Opens, closes and releases attempts. Nobody waits here: ``committed`` says what is on the disk.

    ``levels`` is asked for the buckets' levels at each commit, so that what a restart finds always includes every
    call that was sent. ``committed`` gets the closings of each group, and its tickets with their open attempts, once
    they are durable; ``continued`` gets the attempts that go on.

    When the database refuses a group, ``faulted`` is called, which has to see that nothing more is opened. Its tickets
    go to ``dropped``: nothing of them was sent. Its closings are tried once more where the disk was full, in the room
    that the ballast took; otherwise, and from then on, they go to the spill.
    """

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        queue: Queue,
        offload: Offload,
        clock: Clock,
        *,
        storage: Storage,
        levels: Callable[[], Sequence[BucketLevel]],
        committed: Callable[[Sequence[Closing], Sequence[Ticket], Sequence[Opened]], None],
        dropped: Callable[[Sequence[Ticket]], None],
        faulted: Callable[[], None],
        continued: Callable[[Sequence[Continued]], None],
    ) -> None:
        self._queue = queue
        self._offload = offload
        self._clock = clock
        self._levels = levels
        self._committed = committed
        self._storage = storage
        self._dropped = dropped
        self._faulted = faulted
        self._continued = continued
        self._group = _Group()
        self._committing: _Group | None = None
        self._work = anyio.Event()
        self.seconds = 0.0
        """What the last commit took."""

    def open(self, ticket: Ticket) -> None:
        """Hand over the intent to buy."""
        self._group.tickets.append(ticket)
        self._work.set()

    def record(self, closing: Closing) -> None:
        """Hand over the end of an attempt and what follows for its request."""
        self._group.closings.append(closing)
        self._work.set()

    def release(self, release: Release) -> None:
        """Hand over an open attempt that was not sent and never will be."""
        self._group.released.append(release)
        self._work.set()

    def go_on(self, continued: Continued) -> None:
        """Hand over a continuation: its attempt stays open."""
        self._group.continued.append(continued)
        self._work.set()

    def settle(self, settled: Settled) -> None:
        """Hand over the end of a continuation, right after ``record`` got the end of its attempt: both go together."""
        self._group.settled.append(settled)

    async def look(self, read: Callable[[], T], take: Callable[[T], None]) -> None:
        """Read right after a commit, and hand that over before anything else is told or committed.

        So what is read holds all that was handed over before, and nothing of which ``committed`` has not heard.
        """
        group = self._group
        group.looks.append((read, take))
        self._work.set()
        await group.done.wait()

    async def flush(self) -> None:
        """Wait until everything that was handed over is on the disk."""
        for group in (self._committing, self._group):
            if group is not None and (group.tickets or group.closings or group.released or group.continued):
                await group.done.wait()

    async def run(self) -> None:
        """Commit groups until cancelled; a commit that has begun is always finished. Raises what a commit raised."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            group, self._group = self._group, _Group()
            self._committing = group
            with anyio.CancelScope(shield=True):
                await self._commit(group)
            self._committing = None

    async def _commit(self, group: _Group) -> None:
        if self._storage.spilling:
            self._dropped(group.tickets)
            await self._put_by(group)
        else:
            try:
                await self._write(group)
            except DatabaseError as error:
                await self._survive(group, error)
        group.done.set()

    async def _write(self, group: _Group) -> None:
        levels, now = self._levels(), self._clock.now()
        openings = [ticket.opening for ticket in group.tickets]
        beside = Beside(group.continued, group.settled)
        began = self._clock.monotonic()
        opened = await self._offload.run(
            lambda: self._queue.commit(openings, group.closings, levels, now, released=group.released, beside=beside)
        )
        self.seconds = self._clock.monotonic() - began
        looked = [await self._offload.run(read) for read, _ in group.looks]
        self._committed(group.closings, group.tickets, opened)
        if group.continued:
            self._continued(group.continued)
        for found, (_, take) in zip(looked, group.looks, strict=True):
            take(found)

    async def _survive(self, group: _Group, error: DatabaseError) -> None:
        """Buy nothing more, and keep what has come: it is paid for."""
        self._storage.fail(error)
        self._faulted()
        self._dropped(group.tickets)
        group.tickets = []
        if isinstance(error, DiskFullError):
            await self._offload.run(self._storage.disk.free_ballast)
            try:
                await self._write(group)
            except DatabaseError:
                await self._put_by(group)  # the first error is what is told: this one follows from it
        else:
            await self._put_by(group)

    async def _put_by(self, group: _Group) -> None:
        beside = Beside(group.continued, group.settled)
        await self._offload.run(lambda: self._storage.put_by(group.closings, group.released, beside))
