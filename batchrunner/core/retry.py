"""What follows an outcome: the verdict. A retry waits in the queue table, never in a sleeping task."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome, Reply
from batchrunner.core.clock import SECOND
from batchrunner.core.corpus import Half
from batchrunner.core.retryafter import MAX_RETRY_AFTER


class Scope(StrEnum):
    """What a stop applies to."""

    LANE = "lane"
    PROVIDER = "provider"


class Succeed(NamedTuple):
    """The request is done."""


class RetryAt(NamedTuple):
    """Queue the request again."""

    not_before: int
    """Microseconds UTC; never 0."""
    counts: bool
    """Whether this failure counts against the row's cap on tries."""


class GiveUp(NamedTuple):
    """The request failed for good."""

    kind: FailureKind


class Stop(NamedTuple):
    """Nothing wrong with the row: the lane or the provider can't be used until a person acts. The row stays queued."""

    scope: Scope
    kind: FailureKind
    message: str


class GoOn(NamedTuple):
    """The attempt stays open, and goes on where its continuation says: nothing is bought again."""

    not_before: int
    """Microseconds UTC; never 0."""
    stays: bool = False
    """Whether its worker goes on at once: the request stays running, and only a crash sends it back to the queue."""


class AskAgain(NamedTuple):
    """The answer is kept, but it is not what was asked for: ask again, with another body."""

    not_before: int
    """Microseconds UTC; never 0."""
    body: bytes
    est_in: int
    """Estimated input tokens of the new body."""
    max_out: int | None
    """The output bound that the new body sets."""
    raised: bool = False
    """Whether it asks for a longer answer, not for a better one."""


class FallBack(NamedTuple):
    """Asking again failed for good: the request succeeds with the answer that it had, which was paid for."""

    kind: FailureKind


class Split(NamedTuple):
    """A pack was refused: look for the texts at fault in its halves. The request goes on with the first one, and the
    second one becomes a request of its own.
    """

    not_before: int
    """Microseconds UTC; never 0."""
    first: Half
    second: Half


Verdict = Succeed | RetryAt | GiveUp | Stop | AskAgain | FallBack | Split
"""What ends an attempt; ``GoOn`` does not."""

_SUCCEED = Succeed()

_GIVE_UP = frozenset(
    {
        FailureKind.INVALID_REQUEST,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.ATTACHMENT,
        FailureKind.CONTENT_FILTER,
        FailureKind.RESPONSE_TOO_LARGE,
        FailureKind.EXPIRED,
    }
)
_STOP = {
    FailureKind.AUTH: Scope.PROVIDER,
    FailureKind.NO_CREDIT: Scope.PROVIDER,
    FailureKind.MISCONFIGURED: Scope.PROVIDER,
    FailureKind.MODEL_UNAVAILABLE: Scope.LANE,
}
_AT_ONCE = frozenset({FailureKind.STALE_CONNECTION, FailureKind.INTERRUPTED})
# Not the row's doing: the limit's, the provider's, or our own death, which must not use up an innocent row's tries.
_NEVER_COUNTS = frozenset({FailureKind.RATE_LIMITED, FailureKind.OVERLOADED, FailureKind.LOST})
_NEVER_SENT = frozenset({FailureKind.CONNECTION, FailureKind.TIMEOUT})


def _ceilings(base: float, cap: float) -> tuple[float, ...]:
    """Return the longest waits before the 1st, 2nd, ... retry, up to the first that reaches ``cap``, in seconds.

    The curve is tenacity's ``wait_exponential``. It reads nothing but the attempt's number, so it is drawn once: the
    call state that it wants for it reads a clock, and its import takes 45 ms that only a run needs to spend.
    """
    import tenacity

    curve = tenacity.wait_exponential(multiplier=base, max=cap)
    state = tenacity.RetryCallState(tenacity.Retrying(), fn=None, args=(), kwargs={})
    ceilings = [curve(state)]
    while ceilings[-1] < cap:
        state.attempt_number += 1
        ceilings.append(curve(state))
    return tuple(ceilings)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late a request is tried again: exponential backoff with full jitter (AWS architecture blog).

    Money bounds the tries: a failure that may have been billed (a timeout, a reset after sending, an unreadable answer)
    counts, and the third one ends the row; server errors may come to five. Causes that the row shares with all others
    (rate limits, overload, a connection that was never made, an outage) never count: they can't fail a job.
    """

    base: float = 1.0
    """Seconds; the longest wait before the first retry. It doubles from there."""
    cap: float = 60.0
    """Seconds; no wait of the curve is longer. A provider's Retry-After may be."""
    max_tries: int = 5
    """Counted failures at which a row that meets server errors is given up."""
    max_risky_tries: int = 3
    """Counted failures at which a row is given up whose last failure may have been billed."""
    ceilings: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Seconds; the curve, its last value holds for all later retries."""

    def __post_init__(self) -> None:
        """Raise ValueError where the figures make no curve."""
        if not 0 < self.base <= self.cap < math.inf:
            raise ValueError(f"the backoff needs 0 < base <= cap, not base {self.base} and cap {self.cap}")
        if not 1 <= self.max_risky_tries <= self.max_tries:
            raise ValueError(f"tries must be 1 <= risky {self.max_risky_tries} <= all {self.max_tries}")
        object.__setattr__(self, "ceilings", _ceilings(self.base, self.cap))

    def judge(
        self,
        outcome: Outcome,
        tries: int,
        now: int,
        dice: Callable[[], float],
        *,
        attempts: int = 0,
        shared: bool = False,
    ) -> Verdict:
        """Return what follows ``outcome`` for its request; total over all outcomes, raises nothing.

        ``tries`` are the row's counted failures before this one and ``attempts`` its attempts of every kind before this
        one: the larger of the two climbs the curve, so that a row which is refused again and again backs off although
        nothing counts. ``now`` is wall time in microseconds; ``dice`` returns floats in [0, 1). ``shared`` says that
        the cause lies with the provider (the gate's breaker is open): then nothing that is tried again counts.
        """
        if isinstance(outcome, Reply):
            return _SUCCEED
        kind = outcome.kind
        if kind in _GIVE_UP:
            return GiveUp(kind)
        if kind in _STOP:
            return Stop(_STOP[kind], kind, outcome.message)
        if kind in _AT_ONCE:
            return RetryAt(max(now, 0) + 1, counts=False)
        counts = not shared and _counts(outcome)
        if counts and tries + 1 >= (self.max_tries if kind is FailureKind.SERVER_ERROR else self.max_risky_tries):
            return GiveUp(kind)
        retry = self.again(max(tries, attempts), now, dice, retry_after=outcome.retry_after)
        return retry._replace(counts=True) if counts else retry

    def again(self, failures: int, now: int, dice: Callable[[], float], *, retry_after: float | None = None) -> RetryAt:
        """Return a retry that does not count, after ``failures`` earlier ones: ``uniform(0, ceiling)`` from now.

        What the runner makes of a stop that lacks evidence. ``retry_after`` (seconds) moves it to at least that.
        """
        wait = dice() * self.ceilings[min(max(failures, 0), len(self.ceilings) - 1)]
        if retry_after is not None:
            wait = max(wait, min(MAX_RETRY_AFTER, retry_after))  # in this order: the smaller of NaN and it is it
        return RetryAt(max(now, 0) + max(1, math.ceil(wait * SECOND)), counts=False)


def _counts(failure: Failure) -> bool:
    """Whether a failure that is tried again is the row's own: it was sent, and may have been billed."""
    if failure.partial is not None:
        return True  # it had begun to answer, so each try costs something, whatever it broke off for
    if failure.kind in _NEVER_COUNTS:
        return False
    return not (failure.kind in _NEVER_SENT and failure.billing is Billing.NOT_BILLED)
