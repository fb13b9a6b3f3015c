"""The real dispatcher, gates and worker's verdicts between rows and weather, in time that jumps from event to event.

What is made up is what they touch: the clock, the disk (commits take their time, and a death loses what was not
committed), the claim and the provider.
"""

import heapq
import itertools
import math
from collections import Counter, defaultdict, deque
from functools import partial

from batchrunner.core.attachments import NoAttachments
from batchrunner.core.gate import Gate
from batchrunner.core.request import Head, Lane, Opened
from batchrunner.core.retry import GiveUp, RetryAt, RetryPolicy, Scope, Stop, Succeed
from batchrunner.endpoints.quirks import TOGETHER
from batchrunner.endpoints.refusals import classifier
from batchrunner.runner.attaching import Attaching
from batchrunner.runner.dispatcher import Dispatcher
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.offload import InlineOffload
from batchrunner.runner.spending import Money, Spending
from batchrunner.runner.worker import Workers

EPOCH = 1_795_000_000_000_000
SECOND = 1_000_000
LATE = 0.001
"""Seconds by which a loop wakes up late."""


class Clock:
    def __init__(self):
        self.time = 0.0

    def now(self):
        return EPOCH + round(self.time * SECOND)

    def monotonic(self):
        return self.time


class Disk:
    """What outlives a death: rows with their state, lanes with what was learned of them."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.state, self.heads, self.due = {}, {}, {}
        self.learned, self.levels = {}, {}
        self.counted = Counter()
        """Failures that counted, by row."""
        for lane, spec in enumerate(lanes):
            for _ in range(spec.rows):
                row = len(self.state)
                digest = b"bad" if row in spec.bad else b""
                self.heads[row] = Head(row, 1, lane, "/v1/chat/completions", None, 0, 0, 0, 100, 100, digest)
                self.state[row], self.due[row] = "queued", 0

    def rescue(self):
        """A new runner takes over: what was open may have been billed, and goes again."""
        for row, state in self.state.items():
            if state == "open":
                self.state[row], self.due[row] = "queued", 0
                self.heads[row] = self.heads[row]._replace(attempts=self.heads[row].attempts + 1)

    def close(self, closing):
        head, verdict = closing.opening.head, closing.verdict
        tries = head.tries
        if isinstance(verdict, Succeed | GiveUp):
            self.state[head.id] = "done" if isinstance(verdict, Succeed) else "failed"
        else:
            self.state[head.id] = "queued"
            self.due[head.id] = verdict.not_before if isinstance(verdict, RetryAt) else closing.ended
            tries += isinstance(verdict, RetryAt) and verdict.counts
        self.heads[head.id] = head._replace(tries=tries, attempts=head.attempts + 1)
        self.counted[head.id] = tries + isinstance(verdict, GiveUp)


class Life:
    """One process, from its start to its end or its death."""

    def __init__(self, disk, *, concurrency, random, clock, events):
        self.disk, self.clock, self.random, self.concurrency = disk, clock, random, concurrency
        self.events, self.numbers = events, itertools.count()
        self.attempts = itertools.count(1)
        self.seconds = 0.0
        self.open_now = self.in_air = 0
        self._group, self._committing, self._pumping = ([], [], []), False, math.inf
        self.lanes = [self._lane(number, spec) for number, spec in enumerate(disk.lanes)]
        self.queue = [self._queued(number) for number in range(len(self.lanes))]
        wake = partial(self._pump_at, 0.0)
        spending = Spending(self.lanes, Money(), clock, wake=wake, paused=lambda *_: None, warned=lambda _: None)
        self.dispatcher = Dispatcher(
            self.lanes, self, clock, self, concurrency=concurrency, spending=spending, wake=wake
        )
        self.workers = Workers(
            ledger=self,
            dispatcher=self.dispatcher,
            policy=RetryPolicy(),
            clock=clock,
            dice=random.random,
            stopped=self._stopped,
            attaching=Attaching(NoAttachments(), InlineOffload()),
            steps=None,  # its rows are answered at once
        )
        self._pump_at(0.0)

    # ----------------------------------------------------------------------------------------------------- the ledger

    def open(self, ticket):
        self._group[0].append(ticket)
        self._commit_soon()

    def record(self, closing):
        self._group[1].append(closing)
        self._commit_soon()

    def release(self, release):
        self._group[2].append(release)
        self._commit_soon()

    def _commit_soon(self):
        if not self._committing:
            self._committing = True
            self.after(0.0, self._begin_commit)

    def _begin_commit(self):
        group, self._group = self._group, ([], [], [])
        self.seconds = self.random.choice([0.001, 0.004, 0.05])
        self.after(self.seconds, self._commit, group, [lane.levels(*self._times()) for lane in self.lanes])

    def _commit(self, group, levels):
        tickets, closings, released = group
        for closing in closings:
            self.disk.close(closing)
            lane = self.lanes[closing.opening.head.lane_id]
            lane.busy.discard(closing.opening.head.id)
            if isinstance(closing.verdict, RetryAt | Stop):
                heapq.heappush(
                    self.queue[lane.lane.id], (self.disk.due[closing.opening.head.id], closing.opening.head.id)
                )
        for release in released:
            self.disk.state[release.head.id] = "queued"
        for ticket in tickets:
            row = ticket.opening.head.id
            self.events.check(self.disk.state[row] == "queued", f"row {row} is {self.disk.state[row]} and opened again")
            self.disk.state[row] = "open"
            self.events.admitted[ticket.lane.lane.id].append((ticket.permit.at, 1.0))
        self.disk.levels = dict(enumerate(levels))
        self.open_now += len(tickets) - len(closings) - len(released)
        self.events.check(self.open_now <= self.concurrency + 64, f"{self.open_now} attempts are open on the disk")
        self._committing = False
        if any(self._group):
            self._commit_soon()
        self.dispatcher.opened(tickets, [Opened(next(self.attempts), b"") for _ in tickets])
        self._pump_at(0.0)

    # ----------------------------------------------------------------------------------------- the claim and the inbox

    def _pump_at(self, seconds):
        at = self.clock.time + seconds
        if at < self._pumping:
            self._pumping = at
            self.after(seconds, self._pump, at)

    def _pump(self, at):
        if at != self._pumping:
            return
        self._pumping = math.inf
        for lane, queue in zip(self.lanes, self.queue, strict=True):
            while queue and queue[0][0] <= self.clock.now() and self._low(lane):
                row = heapq.heappop(queue)[1]
                lane.busy.add(row)
                lane.heads.append(self.disk.heads[row])
        resume = self.dispatcher.admit()
        due = [queue[0][0] for lane, queue in zip(self.lanes, self.queue, strict=True) if queue and self._low(lane)]
        waits = (resume - self.clock.time, (min(due) - self.clock.now()) / SECOND if due else math.inf)
        if min(waits) < math.inf:
            self._pump_at(max(0.0, min(waits)) + LATE)

    def _low(self, lane):
        return lane.gate.stopped is None and len(lane.heads) < self.concurrency

    def put(self, ready):
        self.after(0.0, self._work, ready)

    def _work(self, ready):
        """Send as a worker does: the next one itself, as long as there is one."""
        while ready is not None and not self.dispatcher.clear(ready.ticket):
            self.dispatcher.release(ready)
            ready = self.dispatcher.landed(ready)
        if ready is None:
            return
        lane, head = ready.ticket.lane, ready.ticket.opening.head
        spec = self.disk.lanes[lane.lane.id]
        self.in_air += 1
        self.events.sent(self, spec, lane, head)
        answer, seconds, name = spec.weather.call(self.clock.time, head)
        self.after(seconds, self._land, ready, answer, name)

    def _land(self, ready, answer, name):
        self.in_air -= 1
        self.events.landed(self.disk.lanes[ready.ticket.lane.lane.id], answer, name)
        self.workers._settle(ready.ticket, ready.opened, answer)
        following = self.dispatcher.landed(ready)
        if following is not None:
            self._work(following)

    # ------------------------------------------------------------------------------------------------------- its parts

    def after(self, seconds, do, *args):
        self.events.push(self.clock.time + seconds, self, do, args)

    def beat(self):
        """Keep what was learned, as the runner does every few seconds."""
        self.disk.learned = {lane.lane.id: lane.gate.learned() for lane in self.lanes}

    def over(self):
        """Whether nothing more can be done: every row has ended, or waits behind a lane that was stopped."""
        if self.dispatcher.admitted or self._committing or any(self._group):
            return False
        lanes = zip(self.lanes, self.queue, strict=True)
        return all(lane.gate.stopped is not None or not (queue or lane.heads or lane.busy) for lane, queue in lanes)

    def _times(self):
        return self.clock.monotonic(), self.clock.now()

    def _lane(self, number, spec):
        learned, levels = self.disk.learned.get(number), self.disk.levels.get(number, [])
        gate = Gate(spec.limits, now=self.clock.time, dice=self.random.random, learned=learned)
        lane = RunLane(
            lane=Lane(number, "together", f"m{number}"),
            jobs=(1,),
            gate=gate,
            transport=None,
            classify=classifier(TOGETHER),
            rate_until=2**63 - 1,
        )
        lane.restore(levels, *self._times())
        return lane

    def _queued(self, number):
        disk = self.disk
        rows = [(disk.due[row], row) for row, head in disk.heads.items() if head.lane_id == number]
        return sorted((due, row) for due, row in rows if disk.state[row] == "queued")

    def _stopped(self, lane, stop):
        for other in self.lanes:
            if other is lane or stop.scope is Scope.PROVIDER:
                other.gate.stop(stop.kind, stop.message)


class Events:
    """The calendar, and the witness: it sees every call, and notes what must not be."""

    def __init__(self, clock):
        self.clock = clock
        self.problems = deque(maxlen=20)
        self.calls = []
        """(time, lane, row)"""
        self.admitted = defaultdict(list)
        """(time, 1.0) by lane, of each attempt that was opened"""
        self.names = Counter()
        self.late = Counter()
        """Calls by lane that were answered although their model was gone: they had come in before."""
        self.away = {}
        self._heap, self._number, self._life = [], itertools.count(), None

    def check(self, holds, what):
        if not holds:
            self.problems.append(f"at {self.clock.time:.3f} s: {what}")

    def push(self, at, life, do, args):
        heapq.heappush(self._heap, (at, next(self._number), life, do, args))

    def sent(self, life, spec, lane, head):
        now, gate = self.clock.time, lane.gate
        self.calls.append((now, lane.lane.id, head.id))
        state = life.disk.state[head.id]
        self.check(state == "open", f"row {head.id} is called and {state}, not open")
        self.check(life.in_air <= life.concurrency, f"{life.in_air} calls are in the air")
        self.check(gate.air <= spec.limits.concurrency, f"{gate.air} calls of lane {lane.lane.id} are in the air")
        self.check(gate.stopped is None, f"lane {lane.lane.id} is called although it was stopped")
        self.check(now >= self.away.get(id(spec), 0.0), f"lane {lane.lane.id} is called although told to stay away")

    def landed(self, spec, answer, name):
        self.names[name] += 1
        self.late[id(spec)] += name != "gone" and self.clock.time >= spec.weather.gone_at
        if (wish := getattr(answer, "headers", {}).get("retry-after")) is not None:
            until = self.clock.time + float(wish) - 1e-6
            self.away[id(spec)] = max(self.away.get(id(spec), 0.0), until)

    def run(self, life, until):
        """Let a life go on until it is over, or until then; return whether it is over."""
        beat = self.clock.time
        while self._heap and self._heap[0][0] < until:
            self.clock.time, _, whose, do, args = heapq.heappop(self._heap)
            if whose is not life:
                continue  # the dead do nothing
            do(*args)
            if self.clock.time >= beat:
                life.beat()
                beat = self.clock.time + 10.0
            if life.over():
                return True
        self.check(bool(self._heap), f"nobody knows when to go on: {Counter(life.disk.state.values())}")
        self.clock.time = max(self.clock.time, min(until, 1e9))
        return False
