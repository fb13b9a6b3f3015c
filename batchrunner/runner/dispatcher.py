"""Between the gates and the workers: what may be bought now is opened, and what is open is sent as room comes.

Attempts are opened a little ahead of their room in the air, so that no call waits for a commit while others land.
"""

import math
from collections.abc import Callable, Sequence

from batchrunner.core.ahead import Ahead
from batchrunner.core.clock import Clock
from batchrunner.core.permit import Go, Stopped
from batchrunner.core.request import Opened, Opening, Release
from batchrunner.runner.inbox import Inbox
from batchrunner.runner.lanes import Probe, Ready, RunLane, Ticket
from batchrunner.runner.ledger import Ledger
from batchrunner.runner.rates import opening
from batchrunner.runner.spending import Spending


class Dispatcher:
    """Keeps the calls in the air at ``concurrency`` while the gates allow.

    What is admitted and has not landed never exceeds the concurrency by more than ``SLACK``, nor do therefore the open
    attempts on the disk: a group commit takes every closing that was handed over before the last of its openings was.

    Lanes share fairly: the next one goes to the lane with the fewest calls among those that may go. ``wake`` is called
    when ``admit`` should be called again: a gate refused, or heads ran out.
    """

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        lanes: Sequence[RunLane],
        ledger: Ledger,
        clock: Clock,
        inbox: Inbox,
        *,
        concurrency: int,
        spending: Spending,
        wake: Callable[[], None],
    ) -> None:
        self.air = 0
        """Calls in the air."""
        self.admitted = 0
        """Calls in the air, and those that are being opened or wait for room."""
        self.out: dict[int, Ready] = {}
        """The calls in the air by attempt."""
        self._lanes = lanes
        self._ledger = ledger
        self._clock = clock
        self._inbox = inbox
        self._concurrency = concurrency
        self._spending = spending
        self._wake = wake
        self._ahead = Ahead()
        self._stopping = False

    def stop(self) -> None:
        """Admit and send nothing more: what is open and was not sent is given back."""
        self._stopping = True

    def admit(self) -> float:
        """Open what the gates allow now; return the monotonic time at which to ask again without being woken."""
        now, resume = self._clock.monotonic(), None
        while resume is None:
            resume = self._admit_next(now)
        return resume

    def opened(self, tickets: Sequence[Ticket], opened: Sequence[Opened]) -> None:
        """Send what was just opened as far as there is room."""
        self._ahead.committed(self._ledger.seconds, self._clock.monotonic())
        for ticket, attempt in zip(tickets, opened, strict=True):
            ticket.lane.ready.append(Ready(ticket, attempt))
        while (ready := self._next_ready()) is not None:
            self._inbox.put(ready)

    def dropped(self, tickets: Sequence[Ticket]) -> None:
        """Take back calls whose attempts could not be opened: they were never sent, and the run is stopping."""
        for ticket in tickets:
            ticket.lane.gate.release(ticket.permit)
            self._spending.give_back(ticket.opening.head)
            self.admitted -= 1
        self._wake()

    def clear(self, ticket: Ticket) -> bool:
        """Whether a call that a worker was given may still be sent: neither its lane nor the run closed meanwhile."""
        return not self._stopping and ticket.lane.gate.clear(ticket.permit, self._clock.monotonic())

    def release(self, ready: Ready) -> None:
        """Take back an open attempt that may not be sent any more; its head is the next one to go when the lane opens.

        Left open it would hold up other lanes, and a crash would take it for a call that may have been billed.
        """
        lane, (head, *_), permit = ready.ticket
        lane.gate.release(permit)
        self._spending.give_back(head)
        if lane.works_on(head):
            lane.heads.appendleft(head)
        else:  # held back, or cancelled, since it was claimed
            lane.busy.discard(head.id)
        if lane.probe is Probe.OUT:
            lane.probe = Probe.DUE
        self._ledger.release(Release(ready.opened.attempt_id, head))

    def recall(self) -> None:
        """Take back what is open and waits for room, of jobs that may not be sent any more."""
        for lane in self._lanes:
            gone = [ready for ready in lane.ready if not lane.works_on(ready.ticket.opening.head)]
            for ready in gone:
                lane.ready.remove(ready)
                self.admitted -= 1
                self.release(ready)

    def resize(self, concurrency: int) -> None:
        """Keep so many calls in the air from here on; what is in the air beyond that lands."""
        self._concurrency = concurrency

    def landed(self, ready: Ready) -> Ready | None:
        """Note that this call is over, and recorded or released; return the next one for its worker.

        None: wait at the inbox, a hop that is saved where something waits for room.
        """
        del self.out[ready.opened.attempt_id]
        self.air -= 1
        self.admitted -= 1
        self._ahead.landed()
        if self._stopping or self.admit() < math.inf:
            self._wake()
        return self._next_ready()

    def _next_ready(self) -> Ready | None:
        """Give the next open attempt its room in the air."""
        if self.air >= self._concurrency:
            return None
        for lane in self._by_need():
            if lane.ready and lane.gate.room:
                ready = lane.ready.popleft()
                lane.gate.depart(ready.ticket.permit)
                self.air += 1
                self.out[ready.opened.attempt_id] = ready
                return ready
        return None

    def _admit_next(self, now: float) -> float | None:
        """Let one head through; if none may go, return when a gate may let one through by itself."""
        resume, ahead = math.inf, self._ahead.now_allowed
        if self._stopping or self.admitted >= self._concurrency + ahead:
            return resume
        wall = self._clock.now()
        for lane in self._by_need():
            if not lane.heads or lane.probe is Probe.OUT or not lane.is_priced(wall):
                continue
            head = lane.heads[0]
            answer = lane.gate.ask(now, head.est_in, head.max_out, ahead)
            if isinstance(answer, Go):
                purchase = opening(lane, head, wall)
                if not self._spending.active or self._spending.reserve(purchase):
                    self._open_next(lane, purchase, now)
                    return None
                if not lane.heads or lane.heads[0] is not head:
                    return None  # its job is held back: ask for the others
                continue
            if isinstance(answer, Stopped):
                lane.drop_heads()
            else:
                resume = min(resume, answer.until)
        return resume

    def _open_next(self, lane: RunLane, purchase: Opening, now: float) -> None:
        head = lane.heads.popleft()
        permit = lane.gate.admit(now, head.est_in, head.max_out)
        self.admitted += 1
        ticket = Ticket(lane, purchase, permit)
        if lane.probe is Probe.DUE:
            lane.probe, lane.probing = Probe.OUT, ticket.opening
        self._ledger.open(ticket)

    def _by_need(self) -> Sequence[RunLane]:
        return self._lanes if len(self._lanes) == 1 else sorted(self._lanes, key=_admitted)


def _admitted(lane: RunLane) -> int:
    return lane.gate.admitted
