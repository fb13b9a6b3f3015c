"""The gate: one pure object per lane that says go, wait until t, or stopped; its reason names the bottleneck."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from batchrunner.core.attempt import Failure, FailureKind, Outcome
from batchrunner.core.breaker import LONGEST_OPEN, Breaker, Evidence
from batchrunner.core.hints import LimitHints
from batchrunner.core.limits import Limits
from batchrunner.core.permit import Bottleneck, Go, Headroom, LaneLimits, Permit, Stopped, Wait
from batchrunner.core.reserve import Reserve
from batchrunner.core.retryafter import MAX_RETRY_AFTER
from batchrunner.core.retrybudget import RetryBudget

LONGEST_DEBT = 60.0
"""Seconds of rate by which one answer may exceed its reserve: no per-minute limit remembers longer, and a provider that
reports an absurd usage must not close the lane for years."""

HINTS_EVERY = 0.1
"""Seconds between two good answers whose headers are read."""

_GO = Go()
_NOTHING_SAID = LimitHints()
_FREE = frozenset({FailureKind.RATE_LIMITED, FailureKind.STALE_CONNECTION})


class Gate:
    """Pause, breaker, concurrency, request and token bucket of one lane behind one question: ``ask``.

    For each head: ``ask``; on Go ``admit``, at the same ``now``; once its attempt is open and there is ``room``,
    ``depart``, and send it only while it is ``clear``; ``settle`` with the outcome before it is judged, so that
    ``shared`` and ``evidence`` know of it. All times are monotonic seconds.
    """

    def __init__(
        self,
        limits: LaneLimits,
        *,
        now: float,
        dice: Callable[[], float],
        learned: Mapping[str, float] | None = None,
    ) -> None:
        """``dice`` returns floats in [0, 1); ``learned`` is what ``learned()`` returned in an earlier run."""
        kept = learned or {}
        self._limits = Limits(limits, now, kept)
        self._requests = self._limits.requests
        self._tokens = self._limits.tokens
        self._dice = dice
        self._next_hints = -math.inf
        self._budget = RetryBudget(now)
        self._breaker = Breaker(limits.concurrency, dice)
        self._reserve = Reserve(upper_bound=limits.reserve == "upper", learned=kept)
        # Asked several times a row: the methods of what knows, without a call around them.
        self.expected = self._reserve.expected
        self.calibrated_input = self._reserve.calibrated_input
        self._evidence = Evidence()
        self.air = 0
        """Calls in the air."""
        self.admitted = 0
        """Calls in the air, and those that were admitted and did not depart yet."""
        self.pause_until = -math.inf
        """Monotonic seconds; nothing is admitted before."""
        self.stopped: Stopped | None = None

    # --------------------------------------------------------------------------------------------------- the corridor

    def ask(self, now: float, est_in: int, max_out: int | None, ahead: int = 0) -> Go | Wait | Stopped:
        """Say whether a call with this estimate and bound may go now. Asking changes nothing.

        ``ahead`` calls may be admitted before there is room for them in the air.
        """
        if self.stopped is not None:
            return self.stopped
        if now < self.pause_until:
            return Wait(self.pause_until, Bottleneck.PAUSED)
        if not self._breaker.allow(now):
            until = self._breaker.until
            return Wait(until if until > now else math.inf, Bottleneck.OUTAGE)
        if self.admitted >= self._limits.concurrency + ahead:
            return Wait(math.inf, Bottleneck.CONCURRENCY)
        wait, why = 0.0, Bottleneck.RPM
        bucket = self._requests.bucket
        if bucket is not None:
            wait = bucket.wait(now, 1.0)
        bucket = self._tokens.bucket
        if bucket is not None:
            tokens = bucket.wait(now, self.expected(est_in, max_out))
            if tokens > wait:
                wait, why = tokens, Bottleneck.TPM
        return Wait(now + wait, why) if wait else _GO

    def admit(self, now: float, est_in: int, max_out: int | None) -> Permit:
        """Let the call through that ``ask`` said go for: takes its request and its tokens."""
        reserve = self.expected(est_in, max_out)
        permit = Permit(now, est_in, max_out, reserve, self._breaker.admitted())
        requests, tokens = self._requests, self._tokens
        if requests.bucket is not None:
            requests.bucket.spend(now, 1.0)
        if tokens.bucket is not None:
            permit.reservation = tokens.bucket.take(now, reserve)
        self.admitted += 1
        requests.sent += 1.0
        requests.seen.add(now, 1.0)
        tokens.sent += reserve
        tokens.seen.add(now, reserve)
        if now >= self._limits.tick_at:
            self._limits.tick(now)
        return permit

    @property
    def room(self) -> bool:
        """Whether one more call may be in the air."""
        return self.air < self._limits.concurrency

    def depart(self, permit: Permit) -> None:
        """Give an admitted call its room in the air."""
        permit.in_air = True
        self.air += 1

    def clear(self, permit: Permit, now: float) -> bool:
        """Whether an admitted call may still be sent: its lane was neither stopped nor paused since, nor broke down."""
        return self.stopped is None and now >= self.pause_until and self._breaker.is_current(permit.ticket)

    def landed(self, permit: Permit) -> None:
        """Note that the call is over: its place in the air is free. Noting it twice changes nothing."""
        if permit.landed:
            return
        permit.landed = True
        self.admitted -= 1
        if permit.in_air:
            self.air -= 1

    def settle(self, permit: Permit, outcome: Outcome, now: float, hints: LimitHints | None = None) -> None:
        """Learn from the outcome: real tokens, calibration, pause, breaker, evidence, limits. Lands the call.

        ``hints`` are what the reply's headers say of limits. Settling twice changes nothing.
        """
        air = self.air
        self.landed(permit)
        if permit.settled:
            return
        permit.settled = True
        self._settle_tokens(permit, self._reserve.real(permit, outcome))
        self._breaker.note(permit.ticket, outcome, now)
        self._evidence.note(outcome, now)
        if hints is not None:
            self._limits.follow(hints, permit, now)
        if isinstance(outcome, Failure):
            self._learn(permit, outcome, now, hints or _NOTHING_SAID)
            return
        if outcome.usage is not None:
            self._reserve.calibration.observe(permit.est_in, permit.max_out, outcome.usage)
        if self._limits.adaptive is not None:
            self._limits.answered(air, now - permit.at, now)

    def release(self, permit: Permit) -> None:
        """Take back a permit whose call was never sent. Its tokens return; its request stays spent, which is safe."""
        self.landed(permit)
        if not permit.settled:
            permit.settled = True
            self._settle_tokens(permit, 0.0)
            self._breaker.on_other(permit.ticket)

    # ---------------------------------------------------------------------------------------------- after a failure

    def shared(self, permit: Permit) -> bool:
        """Whether the failure of this settled call is an outage's (the breaker is open, or opened under it)."""
        return self._breaker.shared(permit.ticket)

    @property
    def outage_since(self) -> float | None:
        """Monotonic seconds at which the outage that is on began; None: none is."""
        return self._breaker.since

    def evidence(self, kind: FailureKind) -> bool:
        """Whether failures of this kind stop the lane; a single one may be a glitch, and its row is tried again.

        True from the second on, without an answer between: within 60 s, or, however slow the lane is, with nothing else
        between.
        """
        return self._evidence.holds(kind)

    def stop(self, kind: FailureKind, message: str) -> None:
        """Close the gate until a person acts; the first reason stays."""
        if self.stopped is None:
            self.stopped = Stopped(kind, message)

    def reopen(self) -> None:
        """Take a stop back: its cause is gone, or a probe is to find out."""
        self.stopped = None

    def pause(self, until: float) -> None:
        """Admit nothing before ``until`` (monotonic seconds); a pause never gets shorter."""
        self.pause_until = max(self.pause_until, until)

    def heeds(self, now: float) -> bool:
        """Whether the headers of a good answer should be read now: limits move slowly, reading takes time."""
        if now < self._next_hints:
            return False
        self._next_hints = now + HINTS_EVERY
        return True

    def retry_wait(self, permit: Permit, kind: FailureKind, wait: float, now: float) -> float:
        """Return the seconds that the retry of this settled call has to wait, where its row's backoff says ``wait``.

        More where the retry budget does not cover it yet; it is taken from there. Refusals are free: they are no load,
        or the rates take care of them. In an outage the breaker keeps the pace, and a row that waited for longer than
        it stays open could keep the next probe waiting.
        """
        if self._breaker.shared(permit.ticket):
            return min(wait, LONGEST_OPEN)
        return wait if kind in _FREE else max(wait, self._budget.take(self._requests.sent, now))

    # ------------------------------------------------------------------------------------- what was learned, and levels

    def learned(self) -> dict[str, float]:
        """Return what the lane's answers and refusals taught, to be kept for the next run."""
        return self._reserve.learned() | self._limits.learned()

    def levels(self, now: float) -> tuple[tuple[str, float], ...]:
        """Return the kind (``requests``, ``tokens``) and level of each bucket, to be kept across restarts."""
        return self._limits.levels(now)

    def restore(self, kind: str, level: float, age_seconds: float) -> None:
        """Go on from a kept level, before the first call; ignored where that limit is not set any more."""
        self._limits.restore(kind, level, age_seconds)

    def headroom(self, now: float) -> tuple[Headroom, Headroom, Headroom]:
        """Return what is used of concurrency, requests and tokens per minute, and who set these limits."""
        return self._limits.headroom(self.air, now)

    def tune(
        self,
        *,
        concurrency: int | Literal["auto"] | None = None,
        rpm: float | Literal["auto"] | None = None,
        tpm: float | Literal["auto"] | None = None,
        now: float | None = None,
    ) -> None:
        """Change limits while calls are in the air; None leaves one as it is. Whoever asks the gate asks again after.

        ``auto`` learns from here on: concurrency from the limit in force, rates from none. What is in the air stays
        there. Without ``now`` the time of the last call counts. Raises ValueError where a limit would let nothing
        through, or is no number.
        """
        self._breaker.resize(self._limits.tune(concurrency, rpm, tpm, now))

    # ------------------------------------------------------------------------------------------------------- its parts

    def _settle_tokens(self, permit: Permit, real: float) -> None:
        if permit.reservation is not None:
            self._tokens.settle(permit.reservation, real, LONGEST_DEBT)
        self._tokens.seen.add(permit.at, real - permit.reserve)

    def _stay_away(self, seconds: float, now: float) -> None:
        """Pause the whole lane, as RFC 9110 10.2.3 asks; jitter keeps runners apart, and never doubles a short wish."""
        wish = max(0.0, min(MAX_RETRY_AFTER, seconds))
        begin = max(now, self.pause_until)
        self.pause(now + wish + self._dice() * min(wish, 1 + 0.1 * wish))
        self._limits.paused(begin, self.pause_until)

    def _learn(self, permit: Permit, failure: Failure, now: float, hints: LimitHints) -> None:
        """Let a failure bear on pause and limits."""
        wish = failure.retry_after
        if wish is None and failure.kind is FailureKind.RATE_LIMITED:
            wish = hints.ready_in
        if wish is not None:
            self._stay_away(wish, now)
        shared = self._breaker.shared(permit.ticket)
        self._limits.failed(permit, failure, now, shared=shared, short_of_tokens=hints.short_of_tokens)
