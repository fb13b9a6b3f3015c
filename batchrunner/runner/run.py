"""One run: builds the corridor, drains it, and says how it ended."""

import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from batchrunner.core.clock import Clock
from batchrunner.core.gate import Gate
from batchrunner.core.pricing import PriceBook
from batchrunner.core.request import Closing, Lane, Opened
from batchrunner.core.retry import RetryPolicy, Scope, Stop
from batchrunner.endpoints.base import Classifier
from batchrunner.runner.claimer import Claimer
from batchrunner.runner.dispatcher import Dispatcher
from batchrunner.runner.lanes import Ready, RunLane, Ticket
from batchrunner.runner.ledger import Ledger
from batchrunner.runner.live import Live, Reach
from batchrunner.runner.offload import Offload
from batchrunner.runner.rates import Rates
from batchrunner.runner.report import Halt, Interrupt, RunReport
from batchrunner.runner.snapshot import Snapshot, take
from batchrunner.runner.tally import Tally
from batchrunner.runner.worker import Workers
from batchrunner.store.base import ALL, BucketLevel, LaneWork, Pause, RunnerInfo, Selection, Store
from batchrunner.transport.base import Transport

HEARTBEAT = 1.0
"""Seconds between two snapshots for readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the wiring hands to a run."""

    queue: Store
    offload: Offload
    clock: Clock
    dice: Callable[[], float]
    policy: RetryPolicy
    prices: PriceBook
    info: RunnerInfo
    accounts: dict[str, str]
    """Label of the account by provider."""
    transport: Callable[[str], Transport]
    """Makes the transport of a provider; entered as an async context."""
    classifier: Callable[[str], Classifier]
    """The refusal table of a provider."""
    gate: Callable[[Lane, bytes | None, float], Gate]
    """Makes a lane's gate from what was learned of it, at a monotonic time."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One run over some jobs (None: every open job). ``concurrency`` bounds the calls in the air over all lanes."""

    parts: Parts
    jobs: Sequence[int] | None
    concurrency: int
    grace: float = 60.0
    """Seconds that calls in flight may take to finish after the first stop."""
    selection: Selection = ALL
    tally: Tally = field(default_factory=Tally)
    control: Callable[[Live], Coroutine[Any, Any, None]] | None = None
    """Does what other processes ask of this run while it lives; None: nobody can ask."""
    _lanes: list[RunLane] = field(default_factory=list)
    _transports: dict[str, Transport] = field(default_factory=dict)
    _halts: list[Halt] = field(default_factory=list)
    _unwritten: list[Halt] = field(default_factory=list)
    _interrupted: Interrupt | None = None
    _claimer: Claimer | None = None
    _dispatcher: Dispatcher | None = None
    _stop_asked: anyio.Event | None = None
    _runner_id: int = 0
    _started: int = 0
    _total: int = 0

    async def execute(self) -> RunReport:
        """Work until nothing is left that can be done now, or until stopped; leave everything on the disk."""
        parts = self.parts
        self._started = parts.clock.now()
        self._stop_asked = self._stop_asked or anyio.Event()
        self._runner_id, _ = await parts.offload.run(
            lambda: parts.queue.start(parts.info, self._started, parts.accounts)
        )
        reason = "crashed"
        try:
            async with AsyncExitStack() as stack:
                await self._build_lanes(stack)
                await self._walk(stack)
            reason = self._interrupted.value if self._interrupted else "finished"
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave(reason)
        return await self._report()

    def stop(self, signal: Interrupt) -> None:
        """First call: claim nothing more and let calls in flight finish. Second: cancel what is in flight."""
        if self._interrupted is not None:
            self._interrupt()
            return
        self._interrupted = signal
        if self._stop_asked is None:
            self._stop_asked = anyio.Event()
        self._stop_asked.set()
        self._stop_corridor()

    def _stop_corridor(self) -> None:
        if self._dispatcher is not None and self._claimer is not None:
            self._dispatcher.stop()
            self._claimer.stop()

    def snapshot(self) -> Snapshot:
        """Return what a live view shows now."""
        air = self._dispatcher.air if self._dispatcher is not None else 0
        return take(
            self._lanes,
            self.tally,
            total=self._total,
            air=air,
            concurrency=self.concurrency,
            clock=self.parts.clock,
            started=self._started,
            stopping=self._interrupted,
        )

    async def _build_lanes(self, stack: AsyncExitStack) -> None:
        parts = self.parts

        def read() -> tuple[list[LaneWork], list[BucketLevel], dict[int, bytes | None]]:
            work = parts.queue.work(self.jobs)
            return work, parts.queue.levels(), {w.lane.id: parts.queue.learned(w.lane.id) for w in work}

        work, levels, learned = await parts.offload.run(read)
        self._total = (await parts.offload.run(lambda: parts.queue.remaining(self.jobs, self.selection)))[0]
        for item in work:
            lane = await self._build_lane(item, learned[item.lane.id], stack)
            kept = (level for level in levels if level.lane_id == item.lane.id)
            lane.restore(kept, parts.clock.monotonic(), parts.clock.now())
            self._lanes.append(lane)

    async def _build_lane(self, item: LaneWork, learned: bytes | None, stack: AsyncExitStack) -> RunLane:
        parts, lane = self.parts, item.lane
        if lane.provider not in self._transports:
            transport = parts.transport(lane.provider)
            self._transports[lane.provider] = await stack.enter_async_context(transport)
        return RunLane(
            lane=lane,
            jobs=item.jobs,
            gate=parts.gate(lane, learned, parts.clock.monotonic()),
            transport=self._transports[lane.provider],
            classify=parts.classifier(lane.provider),
            next_due=await parts.offload.run(partial(parts.queue.next_due, item.jobs, lane.id, 0, self.selection)),
        )

    async def _walk(self, stack: AsyncExitStack) -> None:
        """The corridor itself: claimer, workers and ledger side by side until the claimer has nothing more."""
        parts = self.parts
        send, receive = anyio.create_memory_object_stream[Ready](math.inf)  # never more than are in the air
        ledger = Ledger(parts.queue, parts.offload, parts.clock, levels=self._levels, committed=self._committed)
        rates = Rates(parts.prices, parts.queue, parts.offload)
        self._claimer = claimer = Claimer(
            self._lanes,
            parts.queue,
            parts.offload,
            rates,
            parts.clock,
            concurrency=self.concurrency,
            selection=self.selection,
        )
        self._dispatcher = dispatcher = Dispatcher(
            self._lanes, ledger, parts.clock, send, concurrency=self.concurrency, wake=claimer.wake
        )
        if self._interrupted is not None:
            self._stop_corridor()
        workers = Workers(
            ledger=ledger,
            dispatcher=dispatcher,
            policy=parts.policy,
            clock=parts.clock,
            dice=parts.dice,
            stopped=self._halt,
        )
        async with anyio.create_task_group() as background:
            background.start_soon(ledger.run)
            background.start_soon(self._beat)
            background.start_soon(self._end_grace)
            async with anyio.create_task_group() as corridor:
                hire = partial(self._hire, corridor, workers, receive)
                hire(self.concurrency)
                if self.control is not None:
                    build, reach = partial(self._build_more, stack), Reach(self.jobs, self.selection, self._started)
                    live = Live(parts.queue, parts.offload, parts.clock, self._lanes, claimer, dispatcher, ledger)
                    live.connect(reach, self.concurrency, build=build, hire=hire, changed=self._changed)
                    background.start_soon(self.control, live)
                async with receive, send:
                    await claimer.run(dispatcher)
            await ledger.flush()
            background.cancel_scope.cancel()

    def _hire(
        self, corridor: TaskGroup, workers: Workers, receive: MemoryObjectReceiveStream[Ready], number: int
    ) -> None:
        for _ in range(number):
            corridor.start_soon(workers.run, receive.clone())

    async def _build_more(self, stack: AsyncExitStack, item: LaneWork) -> RunLane | None:
        return await self._build_lane(item, None, stack) if item.lane.provider in self._transports else None

    def _changed(self, concurrency: int, remaining: int) -> None:
        self.concurrency = concurrency
        self._total = remaining + self.tally.succeeded + self.tally.failed

    def _committed(self, closings: Sequence[Closing], tickets: Sequence[Ticket], opened: Sequence[Opened]) -> None:
        assert self._claimer is not None  # noqa: S101 - for the type checker: nothing is committed before it is made
        assert self._dispatcher is not None  # noqa: S101 - as above
        self._dispatcher.opened(tickets, opened)
        self._claimer.committed(closings)
        if closings:
            self.tally.add(closings, self.parts.clock.now())

    def _levels(self) -> list[BucketLevel]:
        monotonic, now = self.parts.clock.monotonic(), self.parts.clock.now()
        return [level for lane in self._lanes for level in lane.levels(monotonic, now)]

    def _halt(self, lane: RunLane, stop: Stop) -> None:
        """Close the gates that a Stop verdict names; what is queued behind them stays queued."""
        provider = lane.lane.provider
        ref = provider if stop.scope is Scope.PROVIDER else f"{provider} {lane.lane.model}"
        if any(halt.ref in (provider, ref) for halt in self._halts):
            return
        halt = Halt(stop.scope, ref, stop.kind, stop.message)
        self._halts.append(halt)
        self._unwritten.append(halt)
        for other in self._lanes:
            if other is lane or (stop.scope is Scope.PROVIDER and other.lane.provider == provider):
                other.gate.stop(stop.kind, stop.message)

    def _interrupt(self) -> None:
        """Cancel every call in flight; each is recorded as interrupted, possibly billed."""
        for transport in self._transports.values():
            transport.interrupt()

    async def _end_grace(self) -> None:
        assert self._stop_asked is not None  # noqa: S101 - set by execute, for the type checker
        await self._stop_asked.wait()
        await anyio.sleep(self.grace)
        self._interrupt()

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(HEARTBEAT)
            await self._write_beat()

    async def _write_beat(self) -> None:
        """Keep heartbeat, snapshot, halts and what was learned; readers in other processes see these."""
        queue, now = self.parts.queue, self.parts.clock.now()
        snapshot = msgspec.json.encode(self.snapshot())
        halts, self._unwritten = self._unwritten, []
        pauses = [Pause(halt.scope.value, halt.ref, halt.kind.value, halt.message, now) for halt in halts]
        learned = {lane.lane.id: msgspec.json.encode(lane.gate.learned()) for lane in self._lanes}
        with anyio.CancelScope(shield=True):
            await self.parts.offload.run(
                lambda: queue.beat(self._runner_id, now, snapshot, learned=learned, pauses=pauses)
            )

    async def _leave(self, reason: str) -> None:
        parts = self.parts
        await self._write_beat()
        await parts.offload.run(lambda: parts.queue.finish(self._runner_id, parts.clock.now(), reason))

    async def _report(self) -> RunReport:
        left, deselected, failed = await self.parts.offload.run(self._what_is_left)
        return RunReport(
            tally=self.tally,
            halts=tuple(self._halts),
            interrupted=self._interrupted,
            left=left,
            deselected=deselected,
            failed_before=failed - self.tally.failed,
            started=self._started,
            ended=self.parts.clock.now(),
        )

    def _what_is_left(self) -> tuple[int, int, int]:
        """Return queued, queued but deselected, and failed requests of these jobs."""
        left, failed = self.parts.queue.remaining(self.jobs)
        selected = left if self.selection == ALL else self.parts.queue.remaining(self.jobs, self.selection)[0]
        return left, left - selected, failed
