"""One run: builds the corridor, drains it, and says how it ended."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from batchrunner.core.errors import DatabaseError
from batchrunner.runner.corridor import Corridor
from batchrunner.runner.heartbeat import Heartbeat
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.laning import LaneBuilder
from batchrunner.runner.live import Live, Reach
from batchrunner.runner.looplag import LoopLag
from batchrunner.runner.notices import end_facts, event_of, fault_facts, pause_facts
from batchrunner.runner.notify import Bell
from batchrunner.runner.parts import Parts
from batchrunner.runner.report import Halt, Interrupt, RunReport
from batchrunner.runner.snapshot import Snapshot, take
from batchrunner.runner.suspension import Suspension
from batchrunner.runner.tail import NO_TAIL, Tail, tail_of, worse
from batchrunner.runner.tally import Tally
from batchrunner.store.base import ALL, Selection
from batchrunner.transport.base import Transport


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
    _lag: LoopLag = field(default_factory=LoopLag)
    _lanes: list[RunLane] = field(default_factory=list)
    _transports: dict[str, Transport] = field(default_factory=dict)
    _builder: LaneBuilder | None = None
    _corridor: Corridor | None = None
    _interrupted: Interrupt | None = None
    _stop_asked: anyio.Event | None = None
    _runner_id: int = 0
    _started: int = 0
    _total: int = 0
    _expired: bool = False
    _worst: Tail = NO_TAIL
    _bell: Bell = field(init=False)
    _heartbeat: Heartbeat = field(init=False)
    _suspension: Suspension = field(init=False)

    def __post_init__(self) -> None:
        self._bell = Bell(self.parts.notifier)
        self._suspension = Suspension(self.parts.suspended)

    async def execute(self) -> RunReport:
        """Work until nothing is left that can be done now, or until stopped; leave everything on the disk.

        Raises DatabaseError where the database or its disk failed: what was in flight then was kept as far as any disk
        took it, as the message tells.
        """
        parts = self.parts
        self._started = parts.clock.now()
        self._stop_asked = self._stop_asked or anyio.Event()
        self._runner_id = await parts.offload.run(self._begin)
        self._heartbeat = Heartbeat(
            parts,
            runner_id=self._runner_id,
            lanes=self._lanes,
            snapshot=self.snapshot,
            faulted=self._faulted,
        )
        reason = "crashed"
        try:
            async with AsyncExitStack() as stack:
                await self._build_lanes(stack)
                await self._walk(stack)
            reason = self._stopping or "finished"
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave(reason)
        if parts.storage.fault is not None:
            fault = parts.storage.error()
            await self._tell_end(fault_facts(fault))
            raise fault
        report = await self._report()
        await self._tell_end(end_facts(report))
        judged = self._corridor.judging.problems if self._corridor is not None else ()
        return replace(report, problems=(*parts.storage.notes, *judged, *self._bell.problems))

    def _begin(self) -> int:
        self.parts.storage.prepare()
        return self.parts.queue.start(self.parts.info, self._started, self.parts.accounts)[0]

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
        if self._corridor is not None:
            self._corridor.stop()

    def _faulted(self, error: DatabaseError | None = None) -> None:
        """Buy nothing more once the database or its disk has failed; what is in flight gets its grace."""
        if error is not None:
            self.parts.storage.fail(error)
        if self._stop_asked is not None:
            self._stop_asked.set()
        self._stop_corridor()

    def snapshot(self) -> Snapshot:
        """Return what a live view shows now."""
        corridor = self._corridor
        return take(
            self._lanes,
            self.tally,
            total=self._total + self.tally.split,
            air=corridor.dispatcher.air if corridor is not None else 0,
            concurrency=self.concurrency,
            clock=self.parts.clock,
            started=self._started,
            stopping=self._stopping,
            pauses=tuple(corridor.halts.probe_times()) if corridor is not None else (),
            tail=self._tail(),
            lag=self._lag.taken(),
            notes=self.parts.storage.notes,
        )

    @property
    def _stopping(self) -> str | None:
        """Return what stops the run: a signal's name, or ``deadline``."""
        return self._interrupted.value if self._interrupted else "deadline" if self._expired else None

    async def _build_lanes(self, stack: AsyncExitStack) -> None:
        parts = self.parts
        builder = LaneBuilder(
            parts.queue,
            parts.offload,
            parts.clock,
            transport=parts.transport,
            classifier=parts.classifier,
            gate=parts.gate,
            selection=self.selection,
        )
        self._builder, self._transports = builder, builder.transports
        self._lanes.extend(await builder.build(self.jobs, stack))
        self._total = (await parts.offload.run(lambda: parts.queue.remaining(self.jobs, self.selection)))[0]

    async def _walk(self, stack: AsyncExitStack) -> None:
        """Walk the corridor to its end, with all that goes on beside it."""
        parts = self.parts
        self._corridor = corridor = Corridor(
            parts,
            self._lanes,
            concurrency=self.concurrency,
            selection=self.selection,
            tally=self.tally,
            faulted=self._faulted,
            paused=self._pause_changed,
        )
        seconds = parts.patience.seconds(self._started)
        if seconds is not None:
            corridor.halts.end = parts.clock.monotonic() + seconds
        if self._interrupted is not None:
            corridor.stop()
        async with anyio.create_task_group() as background:
            background.start_soon(self._heartbeat.run, self._tick)
            background.start_soon(self._lag.run, parts.clock)
            background.start_soon(self._end_grace)
            background.start_soon(self._bell.run)
            if seconds is not None:
                background.start_soon(self._expire, seconds)
            await corridor.walk(partial(self._connect, corridor, stack, background))
            background.cancel_scope.cancel()

    def _connect(
        self, corridor: Corridor, stack: AsyncExitStack, background: TaskGroup, hire: Callable[[int], None]
    ) -> None:
        """Let other processes reach this run."""
        if self.control is None or self._builder is None:
            return
        live = Live(self.parts, self._lanes, corridor)
        live.connect(
            Reach(self.jobs, self.selection, self._started),
            self.concurrency,
            build=partial(self._builder.build_more, stack=stack),
            hire=hire,
            changed=self._changed,
        )
        background.start_soon(self.control, live)

    def _changed(self, concurrency: int, remaining: int) -> None:
        self.concurrency = concurrency
        self._total = remaining + self.tally.succeeded + self.tally.failed - self.tally.split

    def _pause_changed(self, halt: Halt) -> None:
        """Have a pause that began, was given up or ended written down, and told."""
        self._heartbeat.changed(halt)
        self._bell.ring(
            event_of(halt),
            pause_facts(halt, left=self._total + self.tally.split - self.tally.succeeded - self.tally.failed),
        )

    def _tick(self) -> None:
        """Do what is due once a second."""
        if self._corridor is not None:
            self._corridor.halts.tick()
        self._worst = worse(self._worst, self._tail())
        if self._suspension.slept():
            self._wake_up()

    def _wake_up(self) -> None:
        """After a sleep of the machine: drop what was in flight on dead connections, and look at the time."""
        for transport in self._transports.values():
            transport.drop()
        if self._corridor is not None:
            self._corridor.claimer.wake()

    def _tail(self) -> Tail:
        out = self._corridor.dispatcher.out.values() if self._corridor is not None else ()
        return tail_of(out, self.parts.clock.now())

    def _interrupt(self) -> None:
        """Cancel every call in flight; each is recorded as interrupted, possibly billed."""
        for transport in self._transports.values():
            transport.interrupt()

    async def _end_grace(self) -> None:
        assert self._stop_asked is not None  # noqa: S101 - set by execute, for the type checker
        await self._stop_asked.wait()
        await anyio.sleep(self.grace)
        self._interrupt()

    async def _expire(self, seconds: float) -> None:
        """End the run at its deadline, as a first signal does."""
        await anyio.sleep(seconds)
        if self._interrupted is None and self._stop_asked is not None:
            self._expired = True
            self._stop_asked.set()
            self._stop_corridor()

    async def _leave(self, reason: str) -> None:
        """Write the run's end, unless the database failed: then its end is found to be unclean, and it is checked."""
        parts = self.parts
        try:
            if parts.storage.fault is None:
                await self._heartbeat.write()
                await parts.offload.run(lambda: parts.queue.finish(self._runner_id, parts.clock.now(), reason))
        except DatabaseError as error:
            parts.storage.fail(error)
        finally:
            await parts.offload.run(parts.storage.close)

    async def _report(self) -> RunReport:
        left, deselected, failed = await self.parts.offload.run(self._what_is_left)
        corridor = self._corridor
        return RunReport(
            tally=self.tally,
            halts=tuple(corridor.halts.halts) if corridor is not None else (),
            interrupted=self._interrupted,
            left=left,
            deselected=deselected,
            failed_before=failed - self.tally.failed,
            started=self._started,
            ended=self.parts.clock.now(),
            doubles=corridor.doubles.refused if corridor is not None else 0,
            expired=self._expired,
            tail=self._worst,
            slept=self._suspension.total,
        )

    async def _tell_end(self, facts: dict[str, Any]) -> None:
        """Tell the end to whom it may concern."""
        self._bell.ring("ended", facts)
        await self._bell.finish()

    def _what_is_left(self) -> tuple[int, int, int]:
        """Return queued, queued but deselected, and failed requests of these jobs."""
        left, failed = self.parts.queue.remaining(self.jobs)
        selected = left if self.selection == ALL else self.parts.queue.remaining(self.jobs, self.selection)[0]
        return left, left - selected, failed
