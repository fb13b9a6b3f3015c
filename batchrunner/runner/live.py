"""A run at work, as commands reach it: its lanes follow what the database says now, its limits what a person says."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import anyio

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import IN_DATABASE, PriceBook
from batchrunner.runner.commands import Tune
from batchrunner.runner.corridor import Corridor
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.parts import Parts
from batchrunner.store.base import ALL, BY_HAND, LaneWork, Selection


class Reach(NamedTuple):
    """What a run works on, and since when."""

    jobs: Sequence[int] | None
    selection: Selection
    started: int
    """Microseconds UTC."""


class Live:
    """What a command may do to a run that is going on."""

    def __init__(self, parts: Parts, lanes: list[RunLane], corridor: Corridor) -> None:
        self.queue = parts.queue
        self._book = parts.prices
        self.offload = parts.offload
        self.clock = parts.clock
        self.lanes = lanes
        self.claimer = corridor.claimer
        self.dispatcher = corridor.dispatcher
        self.ledger = corridor.ledger
        self._corridor = corridor
        self.recount = corridor.recount
        """Has the budgets read anew."""
        self.recap = corridor.recap
        """Gives the run another cap of its own, in pico-dollars. Raises ConfigurationError where it has none."""
        self._remaining = 0
        self._loads = 0
        self._holds = False
        self._tunes: list[Tune] = []
        self._refreshing = anyio.Lock()

    def connect(
        self,
        reach: Reach,
        concurrency: int,
        *,
        build: Callable[[LaneWork], Awaitable[RunLane | None]],
        hire: Callable[[int], None],
        changed: Callable[[int, int], None],
    ) -> None:
        """Connect it to its run.

        ``build`` makes one more lane, or None where the run has no key for its provider; ``hire`` starts so many more
        workers; ``changed`` hears the bound over all lanes and how many requests remain.
        """
        self.jobs, self.selection, self.started = reach
        self.concurrency = self._hired = concurrency
        self._build, self._hire, self._changed = build, hire, changed

    def works_on(self, job_id: int) -> bool:
        """Whether rows that are new in a job are part of this run."""
        return self.selection == ALL and (self.jobs is None or job_id in self.jobs)

    async def refresh(self) -> None:
        """Follow the database: jobs and lanes that are new, held back, or not held back any more; rows queued again.

        What is open and may not be sent any more is taken back.
        """
        async with self._refreshing:
            await self.ledger.flush()  # what was released is queued again, where a claim can find it
            work = await self.offload.run(lambda: self.queue.work(self.jobs, running=True))
            for item in work:
                await self._join(item)
            now, jobs = self.clock.now(), {item.lane.id: item.jobs for item in work}
            held = await self.offload.run(lambda: self._held_lanes(work))
            short = self._corridor.spending.follow({job for each in jobs.values() for job in each})
            for lane in self.lanes:
                mine = jobs.get(lane.lane.id, ())
                free = [job for job in mine if job not in short]
                lane.restart(free, now, winding=[job for job in mine if job in short])
                lane.held = lane.lane.id in held
            self._changed(self.concurrency, self._remaining)
            self._keep_open()
            self.dispatcher.recall()
            self.claimer.wake()

    async def _join(self, item: LaneWork) -> None:
        if any(lane.lane.id == item.lane.id for lane in self.lanes):
            return
        lane = await self._build(item)
        if lane is None:
            return
        for command in self._tunes:
            if command.model in (None, lane.lane.model):
                self._tune_lane(lane, command)
        self.lanes.append(lane)
        self._corridor.join(lane)

    async def reprice(self) -> None:
        """Price what is opened from now on by the prices that the database has now, and ask budgets anew.

        A job that was held back for want of a price goes on.
        """
        own = await self.offload.run(self.queue.prices)
        files = PriceBook(price for price in self._book.prices if price.priority != IN_DATABASE)
        self._corridor.rates.renew(files.with_more(own))
        for lane in self.lanes:
            lane.rate_until = 0
        await self.recount()
        self.claimer.wake()

    def _held_lanes(self, work: Sequence[LaneWork]) -> set[int]:
        """Return the lanes of which a person holds back everything; note whether the run should wait for that person.

        It waits for what was held back since it began: who says ``pause`` from beside will say ``resume`` as well.
        """
        pauses = [pause for pause in self.queue.pauses() if pause.reason == BY_HAND]
        self._remaining, _ = self.queue.remaining(self.jobs, self.selection)
        free = sum(item.queued for item in work) if self.selection == ALL else 0
        self._holds = self._remaining > free and any(pause.since >= self.started for pause in pauses)
        with_work = {item.lane.id for item in work}
        return {lane.lane.id for lane in self.lanes if pauses and lane.lane.id not in with_work}

    def _keep_open(self) -> None:
        self.claimer.keep_open = self._holds or self._loads > 0
        self.claimer.wake()

    def begin_load(self) -> None:
        """Go on at least until ``end_load``: there will be more to send."""
        self._loads += 1
        self._keep_open()

    def end_load(self) -> None:
        """End what ``begin_load`` began."""
        self._loads -= 1
        self._keep_open()

    async def forget(self, job_id: int) -> None:
        """Claim and open nothing more of a job; returns once what was being opened of it is on the disk."""
        now = self.clock.now()
        for lane in self.lanes:
            if job_id in lane.jobs:
                lane.restart([job for job in lane.jobs if job != job_id], now)
        await self.ledger.flush()

    def tune(self, command: Tune) -> list[str]:
        """Change limits, of one model or of all; return the lanes that it reached, as provider and model.

        A concurrency for all models is the bound over all of them too; one for a single model lifts that bound where
        it was lower. Raises ConfigurationError where no lane of this run has the model.
        """
        lanes = [lane for lane in self.lanes if command.model in (None, lane.lane.model)]
        if not lanes:
            known = ", ".join(sorted({lane.lane.model for lane in self.lanes})) or "none"
            raise ConfigurationError(
                f"the run that is going on has no model {command.model!r}", hint=f"its models are: {known}"
            )
        for lane in lanes:
            self._tune_lane(lane, command)
        self._tunes.append(command)
        if isinstance(command.concurrency, int):
            one_model = command.model is not None
            self._resize(max(self.concurrency, command.concurrency) if one_model else command.concurrency)
        self.claimer.wake()
        return [f"{lane.lane.provider} {lane.lane.model}" for lane in lanes]

    def _tune_lane(self, lane: RunLane, command: Tune) -> None:
        lane.gate.tune(concurrency=command.concurrency, rpm=command.rpm, tpm=command.tpm, now=self.clock.monotonic())

    def _resize(self, concurrency: int) -> None:
        if concurrency > self._hired:
            self._hire(concurrency - self._hired)
            self._hired = concurrency
        self.concurrency = concurrency
        self.dispatcher.resize(concurrency)
        self.claimer.resize(concurrency)
        self._changed(concurrency, self._remaining)
