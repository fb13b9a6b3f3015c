"""The traces that the learned limits are held to, and what is measured on them."""

import math
from itertools import pairwise
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.permit import LaneLimits
from tests.simulation.scheduler import run, run_sdk
from tests.simulation.servers import Down, Flaky, Moving

PHASES = ((0.0, 1_000.0), (1_200.0, 200.0), (2_400.0, 600.0))
"""Seconds, and the requests per minute that are true from then on."""
HOUR = 3_600.0
MINUTE = 60.0


class Followed(NamedTuple):
    """How well a moving limit was followed."""

    used: float
    """Of what was allowed."""
    refused: float
    """Of the calls after the first minute."""
    failed_rows: int
    calls: int

    def holds(self, *, headers):
        return self.used >= (0.93 if headers != "none" else 0.85) and self.refused < 0.02 and not self.failed_rows


def moving_limit(seed, *, headers="none", retry_after=False, concurrency=256, tokens=None, lie=1.0, strays=0.0):
    """Rows without end against a limit that falls to a fifth and comes back to three fifths.

    With ``tokens`` it is tokens that are limited, as many for each call. A share of ``strays`` is refused besides.
    """
    phases = [(begin, rpm * (tokens or 1)) for begin, rpm in PHASES]
    server = Moving(phases, headers=headers, retry_after=retry_after, seed=seed, tokens=tokens, lie=lie, strays=strays)
    limits = LaneLimits(concurrency=concurrency, adaptive=True, rpm="auto", tpm="auto")
    story = run(server, limits, seed=seed, until=HOUR)
    answered = len(story.calls) - len(story.failing)
    return Followed(answered / server.allowed(HOUR), story.refused_share(MINUTE), story.failed_rows, len(story.calls))


class Strayed(NamedTuple):
    """What refusals at random cost, where nothing is limited."""

    pace: float
    """Answers per second."""
    obedient: float
    """The same of a lane that learns nothing and only keeps the pauses it is asked for."""
    failed_rows: int

    @property
    def share(self):
        return self.pace / self.obedient

    def holds(self):
        return self.share >= 0.8 and not self.failed_rows


def strays(seed, *, share, retry_after=None, seconds=0.3, concurrency=32, minutes=3.0):
    """Rows without end; a ``share`` of the calls is refused at random, however many are sent."""
    refused = Failure(FailureKind.RATE_LIMITED, "", Billing.NOT_BILLED, 429, retry_after=retry_after)
    until = MINUTE * minutes

    def lived(limits):
        server = Flaky(0.0, math.inf, share=share, failure=refused, seconds=seconds, seed=seed)
        return run(server, limits, seed=seed, until=until)

    learned = lived(LaneLimits(concurrency=concurrency, adaptive=True, rpm="auto", tpm="auto"))
    obedient = lived(LaneLimits(concurrency=concurrency))
    return Strayed(learned.answered / until, obedient.answered / until, learned.failed_rows)


class Survived(NamedTuple):
    """What an outage cost."""

    failed_rows: int
    failing_calls: int
    to_full_speed: float | None
    """Seconds from the recovery until the air was full again."""
    longest_gap: float
    """Seconds between two calls, at most, while the service was down."""
    minutes: float
    """Of the whole job."""

    def holds(self):
        quick = self.to_full_speed is not None and self.to_full_speed <= 90
        return not self.failed_rows and self.failing_calls < 1_500 and quick and self.longest_gap <= 20


def outage(
    seed, *, rows=24_000, concurrency=200, minutes=30.0, begins=60.0, adaptive=False, kind=FailureKind.SERVER_ERROR
):
    """2 s calls; the service is gone for ``minutes``, and what was in the air then is reset."""
    ends = begins + 60 * minutes
    limits = LaneLimits(concurrency=concurrency, adaptive=adaptive, rpm="auto", tpm="auto")
    return _survived(run(Down(begins, ends, kind=kind), limits, seed=seed, rows=rows), begins, ends)


def sdk_outage(seed, *, rows=24_000, concurrency=200, minutes=30.0, begins=60.0):
    """The same trace by the official SDKs' policy."""
    ends = begins + 60 * minutes
    return _survived(run_sdk(Down(begins, ends), rows=rows, concurrency=concurrency, seed=seed), begins, ends)


def _survived(story, begins, ends):
    down = [begins, *(at for at in story.calls if begins <= at < ends), ends]
    full = min((at for at in story.full if at >= ends), default=None)
    return Survived(
        story.failed_rows,
        len(story.failing),
        None if full is None else full - ends,
        max(later - earlier for earlier, later in pairwise(down)),
        story.ended / 60,
    )
