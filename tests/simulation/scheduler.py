"""The real gate and retry policy between a queue and a provider, in time that jumps from event to event."""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

from batchrunner.core.attempt import Failure, Reply
from batchrunner.core.gate import Gate
from batchrunner.core.permit import Go
from batchrunner.core.retry import GiveUp, RetryAt, RetryPolicy
from batchrunner.endpoints.limitheaders import read_limits

EPOCH = 1_795_000_000_000_000
SECOND = 1_000_000


@dataclass
class Story:
    """What happened, for whoever judges."""

    answered: int = 0
    failed_rows: int = 0
    first: int = 0
    """Calls that were a row's first."""
    calls: list = field(default_factory=list)
    """When each was sent."""
    failing: list = field(default_factory=list)
    """When each call was sent that brought no answer."""
    full: list = field(default_factory=list)
    """When the air was as full as it may be."""
    ended: float = 0.0
    gate: Gate | None = None

    def refused_share(self, after):
        calls = sum(at >= after for at in self.calls)
        return sum(at >= after for at in self.failing) / calls if calls else 0.0


def run(server, limits, *, seed, rows=math.inf, until=math.inf, full=None):
    """Drain ``rows`` rows, or call until ``until``; ``full`` calls in the air are full speed."""
    dice = random.Random(seed).random
    gate, policy, story = Gate(limits, now=0.0, dice=dice), RetryPolicy(), Story()
    story.gate = gate
    in_air, waiting, number, now, fresh = [], [], itertools.count(), 0.0, rows
    full = full or limits.concurrency
    while now < until and story.answered + story.failed_rows < rows:
        while in_air and in_air[0][0] <= now:
            _, _, call, answer = heapq.heappop(in_air)
            row = _land(gate, policy, dice, now, call, answer)
            if row is not None:
                heapq.heappush(waiting, (row[0], next(number), row[1], row[2]))
            elif isinstance(answer.outcome, Reply):
                story.answered += 1
            else:
                story.failed_rows += 1
        due = bool(waiting) and waiting[0][0] <= now
        reply = gate.ask(now, 100, 100) if due or fresh > 0 else None
        if isinstance(reply, Go):
            tries, attempts = heapq.heappop(waiting)[2:] if due else (0, 0)
            fresh -= not due
            story.first += not due
            permit = gate.admit(now, 100, 100)
            gate.depart(permit)
            answer = server.call(now)
            story.calls.append(now)
            if isinstance(answer.outcome, Failure):
                story.failing.append(now)
            if gate.air >= full:
                story.full.append(now)
            heapq.heappush(in_air, (now + answer.seconds, next(number), (permit, tries, attempts), answer))
            continue
        ahead = [in_air[0][0]] if in_air else []
        ahead += [reply.until + 0.001] if reply is not None else []  # a loop wakes up late
        ahead += [waiting[0][0]] if waiting and not due else []
        if not ahead:
            break
        later = min(ahead)
        assert now < later < math.inf, "somebody must say when to come back"
        now = later
    story.ended = now
    return story


def _land(gate, policy, dice, now, call, answer):
    """Settle and judge as a worker does; return when to try again, tries and attempts, or None."""
    permit, tries, attempts = call
    outcome, wall = answer.outcome, EPOCH + round(now * SECOND)
    hints = read_limits(answer.headers, wall, outcome) if isinstance(outcome, Failure) or gate.heeds(now) else None
    gate.settle(permit, outcome, now, hints)
    verdict = policy.judge(outcome, tries, wall, dice, attempts=attempts, shared=gate.shared(permit))
    if isinstance(verdict, RetryAt):
        wait = gate.retry_wait(permit, outcome.kind, (verdict.not_before - wall) / SECOND, now)
        return now + wait, tries + verdict.counts, attempts + 1
    assert isinstance(outcome, Reply) or isinstance(verdict, GiveUp)
    return None


def run_sdk(server, *, rows, concurrency, seed):
    """The official SDKs' policy on the same trace: two retries, min(0.5 x 2^n, 8) s with a quarter of jitter.

    A row sleeps in its worker, and is lost after its third failure.
    """
    dice, story = random.Random(seed).random, Story()
    events = [(0.0, number, 0) for number in range(min(rows, concurrency))]
    started, number = len(events), itertools.count(len(events))
    story.first = rows
    while events:
        now, _, failures = heapq.heappop(events)
        answer = server.call(now)
        story.calls.append(now)
        story.ended = max(story.ended, now + answer.seconds)
        if isinstance(answer.outcome, Failure):
            story.failing.append(now)
            if failures < 2:
                nap = min(0.5 * 2**failures, 8) * (1 - 0.25 * dice())
                heapq.heappush(events, (now + answer.seconds + nap, next(number), failures + 1))
                continue
            story.failed_rows += 1
        else:
            story.answered += 1
        if started < rows:
            started += 1
            heapq.heappush(events, (now + answer.seconds, next(number), 0))
    return story
