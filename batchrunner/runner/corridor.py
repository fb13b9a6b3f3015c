"""The corridor of a run: claimer, dispatcher, workers and ledger side by side, and what they tell each other."""

from collections.abc import Callable, Sequence
from functools import partial

import anyio
from anyio.abc import TaskGroup

from batchrunner.core.errors import DatabaseError
from batchrunner.core.request import Closing, Continued, Opened
from batchrunner.runner.attaching import Attaching
from batchrunner.runner.claimer import Claimer
from batchrunner.runner.dispatcher import Dispatcher
from batchrunner.runner.halts import Halts
from batchrunner.runner.heartbeat import HEARTBEAT
from batchrunner.runner.herald import Herald
from batchrunner.runner.inbox import Inbox
from batchrunner.runner.judging import Judging
from batchrunner.runner.lanes import RunLane, Ticket
from batchrunner.runner.ledger import Ledger
from batchrunner.runner.parts import Parts
from batchrunner.runner.rates import Rates
from batchrunner.runner.rowages import RowAges
from batchrunner.runner.spending import Spending
from batchrunner.runner.steps import Steps
from batchrunner.runner.tally import Tally
from batchrunner.runner.worker import Workers
from batchrunner.store.base import BucketLevel, Selection


class Corridor:
    """Everything between the queue and the providers.

    ``faulted`` hears of a database that takes nothing more, ``herald`` of what holds the run up.
    """

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        parts: Parts,
        lanes: list[RunLane],
        *,
        concurrency: int,
        selection: Selection,
        tally: Tally,
        faulted: Callable[[DatabaseError | None], None],
        herald: Herald,
    ) -> None:
        self._parts = parts
        self._lanes = lanes
        self._concurrency = concurrency
        self._tally = tally
        self._inbox = Inbox()
        self._recounting = anyio.Lock()
        self.spending = self._spending(herald)
        self.ledger = Ledger(
            parts.queue,
            parts.offload,
            parts.clock,
            storage=parts.storage,
            levels=self._levels,
            committed=self._committed,
            dropped=self._dropped,
            faulted=partial(faulted, None),
            continued=self._continued,
        )
        self.rates = Rates(parts.prices, parts.queue, parts.offload)
        self.claimer = Claimer(
            lanes,
            parts.queue,
            parts.offload,
            self.rates,
            parts.clock,
            concurrency=concurrency,
            selection=selection,
            faulted=faulted,
            waits=lambda: self.spending.waits,
        )
        wake = self.claimer.wake
        self.dispatcher = Dispatcher(
            lanes, self.ledger, parts.clock, self._inbox, concurrency=concurrency, spending=self.spending, wake=wake
        )
        self.halts = Halts(lanes, parts.patience, parts.clock, wake=wake, changed=herald.pause)
        self.judging = Judging(parts.wishes)
        self._workers = self._crew(faulted)
        self.doubles = self._workers.doubles

    def _spending(self, herald: Herald) -> Spending:
        parts = self._parts
        return Spending(
            self._lanes,
            parts.money,
            parts.clock,
            wake=lambda: self.claimer.wake(),  # which is made after it
            paused=herald.budget,
            warned=herald.warning,
        )

    def _crew(self, faulted: Callable[[DatabaseError | None], None]) -> Workers:
        parts = self._parts
        return Workers(
            ledger=self.ledger,
            dispatcher=self.dispatcher,
            policy=parts.policy,
            clock=parts.clock,
            dice=parts.dice,
            stopped=self.halts.stop,
            attaching=Attaching(parts.attachments, parts.file_offload or parts.offload),
            steps=self._steps(faulted),
            judging=self.judging,
            ages=None if parts.patience.row_timeout is None else RowAges(parts.patience.row_timeout),
            keep_partial=parts.keep_partial,
        )

    def _steps(self, faulted: Callable[[DatabaseError | None], None]) -> Steps:
        parts = self._parts
        return Steps(
            ledger=self.ledger,
            artifacts=parts.artifacts,
            storage=parts.storage,
            offload=parts.offload,
            policy=parts.policy,
            clock=parts.clock,
            dice=parts.dice,
            poll_for=parts.patience.poll_for,
            stopped=self.halts.stop,
            faulted=faulted,
        )

    def stop(self) -> None:
        """Claim, open and send nothing more; what is in the air lands."""
        self.dispatcher.stop()
        self.claimer.stop()

    async def recount(self) -> None:
        """Read the budgets and what counts against them anew; nothing is bought meanwhile."""
        async with self._recounting:  # one at a time: what is bought between two would be in neither sheet
            self.spending.freeze()
            await self.ledger.look(lambda: self._parts.queue.sheet(self._parts.clock.now()), self.spending.adopt)

    async def recap(self, cap: int) -> None:
        """Give the run another ``--max-cost``, in pico-dollars. Raises ConfigurationError where it has none."""
        self.spending.recap(cap)
        await self.recount()

    async def follow_tags(self) -> None:
        """Have the budgets read anew when rows came whose tags they do not know, until cancelled."""
        while True:
            await anyio.sleep(HEARTBEAT)
            if self.spending.stale:
                await self.recount()

    def join(self, lane: RunLane) -> None:
        """Work on one more lane, which is in the list of the lanes already."""
        self.claimer.join(lane)
        self.halts.join(lane)

    async def walk(self, connect: Callable[[Callable[[int], None]], None]) -> None:
        """Work until the claimer has nothing more to send, and everything is on the disk.

        ``connect`` is called at the start with what starts so many more workers.
        """
        async with anyio.create_task_group() as clerk:
            clerk.start_soon(self.ledger.run)
            async with anyio.create_task_group() as staff:
                hire = partial(self._hire, staff)
                hire(self._concurrency)
                connect(hire)
                try:
                    await self.claimer.run(self.dispatcher)
                finally:
                    self._inbox.close()
            await self.ledger.flush()
            clerk.cancel_scope.cancel()

    def _hire(self, staff: TaskGroup, number: int) -> None:
        for _ in range(number):
            staff.start_soon(self._workers.run, self._inbox)

    def _committed(self, closings: Sequence[Closing], tickets: Sequence[Ticket], opened: Sequence[Opened]) -> None:
        if closings and self.spending.active:
            self.spending.settle(closings)
        self.dispatcher.opened(tickets, opened)
        self.claimer.committed(closings)
        if closings:
            self.halts.committed(closings)
            self._tally.add(closings, self._parts.clock.now())
            self._parts.storage.seen(len(closings), closings[-1])

    def _continued(self, continued: Sequence[Continued]) -> None:
        self.spending.put_by(continued)
        self.claimer.continued(continued)
        self.halts.continued(continued)

    def _dropped(self, tickets: Sequence[Ticket]) -> None:
        self.dispatcher.dropped(tickets)

    def _levels(self) -> list[BucketLevel]:
        monotonic, now = self._parts.clock.monotonic(), self._parts.clock.now()
        return [level for lane in self._lanes for level in lane.levels(monotonic, now)]
