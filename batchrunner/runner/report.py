"""How a run ended: the value that the API returns and the exit code is derived from."""

from dataclasses import dataclass
from enum import StrEnum

from batchrunner.core.attempt import FailureKind
from batchrunner.core.errors import ExitCode
from batchrunner.core.retry import Scope
from batchrunner.runner.tally import Tally


class Interrupt(StrEnum):
    """The signal that stopped a run."""

    INT = "SIGINT"
    TERM = "SIGTERM"


@dataclass(frozen=True, slots=True)
class Halt:
    """A lane or provider that was stopped until a person acts."""

    scope: Scope
    ref: str
    """The provider's name, or provider and model."""
    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one run did. The sums are on ``tally``; what is left is still queued."""

    tally: Tally
    halts: tuple[Halt, ...]
    interrupted: Interrupt | None
    left: int
    """Requests of these jobs that are still queued."""
    deselected: int
    """Of those, the ones that ``--limit`` or ``--sample`` left for another run."""
    failed_before: int
    """Requests of these jobs that an earlier run gave up on."""
    started: int
    ended: int

    @property
    def exit_code(self) -> ExitCode:
        """Return the code by the documented order: interrupted, key, credit, unavailable, some failed."""
        work_left = self.left > self.deselected
        if self.interrupted is not None and work_left:
            return ExitCode.INTERRUPTED if self.interrupted is Interrupt.INT else ExitCode.TERMINATED
        kinds = {halt.kind for halt in self.halts}
        for kind, code in _HALT_CODES:
            if kind in kinds:
                return code
        if self.tally.failed + self.failed_before:  # what failed and was queued again by hand meanwhile is in neither
            return ExitCode.SOME_FAILED
        return ExitCode.OK


_HALT_CODES = (
    (FailureKind.AUTH, ExitCode.AUTH),
    (FailureKind.NO_CREDIT, ExitCode.NO_MONEY),
    (FailureKind.MODEL_UNAVAILABLE, ExitCode.UNAVAILABLE),
    (FailureKind.MISCONFIGURED, ExitCode.UNAVAILABLE),
)
