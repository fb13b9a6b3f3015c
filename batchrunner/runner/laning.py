"""Builds the lanes of a run from what is queued, what was learned, and the levels that an earlier run kept."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from batchrunner.core.clock import Clock
from batchrunner.core.gate import Gate
from batchrunner.core.request import Lane
from batchrunner.endpoints.base import Classifier
from batchrunner.runner.lanes import FLOATS, RunLane
from batchrunner.runner.offload import Offload
from batchrunner.store.base import BucketLevel, LaneWork, Queue, Selection
from batchrunner.transport.base import Transport


class LaneBuilder:
    """Makes lanes; the transports that it makes on the way, one for each provider, are entered in ``stack``."""

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        queue: Queue,
        offload: Offload,
        clock: Clock,
        *,
        transport: Callable[[str], Transport],
        classifier: Callable[[str], Classifier],
        gate: Callable[[Lane, bytes | None, float], Gate],
        selection: Selection,
    ) -> None:
        self.transports: dict[str, Transport] = {}
        self._queue = queue
        self._offload = offload
        self._clock = clock
        self._transport = transport
        self._classifier = classifier
        self._gate = gate
        self._selection = selection

    async def build(self, jobs: Sequence[int] | None, stack: AsyncExitStack) -> list[RunLane]:
        """Return the lanes with queued requests of these jobs (None: of every open job)."""
        queue = self._queue

        def read() -> tuple[list[LaneWork], list[BucketLevel], dict[int, bytes | None]]:
            work = queue.work(jobs)
            return work, queue.levels(), {item.lane.id: queue.learned(item.lane.id) for item in work}

        work, levels, learned = await self._offload.run(read)
        return [await self._build(item, levels, learned, stack) for item in work]

    async def build_more(self, item: LaneWork, stack: AsyncExitStack) -> RunLane | None:
        """Return one more lane; None where this run has no key for its provider."""
        if item.lane.provider not in self.transports:
            return None
        queue, lane_id = self._queue, item.lane.id
        levels, learned = await self._offload.run(lambda: (queue.levels(), queue.learned(lane_id)))
        return await self._build(item, levels, {lane_id: learned}, stack)

    async def _build(
        self,
        item: LaneWork,
        levels: Sequence[BucketLevel],
        learned: Mapping[int, bytes | None],
        stack: AsyncExitStack,
    ) -> RunLane:
        lane = item.lane
        if lane.provider not in self.transports:
            transport = self._transport(lane.provider)
            self.transports[lane.provider] = await stack.enter_async_context(transport)
        next_due = await self._offload.run(partial(self._queue.next_due, item.jobs, lane.id, 0, self._selection))
        monotonic, now = self._clock.monotonic(), self._clock.now()  # a bucket begins where the kept age ends
        built = RunLane(
            lane=lane,
            jobs=item.jobs,
            gate=self._gate(lane, learned[lane.id], monotonic),
            transport=self.transports[lane.provider],
            classify=self._classifier(lane.provider),
            next_due=next_due,
            floats=FLOATS.encode() in (learned[lane.id] or b""),
        )
        built.restore((level for level in levels if level.lane_id == lane.id), monotonic, now)
        return built
