"""Group commits without a timer: whatever queued up while the last commit ran goes into the next one."""

from collections.abc import Callable, Sequence

import anyio

from batchrunner.core.clock import Clock
from batchrunner.core.request import Closing, Opened, Opening
from batchrunner.runner.offload import Offload
from batchrunner.store.base import BucketLevel, Queue


class _Group:
    """The operations that are committed together, and the event their callers wait for."""

    __slots__ = ("closings", "done", "error", "opened", "openings")

    def __init__(self) -> None:
        self.openings: list[Opening] = []
        self.closings: list[Closing] = []
        self.done = anyio.Event()
        self.opened: Sequence[Opened] = ()
        self.error: BaseException | None = None


class Ledger:
    """Opens and closes attempts.

    ``levels`` is asked for the buckets' levels at each commit, so that what a restart finds always includes every
    call that was sent. ``committed`` is told the closings of each group once they are durable.
    """

    def __init__(
        self,
        queue: Queue,
        offload: Offload,
        clock: Clock,
        *,
        levels: Callable[[], Sequence[BucketLevel]],
        committed: Callable[[Sequence[Closing]], None],
    ) -> None:
        self._queue = queue
        self._offload = offload
        self._clock = clock
        self._levels = levels
        self._committed = committed
        self._group = _Group()
        self._committing: _Group | None = None
        self._work = anyio.Event()

    async def open(self, opening: Opening) -> Opened:
        """Commit the intent to buy; return the attempt's id and the body to send."""
        group = self._group
        place = len(group.openings)
        group.openings.append(opening)
        await self._commit_of(group)
        return group.opened[place]

    def record(self, closing: Closing) -> None:
        """Hand over the end of an attempt and what follows for its request.

        It does not wait: what is handed over and not yet committed is an open attempt, and the claimer bounds those.
        """
        self._group.closings.append(closing)
        self._work.set()

    async def flush(self) -> None:
        """Wait until everything that was handed over is on the disk."""
        for group in (self._committing, self._group):
            if group is not None and (group.openings or group.closings):
                await self._commit_of(group)

    async def _commit_of(self, group: _Group) -> None:
        self._work.set()
        await group.done.wait()
        if group.error is not None:
            raise group.error

    async def run(self) -> None:
        """Commit groups until cancelled; a commit that has begun is always finished."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            group, self._group = self._group, _Group()
            self._committing = group
            with anyio.CancelScope(shield=True):
                await self._commit(group)
            self._committing = None

    async def _commit(self, group: _Group) -> None:
        levels, now = self._levels(), self._clock.now()
        try:
            group.opened = await self._offload.run(
                lambda: self._queue.commit(group.openings, group.closings, levels, now)
            )
        except BaseException as error:
            group.error = error
            raise
        else:
            self._committed(group.closings)
        finally:
            group.done.set()
