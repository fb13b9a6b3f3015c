"""The limits of one lane as they are now: concurrency, requests and tokens, each fixed, learned, or the provider's."""

import math
from collections.abc import Mapping
from typing import Literal

from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.concurrency import Concurrency
from batchrunner.core.estimate import figure
from batchrunner.core.hints import LimitHints
from batchrunner.core.learnedrate import LearnedRate
from batchrunner.core.permit import Bottleneck, Headroom, LaneLimits, Permit

_TROUBLE = frozenset(
    {FailureKind.OVERLOADED, FailureKind.SERVER_ERROR, FailureKind.CONNECTION, FailureKind.TIMEOUT}
)  # fmt: skip


class Limits:
    """What the gate asks and tells of its limits; all that learns about them. All times are monotonic seconds."""

    __slots__ = ("_born", "_ceiling", "adaptive", "concurrency", "requests", "tick_at", "tokens")

    def __init__(self, limits: LaneLimits, now: float, learned: Mapping[str, float]) -> None:
        self.requests = LearnedRate(limits.rpm, now, learned=figure(learned.get("requests_rate")))
        self.tokens = LearnedRate(limits.tpm, now, learned=figure(learned.get("tokens_rate")))
        self.concurrency = limits.concurrency
        """Most calls in the air now."""
        self.adaptive: Concurrency | None = None
        """What learns the concurrency; None where it is fixed."""
        self.tick_at = math.inf
        """When ``tick`` is to be called next, before or after a call is admitted."""
        self._born = now
        self._ceiling = limits.concurrency
        if limits.adaptive:
            self._adapt(figure(learned.get("concurrency_limit")))
        self._schedule()

    def tick(self, now: float) -> None:
        """Let the rates grow that are due to."""
        for rate in (self.requests, self.tokens):
            if now >= rate.tick_at:
                rate.tick(now)
        self._schedule()

    def follow(self, hints: LimitHints, permit: Permit, now: float) -> None:
        """Take what the headers of this call's reply say is allowed."""
        if hints.requests is not None:
            self.requests.follow(hints.requests, permit.at, 1.0, now)
        if hints.tokens is not None:
            self.tokens.follow(hints.tokens, permit.at, permit.reserve, now)
        self._schedule()

    def answered(self, air: int, seconds: float, now: float) -> None:
        """Note a good answer that took ``seconds``, while ``air`` calls were in the air."""
        if self.adaptive is not None:
            self.adaptive.answered(air, seconds, now)
            self.concurrency = self.adaptive.limit

    def paused(self, begin: float, end: float) -> None:
        """Note that nothing may be sent from ``begin`` to ``end``, which are not before those of the last time."""
        if begin < end:
            self.requests.silence.add(begin, end)
            self.tokens.silence.add(begin, end)

    def failed(self, permit: Permit, failure: Failure, now: float, *, shared: bool, short_of_tokens: bool) -> None:
        """Note a failure; ``shared``: an outage's. A refusal is above our rate; an overload is below, and cuts none."""
        kind = failure.kind
        if kind is FailureKind.RATE_LIMITED:
            self._refused(permit, now, short_of_tokens, failure.retry_after or 0.0)
        elif kind is FailureKind.OVERLOADED:
            self.requests.overloaded(now)
            self.tokens.overloaded(now)
        if self.adaptive is not None:
            if kind is FailureKind.TIMEOUT and not shared:
                self.adaptive.timed_out(permit.at, now)
            elif kind in _TROUBLE:
                self.adaptive.troubled()
            self.concurrency = self.adaptive.limit

    def tune(
        self,
        concurrency: int | Literal["auto"] | None,
        rpm: float | Literal["auto"] | None,
        tpm: float | Literal["auto"] | None,
        now: float | None,
    ) -> int:
        """Set limits anew, None leaves one as it is; return the most that concurrency may come to."""
        fixed = concurrency if isinstance(concurrency, int) else self._ceiling
        LaneLimits(concurrency=fixed, rpm=rpm, tpm=tpm)  # refuses what would let nothing through
        at = max(self._born, self.requests.seen.newest) if now is None else now
        if concurrency == "auto":
            self._adapt(2.0 * self.concurrency)
        elif concurrency is not None:
            self.adaptive, self.concurrency = None, concurrency
            self._ceiling = max(self._ceiling, concurrency)
        for rate, limit in ((self.requests, rpm), (self.tokens, tpm)):
            if limit is not None:
                rate.tune(limit, at)
        self._schedule()
        return self._ceiling

    def learned(self) -> dict[str, float]:
        """Return what may help the next run."""
        return {
            "requests_rate": self.requests.learned,
            "tokens_rate": self.tokens.learned,
            "concurrency_limit": float(self.adaptive.limit) if self.adaptive is not None else 0.0,
        }

    def levels(self, now: float) -> tuple[tuple[str, float], ...]:
        """Return the kind (``requests``, ``tokens``) and level of each bucket."""
        buckets = (("requests", self.requests.bucket), ("tokens", self.tokens.bucket))
        return tuple((kind, bucket.level(now)) for kind, bucket in buckets if bucket is not None)

    def restore(self, kind: str, level: float, age_seconds: float) -> None:
        """Go on from a kept level; ignored where there is no such limit any more."""
        rate = {"requests": self.requests, "tokens": self.tokens}.get(kind)
        if rate is not None and rate.bucket is not None:
            rate.bucket.restore(level, age_seconds)

    def headroom(self, air: int, now: float) -> tuple[Headroom, Headroom, Headroom]:
        """Return what is used of concurrency, requests and tokens per minute, and who set these limits."""
        requests, tokens = self.requests, self.tokens
        who = "you" if self.adaptive is None else "learned"
        return (
            Headroom(Bottleneck.CONCURRENCY, air, self.concurrency, who),
            Headroom(Bottleneck.RPM, requests.seen.total(now), requests.per_minute, requests.who),
            Headroom(Bottleneck.TPM, tokens.seen.total(now), tokens.per_minute, tokens.who),
        )

    def _refused(self, permit: Permit, now: float, short_of_tokens: bool, pause: float) -> None:
        accepted = self.requests.accepted(now) if self.adaptive is not None else 0.0
        paced = self.requests.bucket is not None or self.tokens.bucket is not None
        if short_of_tokens:
            meant = self.tokens.refused(permit.at, permit.reserve, now)
        else:
            meant = self.requests.refused(permit.at, 1.0, now)
        if self.adaptive is not None and meant:
            self.adaptive.refused(permit.at, now, per_second=accepted, paced=paced, pause=pause)
        elif self.adaptive is not None:
            self.adaptive.strayed(now)
        self._schedule()

    def _adapt(self, learned: float) -> None:
        self.adaptive = Concurrency(self._ceiling, learned)
        self.concurrency = self.adaptive.limit

    def _schedule(self) -> None:
        self.tick_at = min(self.requests.tick_at, self.tokens.tick_at)
