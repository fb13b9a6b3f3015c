"""The gate over whole runs in made-up time: bounds are never passed, limits are used, outages cost nothing."""

import heapq
import itertools
import math
import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome, Reply
from batchrunner.core.breaker import BreakerState
from batchrunner.core.gate import Gate
from batchrunner.core.permit import Go, LaneLimits, Wait
from batchrunner.core.retry import GiveUp, RetryAt, RetryPolicy
from batchrunner.core.usage import Usage
from tests.core.window import most_in_any_window

EPSILON = 1e-6


class Call(NamedTuple):
    est_in: int
    max_out: int | None
    outcome: Outcome
    seconds: float
    idle: float = 0.0


def counted(outcome, most):
    """The tokens that a provider counts: those it reports, none for what it turned away, else the most there can be.

    A call over the limit may have been counted before it was refused.
    """
    if outcome.usage:
        return outcome.usage.total
    limited = isinstance(outcome, Failure) and outcome.kind in (FailureKind.RATE_LIMITED, FailureKind.OVERLOADED)
    turned_away = isinstance(outcome, Failure) and outcome.billing is Billing.NOT_BILLED
    return 0 if turned_away and not limited else most


class Lane:
    """A claimer and a provider around a gate, in time that jumps."""

    def __init__(self, limits, *, seed=0, late=1e-6):
        self.limits = limits
        self.dice = random.Random(seed).random
        self.late = late  # more than nothing: two clocks that differ by a constant round differently
        self.now = 0.0
        self.born = 0.0
        self.gate = Gate(limits, now=0.0, dice=self.dice)
        self.in_air = []
        self.number = itertools.count()
        self.admitted = []

    @property
    def mono(self):
        return self.now - self.born

    def restart(self, down):
        """A kill: what is in the air is never settled; only levels, learned figures and the pause are kept."""
        levels, learned, pause = self.gate.levels(self.mono), self.gate.learned(), self.gate.pause_until - self.mono
        self.now += max(0.0, down)
        self.born = self.now
        self.in_air.clear()
        self.gate = Gate(self.limits, now=0.0, dice=self.dice, learned=learned)
        for kind, level in levels:
            self.gate.restore(kind, level, down)
        self.gate.pause(pause - max(0.0, down))

    def land(self):
        while self.in_air and self.in_air[0][0] <= self.now:
            _, _, permit, outcome = heapq.heappop(self.in_air)
            self.gate.landed(permit)
            self.gate.settle(permit, outcome, self.mono)

    def send(self, call):
        """Wait as the gate says, then send."""
        self.now += call.idle
        while True:
            self.land()
            answer = self.gate.ask(self.mono, call.est_in, call.max_out)
            if isinstance(answer, Go):
                break
            assert isinstance(answer, Wait)
            until = min(answer.until + self.born + self.late, self.in_air[0][0] if self.in_air else math.inf)
            assert self.now < until < math.inf, "the gate must say when to come back"
            self.now = until
        assert self.mono >= self.gate.pause_until
        permit = self.gate.admit(self.mono, call.est_in, call.max_out)
        assert self.gate.room
        self.gate.depart(permit)
        assert self.gate.air <= self.limits.concurrency
        self.admitted.append((self.now, counted(call.outcome, permit.reserve)))
        heapq.heappush(self.in_air, (self.now + call.seconds, next(self.number), permit, call.outcome))

    def requests(self):
        return [(at, 1.0) for at, _ in self.admitted]


@st.composite
def calls(draw):
    est_in, max_out = draw(st.integers(1, 500)), draw(st.integers(0, 2_000))
    usage = Usage(draw(st.integers(0, 4 * est_in)), 0, draw(st.integers(0, max_out)))
    refusal = st.builds(
        Failure,
        st.sampled_from(FailureKind),
        st.just(""),
        st.sampled_from(Billing),
        retry_after=st.none() | st.floats(0, 90),
        usage=st.none() | st.just(usage),
    )
    outcome = draw(st.one_of(st.just(Reply(200, b"", usage)), st.just(Reply(200, b"", None)), refusal))
    return Call(est_in, max_out, outcome, draw(st.floats(0, 60)), draw(st.floats(0, 20)))


limits = st.builds(
    LaneLimits,
    concurrency=st.integers(1, 30),
    rpm=st.none() | st.floats(0.3, 6_000),
    tpm=st.none() | st.floats(1_000, 1e6),
    reserve=st.just("upper"),
)


@pytest.mark.slow
@settings(max_examples=150)
@given(limits, st.lists(calls() | st.floats(-100, 100), max_size=60), st.integers(0, 10**6))
def test_no_trace_of_calls_faults_and_restarts_passes_a_bound(bounds, trace, seed):
    """Requests and real tokens in any window; the pause, the concurrency and the progress are checked on the way."""
    lane = Lane(bounds, seed=seed)
    for step in trace:
        if isinstance(step, Call):
            lane.send(step)
        else:
            lane.restart(step)
    for limit, taken in ((bounds.rpm, lane.requests()), (bounds.tpm, lane.admitted)):
        if limit is not None and taken:
            burst = max(limit / 60, 1.0, *(cost for _, cost in taken))
            assert most_in_any_window(taken, limit / 60) <= burst * (1 + EPSILON)


def steady(dice, *, est_in=100, max_out=1_000, input_ratio=1.3, output=200, seconds=(3, 30)):
    while True:
        usage = Usage(round(est_in * input_ratio), 0, round(output * (0.8 + 0.4 * dice())))
        yield Call(est_in, max_out, Reply(200, b"", usage), seconds[0] + dice() * (seconds[1] - seconds[0]))


@pytest.mark.slow
@pytest.mark.parametrize("rpm", [30, 60, 600, 6_000])
def test_under_steady_load_the_request_limit_that_binds_is_used(rpm):
    lane = Lane(LaneLimits(concurrency=4_000, rpm=rpm, tpm=1e9), late=0.005)
    traffic = steady(lane.dice)
    while lane.now < 240:
        lane.send(next(traffic))
    assert len(lane.admitted) >= 0.95 * rpm * 4


@pytest.mark.parametrize("tpm", [50_000, 400_000])
@pytest.mark.parametrize("max_out", [1_000, None])
def test_learned_reserves_use_the_token_limit_after_two_hundred_answers(tpm, max_out):
    lane = Lane(LaneLimits(concurrency=4_000, tpm=tpm), late=0.005)
    traffic = steady(lane.dice, max_out=max_out)
    while len(lane.admitted) < 300:
        lane.send(next(traffic))
    begin = lane.now
    while lane.now < begin + 300:
        lane.send(next(traffic))
    used = sum(tokens for at, tokens in lane.admitted if at >= begin) / (tpm / 60) / (lane.now - begin)
    assert 0.9 <= used <= 1.05


def test_upper_reserves_stay_exact_where_learned_ones_could_not():
    """Answers whose lengths jump: the bound holds in every window all the same."""
    lane = Lane(LaneLimits(concurrency=4_000, tpm=100_000, reserve="upper"))
    for number in range(1_500):
        output = 1_000 if number // 300 % 2 else 10
        lane.send(Call(100, 1_000, Reply(200, b"", Usage(400, 0, output)), 20.0))
    assert most_in_any_window(lane.admitted, 100_000 / 60) <= 100_000 / 60 * (1 + EPSILON)


class Outage(NamedTuple):
    begins: float
    ends: float
    kind: FailureKind
    billing: Billing
    seconds: float


def weather(outage, now):
    if outage.begins <= now < outage.ends:
        return Failure(outage.kind, "", outage.billing), outage.seconds
    return Reply(200, b"", Usage(100, 0, 100)), 2.0


def run_through(outage, *, concurrency=200, until):
    """Rows in endless supply, retries waiting for their time; return the calls made and the row verdicts."""
    lane, policy = Lane(LaneLimits(concurrency=concurrency)), RetryPolicy()
    waiting, verdicts, full, number = [], [], [], itertools.count()
    while lane.now < until:
        while lane.in_air and lane.in_air[0][0] <= lane.now:
            _, _, (permit, tries, attempts), outcome = heapq.heappop(lane.in_air)
            lane.gate.settle(permit, outcome, lane.now)
            shared = lane.gate.shared(permit)
            verdict = policy.judge(outcome, tries, int(lane.now * 1e6), lane.dice, attempts=attempts, shared=shared)
            verdicts.append((lane.now, verdict))
            if isinstance(verdict, RetryAt):
                row = (verdict.not_before / 1e6, next(number), tries + verdict.counts, attempts + 1)
                heapq.heappush(waiting, row)
        answer = lane.gate.ask(lane.now, 100, 100)
        if isinstance(answer, Go):
            _, _, tries, attempts = heapq.heappop(waiting) if waiting and waiting[0][0] <= lane.now else (0, 0, 0, 0)
            permit = lane.gate.admit(lane.now, 100, 100)
            lane.gate.depart(permit)
            lane.admitted.append((lane.now, 1.0))
            outcome, seconds = weather(outage, lane.now)
            heapq.heappush(lane.in_air, (lane.now + seconds, next(number), (permit, tries, attempts), outcome))
            if lane.gate.air == concurrency:
                full.append(lane.now)
        else:
            lane.now = min(answer.until, lane.in_air[0][0] if lane.in_air else math.inf)
    return lane, verdicts, full


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "billing", "seconds"),
    [
        (FailureKind.CONNECTION, Billing.NOT_BILLED, 0.001),
        (FailureKind.SERVER_ERROR, Billing.UNKNOWN, 0.1),
        (FailureKind.OVERLOADED, Billing.UNKNOWN, 0.1),
        (FailureKind.TIMEOUT, Billing.UNKNOWN, 120.0),
    ],
)
@pytest.mark.parametrize("minutes", [0.5, 30])
def test_an_outage_fails_no_row_costs_a_few_probes_a_minute_and_is_over_soon_after(kind, billing, seconds, minutes):
    outage = Outage(30.0, 30.0 + 60 * minutes, kind, billing, seconds)
    lane, verdicts, full = run_through(outage, until=outage.ends + 240)
    assert not [verdict for _, verdict in verdicts if isinstance(verdict, GiveUp)]
    probes = [at for at, _ in lane.admitted if outage.begins + seconds + 10 <= at < outage.ends]
    assert len(probes) <= 4.5 * minutes + 2
    hung = seconds if seconds > 1 else 0.0  # the last probe may hang as long as its deadline
    assert min(at for at in full if at >= outage.ends) <= outage.ends + hung + 90
    assert lane.gate._breaker.state is BreakerState.CLOSED


def test_a_revoked_key_costs_no_more_than_the_calls_in_the_air_and_two():
    one = Gate(LaneLimits(concurrency=50), now=0.0, dice=lambda: 0.5)
    sent, in_air = 0, []
    refused = Failure(FailureKind.AUTH, "bad key", Billing.NOT_BILLED)
    while not one.stopped:
        while isinstance(one.ask(1.0, 10, 10), Go):
            in_air.append(one.admit(1.0, 10, 10))
            sent += 1
        one.settle(in_air.pop(), refused, 1.0)
        if one.evidence(FailureKind.AUTH):
            one.stop(FailureKind.AUTH, "bad key")
    assert sent <= 50 + 2
