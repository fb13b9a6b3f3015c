"""How a run ended: the value that the API returns and the exit code is derived from."""

from dataclasses import dataclass
from enum import StrEnum

from batchrunner.core.attempt import FailureKind
from batchrunner.core.errors import ExitCode
from batchrunner.core.retry import Scope
from batchrunner.runner.spending import Shortage
from batchrunner.runner.tail import NO_TAIL, Tail
from batchrunner.runner.tally import Tally


class Interrupt(StrEnum):
    """The signal that stopped a run."""

    INT = "SIGINT"
    TERM = "SIGTERM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """A lane or provider that was paused, and how that went on."""

    scope: Scope
    ref: str
    """The provider's name, or provider and model."""
    kind: FailureKind
    message: str
    since: int
    """Microseconds UTC."""
    waits: bool
    """Whether it is waited for until it ends by itself; it is not, or not any more, where the run goes on without."""
    gave_up: bool = False
    """Whether it was waited for, but not any longer."""
    ended: int | None = None
    """Microseconds UTC at which the cause was gone."""
    probes: int = 0
    """Calls that found the cause unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one run did. The sums are on ``tally``; what is left is still queued."""

    tally: Tally
    halts: tuple[Halt, ...]
    """Every pause of this run, in order."""
    interrupted: Interrupt | None
    left: int
    """Requests of these jobs that are still queued."""
    deselected: int
    """Of those, the ones that ``--limit`` or ``--sample`` left for another run."""
    failed_before: int
    """Requests of these jobs that an earlier run gave up on."""
    started: int
    ended: int
    doubles: int = 0
    """Answers that were not taken because they bore the id of another request's answer."""
    expired: bool = False
    """Whether a deadline (``--until``, ``--for``) ended it."""
    tail: Tail = NO_TAIL
    """The worst that was out in this run, in every respect, looked at once a second."""
    slept: float = 0.0
    """Seconds that the machine was suspended meanwhile."""
    problems: tuple[str, ...] = ()
    """What a person should know beside: what went wrong with telling one, and a write-ahead log that has grown."""

    shortages: tuple[Shortage, ...] = ()
    """Budgets that were used up at its end, and what they hold back."""

    @property
    def standing(self) -> tuple[Halt, ...]:
        """Return the pauses that have not ended."""
        return tuple(halt for halt in self.halts if halt.ended is None)

    @property
    def held_by_hand(self) -> bool:
        """Whether it did all that it was let do, and a person's pauses hold back the rest."""
        stopped = self.interrupted is not None or self.expired or self.standing or self.shortages
        return not stopped and self.left > self.deselected

    @property
    def exit_code(self) -> ExitCode:
        """Return the code by the documented order: interrupted, key, no money, unavailable, deadline, some failed."""
        work_left = self.left > self.deselected
        if self.interrupted is not None and work_left:
            return ExitCode.INTERRUPTED if self.interrupted is Interrupt.INT else ExitCode.TERMINATED
        kinds = {halt.kind for halt in self.standing if not halt.waits} if work_left else set()
        for kind in (FailureKind.AUTH, FailureKind.NO_CREDIT):
            if kind in kinds:
                return _CODES[kind]
        if self.shortages and work_left:
            return ExitCode.NO_MONEY
        if kinds:
            return ExitCode.UNAVAILABLE
        if self.expired and work_left:
            return ExitCode.DEADLINE
        if self.tally.failed + self.failed_before:  # what failed and was queued again by hand meanwhile is in neither
            return ExitCode.SOME_FAILED
        return ExitCode.OK


_CODES = {FailureKind.AUTH: ExitCode.AUTH, FailureKind.NO_CREDIT: ExitCode.NO_MONEY}
