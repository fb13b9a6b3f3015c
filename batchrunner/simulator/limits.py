"""The provider's own limits: continuous token buckets per model. Pure; the time is handed in."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from batchrunner.simulator.settings import Settings

LONGEST_WAIT = 3600.0
"""Seconds named as the wait when a rate of 0 would make it endless."""


class Bucket:
    """Holds up to `capacity` units and gains `rate` a second.

    Promise: what is taken in any window of T seconds is at most `rate * T + max(capacity, largest amount)`. An amount
    above the capacity is let through once the bucket is full and leaves a debt, else it could never pass.
    """

    __slots__ = ("_level", "_time", "capacity", "rate")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        """Starts full at `now` (seconds)."""
        self.rate = rate
        self.capacity = capacity
        self._level = capacity
        self._time = now

    def level(self, now: float) -> float:
        """What the bucket holds at `now`; a clock that steps back adds nothing."""
        if now > self._time:
            self._level = min(self.capacity, self._level + (now - self._time) * self.rate)
            self._time = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` could be taken, 0 if it can be taken now."""
        missing = min(amount, self.capacity) - self.level(now)
        if missing <= 1e-9:
            return 0.0
        return min(LONGEST_WAIT, missing / self.rate) if self.rate > 0 else LONGEST_WAIT

    def take(self, amount: float, now: float) -> None:
        """Take `amount`; ask `wait` first."""
        self._level = self.level(now) - amount

    def seconds_to_full(self, now: float) -> float:
        """Seconds until the bucket is full if nothing more is taken."""
        missing = self.capacity - self.level(now)
        if missing <= 0:
            return 0.0
        return min(LONGEST_WAIT, missing / self.rate) if self.rate > 0 else LONGEST_WAIT

    def retune(self, rate: float, capacity: float, now: float) -> None:
        """Go on with other figures; the level is kept, but for what no longer fits."""
        self._level = min(self.level(now), capacity)
        self.rate, self.capacity = rate, capacity


class Buckets(NamedTuple):
    """The two buckets of one model; None where there is no limit."""

    requests: Bucket | None
    tokens: Bucket | None


class Refused(NamedTuple):
    """Why a call was not admitted, and in how many seconds it could be."""

    by: Literal["requests", "tokens"]
    wait: float


class Limiter:
    """The buckets of all models. A refused call takes nothing."""

    def __init__(self, settings: Settings) -> None:
        """Buckets come into being, full, with the first call of their model."""
        self._settings = settings
        self._models: dict[str, Buckets] = {}

    def buckets(self, model: str, now: float) -> Buckets:
        """The buckets of `model`."""
        found = self._models.get(model)
        if found is None:
            requests, tokens = self._settings.limits_of(model)
            found = Buckets(
                self._fresh(requests, least=1.0, now=now),
                self._fresh(tokens, least=1.0, now=now),
            )
            self._models[model] = found
        return found

    def admit(self, model: str, tokens: int, now: float) -> Refused | None:
        """Take one request and `tokens` from the model's buckets, or say why not."""
        buckets = self.buckets(model, now)
        if buckets.requests is not None and (wait := buckets.requests.wait(1, now)):
            return Refused("requests", wait)
        if buckets.tokens is not None and (wait := buckets.tokens.wait(tokens, now)):
            return Refused("tokens", wait)
        if buckets.requests is not None:
            buckets.requests.take(1, now)
        if buckets.tokens is not None:
            buckets.tokens.take(tokens, now)
        return None

    def retune(self, settings: Settings, now: float) -> None:
        """Follow changed settings without filling any bucket that was there before."""
        self._settings = settings
        for model, old in list(self._models.items()):
            requests, tokens = settings.limits_of(model)
            self._models[model] = Buckets(
                self._changed(old.requests, requests, now),
                self._changed(old.tokens, tokens, now),
            )

    def _figures(self, per_minute: float, least: float) -> tuple[float, float]:
        rate = per_minute / 60
        return rate, max(least, rate * self._settings.burst_seconds)

    def _fresh(self, per_minute: float | None, *, least: float, now: float) -> Bucket | None:
        if per_minute is None or math.isinf(per_minute):
            return None
        return Bucket(*self._figures(per_minute, least), now)

    def _changed(self, bucket: Bucket | None, per_minute: float | None, now: float) -> Bucket | None:
        if bucket is None or per_minute is None or math.isinf(per_minute):
            return self._fresh(per_minute, least=1.0, now=now)
        bucket.retune(*self._figures(per_minute, 1.0), now)
        return bucket
