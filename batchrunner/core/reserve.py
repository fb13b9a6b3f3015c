"""What one call takes of a lane's tokens: before it is made, as far as can be told; after it, as its outcome tells."""

from collections.abc import Mapping

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome
from batchrunner.core.estimate import Calibration, upper
from batchrunner.core.permit import Permit

MOST_TOKENS = 10**12
"""Of one call, as far as limits are concerned: an answer may claim more digits than a float has."""

# Not billed, but the provider may have counted its tokens: no refund, which would only earn the next refusal.
_NOT_REFUNDED = frozenset({FailureKind.RATE_LIMITED, FailureKind.OVERLOADED})


class Reserve:
    """The tokens to reserve for the calls of one lane, and what its answers teach about them."""

    __slots__ = ("_upper", "calibration")

    def __init__(self, *, upper_bound: bool, learned: Mapping[str, float]) -> None:
        """``upper_bound``: the most that a call can use is reserved, not what it will probably use."""
        self._upper = upper_bound
        self.calibration = Calibration(learned)
        """What good answers teach: it is to observe each."""

    def expected(self, est_in: int, max_out: int | None) -> float:
        """Return the tokens to reserve for a call.

        ``learned``: input and output as the lane's answers taught it; the estimate and the bound themselves before the
        20th answer. ``upper``: four times the estimate, which is never below a quarter of the bytes, and the bound: no
        call whose text is all of its prompt uses more. A call without an output bound has no upper end: its output is
        reserved as learned, or 512.
        """
        if self._upper:
            output = max_out if max_out is not None else self.calibration.output(None)
            return upper(est_in) + output
        return self.calibration.input(est_in) + self.calibration.output(max_out)

    def calibrated_input(self, est_in: int) -> int:
        """Return the input tokens that a call estimated at ``est_in`` probably had, where the provider does not say."""
        return max(1, round(self.calibration.input(est_in))) if est_in > 0 else 0

    def real(self, permit: Permit, outcome: Outcome) -> float:
        """Return the tokens that a call cost; what was reserved for it where nobody knows."""
        if outcome.usage is not None:
            return float(min(max(0, outcome.usage.total), MOST_TOKENS))
        if isinstance(outcome, Failure) and outcome.billing is Billing.NOT_BILLED and outcome.kind not in _NOT_REFUNDED:
            return 0.0
        return permit.reserve

    def learned(self) -> dict[str, float]:
        """Return what the answers taught, to be kept for the next run."""
        return self.calibration.learned()
