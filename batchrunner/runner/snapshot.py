"""A frozen picture of a live run: what the live view draws, and what readers in other processes see."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from batchrunner.core.clock import SECOND, Clock
from batchrunner.core.expected import at_the_end
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.looplag import Lag
from batchrunner.runner.report import Halt
from batchrunner.runner.spending import REASON, BudgetView
from batchrunner.runner.tail import NO_TAIL, Tail
from batchrunner.runner.tally import Tally
from batchrunner.store.base import BY_HAND


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """One lane: its calls in the air, its limits' headroom, and what it waits for."""

    provider: str
    model: str
    air: int
    bottleneck: str
    """What binds now: concurrency, rpm, tpm, a pause, an outage, a stop, or nothing left to send."""
    resumes: float | None
    """Seconds until a pause or outage may end; None where none is on."""
    limits: dict[str, tuple[float, float]]
    """(used, limit) by limit: concurrency, rpm, tpm."""
    note: str | None
    """Why the lane was stopped."""
    who: dict[str, str] = field(default_factory=dict)
    """Who set each of ``limits``: you, learned, provider's header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseView:
    """A pause that has not ended."""

    ref: str
    """The provider's name, or provider and model."""
    cause: str
    """The kind of failure."""
    message: str
    since: int
    """Microseconds UTC."""
    waits: bool
    """Whether it is waited for."""
    next_probe: float | None
    """Seconds until one row is tried; None: none is, or the outage's own probes are on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One run now. Money is in pico-dollars."""

    elapsed: float
    total: int
    """Requests this run set out to finish."""
    succeeded: int
    failed: int
    retried: int
    attempts: int
    air: int
    concurrency: int
    calls_per_second: float
    tokens_in_per_second: float
    tokens_out_per_second: float
    tokens_in: int
    tokens_out: int
    recorded: int
    estimated: int
    possibly_billed: int
    wasted: int
    unpriced: int
    errors: dict[str, int]
    lanes: tuple[LaneView, ...]
    stopping: str | None
    lag: Lag = field(default_factory=Lag)
    """How late the event loop was."""
    pauses: tuple[PauseView, ...] = ()
    tail: Tail = NO_TAIL
    notes: tuple[str, ...] = ()
    """What a person should look at while the run goes on."""
    projected: int | None = None
    """What this run will have cost at its end, of what is billed for certain; None: nothing tells."""
    expected: int | None = None
    """What was estimated for it before it began."""
    budgets: tuple[BudgetView, ...] = ()
    ttft: float | None = None
    """Mean seconds to the first token of this run's streamed answers; None where none was streamed."""

    @property
    def done(self) -> int:
        """Requests of this run that have an outcome."""
        return self.succeeded + self.failed

    @property
    def eta(self) -> float | None:
        """Seconds to the end at the pace of the last minute; None while there is no pace."""
        pace = self.calls_per_second * (self.done / self.attempts if self.attempts else 0.0)
        return (self.total - self.done) / pace if pace > 0 else None

    @property
    def bottleneck(self) -> str:
        """What binds the lane that has the most calls in the air, or the first that waits."""
        binding = [lane for lane in self.lanes if lane.bottleneck not in ("nothing", "stopped")]
        return max(binding, key=lambda lane: lane.air).bottleneck if binding else "nothing"


def take(  # noqa: PLR0913 - what a picture is made of
    lanes: Sequence[RunLane],
    tally: Tally,
    *,
    total: int,
    air: int,
    concurrency: int,
    clock: Clock,
    started: int,
    stopping: str | None,
    lag: Lag,
    pauses: Sequence[tuple[Halt, float | None]] = (),
    tail: Tail = NO_TAIL,
    notes: tuple[str, ...] = (),
    budgets: tuple[BudgetView, ...] = (),
) -> Snapshot:
    """Take a snapshot."""
    now, monotonic = clock.now(), clock.monotonic()
    calls, tokens_in, tokens_out = tally.rates(now)
    return Snapshot(
        elapsed=(now - started) / SECOND,
        total=total,
        succeeded=tally.succeeded,
        failed=tally.failed,
        retried=tally.retried,
        attempts=tally.attempts,
        air=air,
        concurrency=concurrency,
        calls_per_second=calls,
        tokens_in_per_second=tokens_in,
        tokens_out_per_second=tokens_out,
        tokens_in=tally.tokens_in,
        tokens_out=tally.tokens_out,
        recorded=tally.recorded,
        estimated=tally.estimated,
        possibly_billed=tally.possibly_billed,
        wasted=tally.wasted,
        unpriced=tally.unpriced,
        errors=dict(tally.errors),
        lanes=tuple(_view(lane, monotonic, now) for lane in lanes),
        stopping=stopping,
        lag=lag,
        pauses=tuple(_pause_view(halt, probe) for halt, probe in pauses),
        tail=tail,
        notes=notes,
        projected=at_the_end(tally.expected, tally.lanes, total),
        expected=round(sum(lane.total for lane in tally.expected.values())) or None,
        budgets=budgets,
        ttft=tally.ttft / tally.streams if tally.streams else None,
    )


def _pause_view(halt: Halt, probe: float | None) -> PauseView:
    return PauseView(
        ref=halt.ref,
        cause=halt.kind.value,
        message=halt.message,
        since=halt.since,
        waits=halt.waits,
        next_probe=probe,
    )


def _view(lane: RunLane, monotonic: float, now: int) -> LaneView:
    gate = lane.gate
    bottleneck, until = _bottleneck(lane, monotonic, now)
    rooms = [room for room in gate.headroom(monotonic) if room.limit]
    return LaneView(
        provider=lane.lane.provider,
        model=lane.lane.model,
        air=gate.air,
        bottleneck=bottleneck,
        resumes=until,
        limits={room.what.value: (room.used, room.limit or 0.0) for room in rooms},
        note=gate.stopped.message if gate.stopped is not None else None,
        who={room.what.value: room.who for room in rooms},
    )


def _bottleneck(lane: RunLane, monotonic: float, now: int) -> tuple[str, float | None]:
    """Name what keeps this lane from sending more, and the seconds until it may go on where that is known."""
    if lane.gate.stopped is not None:
        return "stopped", None
    if lane.held:
        return BY_HAND, None
    if lane.heads:
        answer = lane.gate.ask(monotonic, lane.heads[0].est_in, lane.heads[0].max_out)
        until = getattr(answer, "until", None)
        if until is not None:
            wait = max(0.0, until - monotonic)
            return str(answer.why), wait if wait < float("inf") else None  # type: ignore[union-attr]
        return "concurrency", None
    if lane.winding and not lane.fresh:
        return REASON, None
    if lane.next_due is not None and not lane.fresh:
        return "rows due later", max(0.0, (lane.next_due - now) / SECOND)
    return "nothing", None
