"""Once a second: what readers in other processes see of a run is written down, and what is due is done."""

from collections.abc import Callable, Sequence

import anyio
import msgspec

from batchrunner.core.clock import Clock
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.offload import Offload
from batchrunner.runner.report import Halt
from batchrunner.runner.snapshot import Snapshot
from batchrunner.store.base import Pause, Queue

HEARTBEAT = 1.0
"""Seconds between two snapshots for readers."""


class Heartbeat:
    """Keeps heartbeat, snapshot, pauses and what was learned of the lanes."""

    def __init__(
        self,
        queue: Queue,
        offload: Offload,
        clock: Clock,
        *,
        runner_id: int,
        lanes: Sequence[RunLane],
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._queue = queue
        self._offload = offload
        self._clock = clock
        self._runner_id = runner_id
        self._lanes = lanes
        self._snapshot = snapshot
        self._unwritten: dict[tuple[str, str], Halt] = {}

    def changed(self, halt: Halt) -> None:
        """Have a pause written that began, or ended."""
        self._unwritten[halt.scope.value, halt.ref] = halt

    async def run(self, tick: Callable[[], None]) -> None:
        """Beat until cancelled; ``tick`` does what else is due."""
        while True:
            await anyio.sleep(HEARTBEAT)
            tick()
            await self.write()

    async def write(self) -> None:
        """Write it all in one transaction."""
        queue, now = self._queue, self._clock.now()
        snapshot = msgspec.json.encode(self._snapshot())
        changed, self._unwritten = self._unwritten, {}
        over = list(changed)  # a pause that changed is written anew
        pauses = [
            Pause(scope, ref, halt.kind.value, halt.message, halt.since)
            for (scope, ref), halt in changed.items()
            if halt.ended is None
        ]
        learned = {lane.lane.id: msgspec.json.encode(lane.gate.learned()) for lane in self._lanes}
        with anyio.CancelScope(shield=True):
            await self._offload.run(
                lambda: queue.beat(self._runner_id, now, snapshot, learned=learned, pauses=pauses, resumed=over)
            )
