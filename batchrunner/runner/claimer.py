"""The head of the corridor: claims rows for the lanes before their gates ask for them, and knows when none is left."""

import math
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from batchrunner.core.ahead import SLACK
from batchrunner.core.attempt import Failure
from batchrunner.core.clock import SECOND, Clock
from batchrunner.core.errors import DatabaseError
from batchrunner.core.request import Closing, Continued, Head
from batchrunner.core.retry import AskAgain, RetryAt, Split, Stop
from batchrunner.runner.dispatcher import Dispatcher
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.offload import Offload
from batchrunner.runner.rates import Rates
from batchrunner.store.base import Queue, Selection


class Claimer:
    """Keeps claimed heads in every lane, so that the dispatcher never waits for a claim.

    It has a dispatcher admit them, and sleeps until it is woken, a gate may open by itself, or a waiting row is due.
    ``faulted`` is told what the database said instead of rows; it stops the run.
    """

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        lanes: Sequence[RunLane],
        queue: Queue,
        offload: Offload,
        rates: Rates,
        clock: Clock,
        *,
        concurrency: int,
        selection: Selection,
        faulted: Callable[[DatabaseError], None],
    ) -> None:
        self._lanes = lanes
        self._by_id = {lane.lane.id: lane for lane in lanes}
        self._queue = queue
        self._offload = offload
        self._rates = rates
        self._clock = clock
        self._concurrency = concurrency
        self._selection = selection
        self._faulted = faulted
        self._batch = 2 * concurrency + SLACK
        self._wake = anyio.Event()
        self._stopping = False
        self._filling: set[int] = set()
        self.keep_open = False
        """Whether to go on without anything to send, because a person will say what comes next."""

    def wake(self) -> None:
        """Look again: something has changed."""
        self._wake.set()

    def join(self, lane: RunLane) -> None:
        """Work on one more lane, which is in the list of the lanes already."""
        self._by_id[lane.lane.id] = lane
        self._wake.set()

    def resize(self, concurrency: int) -> None:
        """Claim for so many calls in flight from here on."""
        self._concurrency, self._batch = concurrency, 2 * concurrency + SLACK
        for lane in self._lanes:
            lane.drops += 1  # a short claim means the end of a job only by the size that it asked for
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more, and end once nothing is open."""
        self._stopping = True
        self._wake.set()

    def committed(self, closings: Sequence[Closing]) -> None:
        """Note that attempts are on the disk with their verdicts."""
        for closing in closings:
            head = closing.opening.head
            lane = self._by_id[head.lane_id]
            lane.busy.discard(head.id)
            verdict = closing.verdict
            if isinstance(verdict, RetryAt | AskAgain | Split):
                lane.next_due = min(lane.next_due or verdict.not_before, verdict.not_before)
                lane.failure = closing.outcome if type(closing.outcome) is Failure else lane.failure
            elif isinstance(verdict, Stop):
                lane.next_due = closing.ended
        self._wake.set()

    def continued(self, continued: Sequence[Continued]) -> None:
        """Note that attempts go on later, or at once with the workers that have them."""
        for _, opening, _, verdict in continued:
            lane = self._by_id[opening.head.lane_id]
            if not verdict.stays:
                lane.busy.discard(opening.head.id)
                lane.next_due = min(lane.next_due or verdict.not_before, verdict.not_before)
        self._wake.set()

    async def run(self, dispatcher: Dispatcher) -> None:
        """Keep the dispatcher at work until nothing is left to do, or until ``stop`` and what was open has landed."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._wake = anyio.Event()
                resume = dispatcher.admit()
                self._start_fills(tasks)
                if self._done(dispatcher):
                    return
                until = min(resume, self._next_due())
                with anyio.move_on_after(max(0.0, until - self._clock.monotonic())):
                    await self._wake.wait()

    def _done(self, dispatcher: Dispatcher) -> bool:
        """Whether nothing is left to send, now or later: what is in the air may still come back to be retried."""
        if self._filling:
            return False
        if self._stopping:
            return not dispatcher.admitted
        if self.keep_open:
            return False
        return all(not lane.busy if _is_closed(lane) else lane.finished for lane in self._lanes)

    def _next_due(self) -> float:
        """Return the monotonic time at which the next waiting row is due, among the lanes that would claim it then."""
        due = [lane.next_due for lane in self._lanes if lane.next_due is not None and self._runs_low(lane)]
        if not due or self._stopping:
            return math.inf
        return self._clock.monotonic() + max(0, min(due) - self._clock.now()) / SECOND

    def _runs_low(self, lane: RunLane) -> bool:
        """Whether more heads should be claimed for a lane when there are any."""
        busy_or_closed = lane.lane.id in self._filling or lane.gate.stopped is not None
        return not busy_or_closed and len(lane.heads) < self._concurrency

    def _start_fills(self, tasks: TaskGroup) -> None:
        """Claim more for the lanes that run low, and price the others anew at midnight, beside the calls."""
        wall = self._clock.now()
        for lane in self._lanes:
            if self._stopping or lane.lane.id in self._filling:
                continue
            due = lane.next_due is not None and lane.next_due <= wall
            more = (due or lane.fresh) and self._runs_low(lane)
            if more or (lane.heads and not lane.is_priced(wall)):
                self._filling.add(lane.lane.id)
                tasks.start_soon(self._fill, lane, more, due)

    async def _fill(self, lane: RunLane, more: bool, due: bool) -> None:
        try:
            await self._rates.look_up(lane, self._clock.now())
            heads = await (self._claim_due(lane) if due else self._claim_fresh(lane)) if more else []
            for head in heads:
                if head.id not in lane.busy:
                    lane.busy.add(head.id)
                    lane.heads.append(head)
        except DatabaseError as error:
            self._faulted(error)
        finally:
            self._filling.discard(lane.lane.id)
            self._wake.set()

    async def _claim_due(self, lane: RunLane) -> list[Head]:
        now, limit, drops = self._clock.now(), self._batch + len(lane.heads), lane.drops

        def claim() -> tuple[list[Head], int | None]:
            heads = self._queue.claim_due(lane.jobs, lane.lane.id, now, limit, self._selection)
            if len(heads) == limit:
                return heads, now
            return heads, self._queue.next_due(lane.jobs, lane.lane.id, now, self._selection)

        heads, next_due = await self._offload.run(claim)
        if lane.drops != drops:
            return []
        lane.next_due = next_due
        return heads

    async def _claim_fresh(self, lane: RunLane) -> list[Head]:
        job, after, drops = lane.jobs[lane.job_index], lane.after, lane.drops
        heads = await self._offload.run(
            lambda: self._queue.claim(job, lane.lane.id, after, self._batch, self._selection)
        )
        if lane.drops != drops:
            return []
        if len(heads) < self._batch:
            lane.job_index, lane.after = lane.job_index + 1, None
        else:
            lane.after = (heads[-1].priority, heads[-1].id)
        return heads


def _is_closed(lane: RunLane) -> bool:
    """Whether nothing more of a lane goes out in this run."""
    return lane.gate.stopped is not None and not lane.waits
