"""Providers in made-up time: one whose true limit moves, one that goes down, one that fails every other call."""

import math
import random
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome, Reply
from batchrunner.core.usage import Usage

ANSWER = Reply(200, b"{}", Usage(100, 0, 100))


class Answered(NamedTuple):
    """What a provider makes of a call, and after how many seconds; the headers are those of the moment it came in."""

    outcome: Outcome
    seconds: float
    headers: dict[str, str]


class Moving:
    """A continuous bucket with a second of burst, whose rate changes: (from, requests per minute) in order of time.

    With ``tokens`` it limits tokens, so many for each call, and ``phases`` are tokens per minute. ``lie`` is what the
    headers make of the true rate. A share of ``strays`` is refused whatever the level.
    """

    def __init__(
        self, phases, *, headers="none", retry_after=False, seconds=2.0, seed=0, tokens=None, lie=1.0, strays=0.0
    ):
        self.strays = strays
        self.phases = phases
        self.tokens = tokens
        self.cost = tokens or 1
        self.lie = lie
        self.headers = headers
        self.retry_after = retry_after
        self.seconds = seconds
        self.dice = random.Random(seed).random
        self.at = 0.0
        self.level = self.rate(0.0)

    def rate(self, now):
        return next(rpm for begin, rpm in reversed(self.phases) if now >= begin) / 60

    def allowed(self, until):
        """The calls that a client could have had answered until then."""
        ends = [begin for begin, _ in self.phases[1:]] + [until]
        allowed = sum(rpm / 60 * (end - begin) for (begin, rpm), end in zip(self.phases, ends, strict=True))
        return allowed / self.cost

    def call(self, now):
        rate = self.rate(now)
        self.level = min(rate, self.level + rate * (now - self.at))
        self.at = now
        stray = self.strays > 0 and self.dice() < self.strays
        if self.level >= self.cost and not stray:
            self.level -= self.cost
            answer = ANSWER if self.tokens is None else ANSWER._replace(usage=Usage(self.tokens - 60, 0, 60))
            return Answered(answer, self.seconds * (0.75 + 0.5 * self.dice()), self._said(rate))
        wish = (self.cost - self.level) / rate if self.retry_after else None
        body = b"{}" if self.tokens is None else b'{"error":{"type":"dynamic_token_limited"}}'
        refused = Failure(FailureKind.RATE_LIMITED, "", Billing.NOT_BILLED, 429, body, retry_after=wish)
        return Answered(refused, 0.05 + 0.1 * self.dice(), self._said(rate))

    def _said(self, rate):
        left, full = math.floor(self.level), (rate - self.level) / rate
        rate *= self.lie
        if self.headers == "together" and self.tokens is not None:
            return {"x-tokenlimit-limit": f"{rate:g}", "x-tokenlimit-remaining": f"{left}"}
        if self.headers == "together":
            said = {"limit": f"{rate:g}", "remaining": f"{left}", "reset": f"{full}"}
            return {f"x-ratelimit-{name}": value for name, value in said.items()}
        if self.headers == "openai":
            what = "requests" if self.tokens is None else "tokens"
            return {
                f"x-ratelimit-limit-{what}": f"{rate * 60:.0f}",
                f"x-ratelimit-remaining-{what}": f"{left}",
                f"x-ratelimit-reset-{what}": f"{math.ceil(full * 1000)}ms",
            }
        return {}


class Down:
    """Well, but for the time from ``begins`` to ``ends``: what is in the air then is reset, what comes is refused."""

    def __init__(self, begins, ends, *, seconds=2.0, kind=FailureKind.SERVER_ERROR, failing=0.25):
        self.begins, self.ends = begins, ends
        self.seconds = seconds
        self.failed = Failure(kind, "", Billing.UNKNOWN)
        self.failing = failing
        self.reset = Failure(FailureKind.CONNECTION, "", Billing.UNKNOWN)

    def call(self, now):
        if self.begins <= now < self.ends:
            return Answered(self.failed, self.failing, {})
        if now < self.begins < now + self.seconds:
            return Answered(self.reset, self.begins - now, {})
        return Answered(ANSWER, self.seconds, {})


class Flaky:
    """Fails a share of the calls from ``begins`` to ``ends``, at random."""

    def __init__(self, begins, ends, *, share=0.5, failure=None, seconds=2.0, seed=0):
        self.begins, self.ends, self.share, self.seconds = begins, ends, share, seconds
        self.failure = failure or Failure(FailureKind.SERVER_ERROR, "", Billing.UNKNOWN, 500)
        self.dice = random.Random(seed).random

    def call(self, now):
        if self.begins <= now < self.ends and self.dice() < self.share:
            return Answered(self.failure, 0.1, {})
        return Answered(ANSWER, self.seconds, {})
