"""Once a second: what readers in other processes see of a run is written down, and what is due is done."""

from collections.abc import Callable, Sequence

import anyio
import msgspec

from batchrunner.core.errors import DatabaseError
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.parts import Parts
from batchrunner.runner.report import Halt
from batchrunner.runner.snapshot import Snapshot
from batchrunner.store.base import Pause

HEARTBEAT = 1.0
"""Seconds between two snapshots for readers."""


class Heartbeat:
    """Keeps heartbeat, snapshot, pauses and what was learned of the lanes.

    ``faulted`` is told when the database takes nothing more, or its disk soon will not.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        runner_id: int,
        lanes: Sequence[RunLane],
        snapshot: Callable[[], Snapshot],
        faulted: Callable[[DatabaseError], None],
    ) -> None:
        self._queue = parts.queue
        self._offload = parts.offload
        self._clock = parts.clock
        self._storage = parts.storage
        self._runner_id = runner_id
        self._lanes = lanes
        self._snapshot = snapshot
        self._faulted = faulted
        self._unwritten: dict[tuple[str, str], Halt] = {}

    def changed(self, halt: Halt) -> None:
        """Have a pause written that began, or ended."""
        self._unwritten[halt.scope.value, halt.ref] = halt

    async def run(self, tick: Callable[[], None]) -> None:
        """Beat until cancelled; ``tick`` does what else is due."""
        while True:
            await anyio.sleep(HEARTBEAT)
            tick()
            if self._storage.fault is None:
                await self._write_or_stop()

    async def _write_or_stop(self) -> None:
        try:
            await self.write()
        except DatabaseError as error:
            self._faulted(error)
        self._storage.look()
        if (low := self._storage.low()) is not None:
            self._faulted(low)

    async def write(self) -> None:
        """Write it all in one transaction. Raises DatabaseError where that fails."""
        queue, now = self._queue, self._clock.now()
        snapshot = msgspec.json.encode(self._snapshot())
        changed, self._unwritten = self._unwritten, {}
        over = list(changed)  # a pause that changed is written anew
        pauses = [
            Pause(scope, ref, halt.kind.value, halt.message, halt.since)
            for (scope, ref), halt in changed.items()
            if halt.ended is None
        ]
        learned = {lane.lane.id: msgspec.json.encode(lane.learned()) for lane in self._lanes}
        with anyio.CancelScope(shield=True):
            await self._offload.run(
                lambda: queue.beat(self._runner_id, now, snapshot, learned=learned, pauses=pauses, resumed=over)
            )
