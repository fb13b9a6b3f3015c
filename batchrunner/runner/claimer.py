"""The head of the corridor: asks each lane's gate, claims that many rows of that lane, hands their heads to workers."""

import math
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from batchrunner.core.clock import SECOND, Clock
from batchrunner.core.gate import Go, Stopped
from batchrunner.core.request import Closing, Head
from batchrunner.core.retry import RetryAt, Stop
from batchrunner.runner.lanes import RunLane, Ticket
from batchrunner.runner.offload import Offload
from batchrunner.store.base import Queue, Selection

SLACK = 64
"""Open attempts beyond the calls in the air: answered, and waiting for the group commit that records them."""


class Claimer:
    """Keeps the calls in the air at ``concurrency`` while the gates allow, and the open attempts within the slack.

    Lanes share fairly: the next slot goes to the lane with the fewest calls in the air among those that may go.
    """

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        lanes: Sequence[RunLane],
        queue: Queue,
        offload: Offload,
        clock: Clock,
        inbox: MemoryObjectSendStream[Ticket],
        *,
        concurrency: int,
        selection: Selection,
    ) -> None:
        self._lanes = lanes
        self._by_id = {lane.lane.id: lane for lane in lanes}
        self._queue = queue
        self._offload = offload
        self._clock = clock
        self._inbox = inbox
        self._concurrency = concurrency
        self._selection = selection
        self._batch = 2 * concurrency + SLACK
        self._open = 0
        self._air = 0
        self._wake = anyio.Event()
        self._stopping = False
        self._filling: set[int] = set()

    @property
    def air(self) -> int:
        """Calls that are being opened or are in the air."""
        return self._air

    def landed(self) -> None:
        """Note that a call's answer is in: its slot is free, and ``take`` may be asked for the next one."""
        self._air -= 1

    def take(self) -> Ticket | None:
        """Return the next ticket for a worker that has just landed a call; None: wait at the inbox.

        It saves the hop over the inbox, which at full speed nobody needs.
        """
        ticket = None if self._stopping else self._next(self._clock.monotonic())[0]
        if ticket is None:
            self._wake.set()
        return ticket

    def committed(self, closings: Sequence[Closing]) -> None:
        """Note that attempts are on the disk with their verdicts."""
        for closing in closings:
            head = closing.opening.head
            lane = self._by_id[head.lane_id]
            lane.busy.discard(head.id)
            verdict = closing.verdict
            if type(verdict) is RetryAt:
                lane.next_due = min(lane.next_due or verdict.not_before, verdict.not_before)
            elif type(verdict) is Stop:
                lane.next_due = closing.ended
        self._open -= len(closings)
        self._wake.set()

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Hand out work until none is left or ``stop`` is called; then close the inbox, which ends the workers."""
        async with self._inbox, anyio.create_task_group() as tasks:
            while not self._stopping:
                self._wake = anyio.Event()
                resume = self._hand_out()
                self._start_fills(tasks)
                if self._done():
                    break
                with anyio.move_on_after(max(0.0, resume - self._clock.monotonic())):
                    await self._wake.wait()

    def _done(self) -> bool:
        """Whether nothing is left to hand out, now or later: what is in the air may still come back to be retried."""
        if self._filling:
            return False
        return all(not lane.busy if lane.gate.stopped is not None else lane.finished for lane in self._lanes)

    def _hand_out(self) -> float:
        """Hand out what the gates allow now; return the monotonic time at which to ask again without being woken."""
        now = self._clock.monotonic()
        while True:
            ticket, resume = self._next(now)
            if ticket is None:
                return min(resume, self._next_due(now))
            self._inbox.send_nowait(ticket)

    def _next(self, now: float) -> tuple[Ticket | None, float]:
        """Let one head through, of the lane with the fewest calls in the air among those that may go.

        Without one, the second value is the monotonic time at which a gate may let one through by itself.
        """
        resume = math.inf
        if self._air >= self._concurrency or self._open >= self._concurrency + SLACK:
            return None, resume
        for lane in self._lanes if len(self._lanes) == 1 else sorted(self._lanes, key=_air_of):
            if not lane.heads:
                continue
            head = lane.heads[0]
            answer = lane.gate.ask(now, head.est_in, head.max_out)
            if isinstance(answer, Go):
                return self._admit(lane, now), resume
            if isinstance(answer, Stopped):
                self._drop_heads(lane)
            else:
                resume = min(resume, answer.until)
        return None, resume

    def _admit(self, lane: RunLane, now: float) -> Ticket:
        head = lane.heads.popleft()
        permit = lane.gate.admit(now, head.est_in, head.max_out)
        self._open += 1
        self._air += 1
        return Ticket(lane, head, permit)

    def _next_due(self, now: float) -> float:
        """Return the monotonic time at which the next waiting row is due, among the lanes that would claim it then."""
        wall = self._clock.now()
        due = [lane.next_due for lane in self._lanes if lane.next_due is not None and self._runs_low(lane)]
        return now + max(0, min(due) - wall) / SECOND if due else math.inf

    def _runs_low(self, lane: RunLane) -> bool:
        """Whether more heads should be claimed for a lane when there are any."""
        busy_or_closed = lane.lane.id in self._filling or lane.gate.stopped is not None
        return not busy_or_closed and len(lane.heads) < self._concurrency

    def _drop_heads(self, lane: RunLane) -> None:
        """Give claimed heads back: claiming wrote nothing, so forgetting them is all."""
        lane.busy.difference_update(head.id for head in lane.heads)
        lane.heads.clear()

    def _start_fills(self, tasks: TaskGroup) -> None:
        """Claim more for the lanes that run low, beside the calls."""
        wall = self._clock.now()
        for lane in self._lanes:
            due = lane.next_due is not None and lane.next_due <= wall
            if (due or lane.fresh) and self._runs_low(lane) and not self._stopping:
                self._filling.add(lane.lane.id)
                tasks.start_soon(self._fill, lane, due)

    async def _fill(self, lane: RunLane, due: bool) -> None:
        try:
            heads = await (self._claim_due(lane) if due else self._claim_fresh(lane))
            for head in heads:
                if head.id not in lane.busy:
                    lane.busy.add(head.id)
                    lane.heads.append(head)
        finally:
            self._filling.discard(lane.lane.id)
            self._wake.set()

    async def _claim_due(self, lane: RunLane) -> list[Head]:
        now, limit = self._clock.now(), self._batch + len(lane.heads)

        def claim() -> tuple[list[Head], int | None]:
            heads = self._queue.claim_due(lane.jobs, lane.lane.id, now, limit, self._selection)
            if len(heads) == limit:
                return heads, now
            return heads, self._queue.next_due(lane.jobs, lane.lane.id, now, self._selection)

        heads, lane.next_due = await self._offload.run(claim)
        return heads

    async def _claim_fresh(self, lane: RunLane) -> list[Head]:
        job, after = lane.jobs[lane.job_index], lane.after
        heads = await self._offload.run(
            lambda: self._queue.claim(job, lane.lane.id, after, self._batch, self._selection)
        )
        if len(heads) < self._batch:
            lane.job_index, lane.after = lane.job_index + 1, None
        else:
            lane.after = (heads[-1].priority, heads[-1].id)
        return heads


def _air_of(lane: RunLane) -> int:
    return lane.gate.air
