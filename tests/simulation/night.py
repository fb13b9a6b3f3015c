"""A random night: lanes, limits, weather and deaths from one seed, and what must hold whatever they are."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from batchrunner.core.breaker import MANY_ROWS
from batchrunner.core.permit import LaneLimits
from tests.core.window import most_in_any_window
from tests.simulation.corridor import Clock, Disk, Events, Life
from tests.simulation.weather import ROWS_OWN, Weather, drawn

HORIZON = 200_000.0
"""Virtual seconds by which every night is over: the slowest lane may take a day for its rows, not more."""


@dataclass(eq=False)
class LaneSpec:
    """A lane as it was drawn."""

    rows: int
    limits: LaneLimits
    weather: Weather
    bad: frozenset


class Night(NamedTuple):
    """How a night went."""

    problems: list
    calls: int
    states: Counter
    names: Counter
    """What calls met."""
    deaths: int
    hours: float


def night(seed):
    """Play the night of this seed."""
    dice = random.Random(seed)
    lanes, rows = [], 0
    for _ in range(dice.choice([1, 1, 2, 3])):
        lanes.append(_lane(dice, rows))
        rows += lanes[-1].rows
    deaths = sorted(dice.uniform(0.5, 400) for _ in range(dice.choice([0, 0, 1, 3])))
    concurrency = dice.choice([1, 4, 16, 48])
    clock = Clock()
    disk, events = Disk(lanes), Events(clock)
    lived = 0
    for until in [*deaths, HORIZON]:
        disk.rescue()
        life = Life(disk, concurrency=concurrency, random=dice, clock=clock, events=events)
        if events.run(life, until):
            break
        lived += 1
        clock.time += dice.choice([0.1, 30.0])
    _judge(disk, life, events, lived)
    states = Counter(disk.state.values())
    return Night(list(events.problems), len(events.calls), states, events.names, lived, clock.time / 3600)


def _lane(dice, first):
    rows = dice.choice([5, 40, 200])
    limits = LaneLimits(
        concurrency=dice.choice([1, 8, 32]),
        adaptive=dice.random() < 0.6,
        rpm=dice.choice([None, "auto", "auto", 120.0, 1_200.0]),
        tpm=dice.choice([None, "auto", "auto", 60_000.0]),
        reserve=dice.choice(["learned", "upper"]),
    )
    share = dice.choice([0.0, 0.0, 0.05])
    bad = frozenset(row for row in range(first, first + rows) if dice.random() < share)
    return LaneSpec(rows, limits, drawn(dice), bad)


def _judge(disk, life, events, deaths):
    events.check(life.over(), f"not over after {HORIZON:,.0f} s: {Counter(disk.state.values())}")
    events.check(not life.dispatcher.air and not life.dispatcher.admitted, "something is still in the air")
    for number, spec in enumerate(disk.lanes):
        gate = life.lanes[number].gate
        events.check(not gate.air and not gate.admitted, f"lane {number} still counts calls in the air")
        rows = [row for row, head in disk.heads.items() if head.lane_id == number]
        _judge_rows(disk, events, spec, rows, stopped=gate.stopped is not None)
        if not deaths and not ROWS_OWN & set(spec.weather.faults):
            innocent = sum(disk.state[row] == "failed" and row not in spec.bad for row in rows)
            # The last three rows of a lane can't tell an outage from troubles of their own.
            events.check(innocent <= 3 * len(spec.weather.outages), f"{innocent} rows failed for what all shared")
        _judge_calls(events, spec, number, deaths)


def _judge_rows(disk, events, spec, rows, *, stopped):
    for row in rows:
        state, counted = disk.state[row], disk.counted[row]
        allowed = {"done", "failed", "queued"} if stopped else {"done", "failed"}
        events.check(state in allowed, f"row {row} ends {state}")
        if state == "failed" and row not in spec.bad:
            events.check(counted >= 3, f"row {row} failed after {counted} failures of its own")
        events.check(state != "done" or row not in spec.bad, f"row {row} can't be answered, and is done")
    events.check(not stopped or spec.weather.gone_at < float("inf"), "a lane was stopped for no reason")


def _judge_calls(events, spec, number, deaths):
    calls = [at for at, lane, _ in events.calls if lane == number]
    rpm = spec.limits.rpm
    if isinstance(rpm, float) and calls:
        most = most_in_any_window(events.admitted[number], rpm / 60)
        events.check(most <= max(rpm / 60, 1.0) + 1e-6, f"{most:.2f} calls above {rpm:g} a minute")
    after = sum(at >= spec.weather.gone_at for at in calls)
    # What was in the air when it went is still answered, and each answer takes the suspicion back.
    most = (spec.limits.concurrency + MANY_ROWS) * (deaths + 1) + MANY_ROWS * events.late[id(spec)]
    events.check(after <= most, f"{after} calls to a model that is gone")
    for begin, end, name in spec.weather.outages:
        found = sum(begin <= at < end for at in calls)
        most = (spec.limits.concurrency + 12) * (deaths + 1) + (end - begin) / 4
        events.check(found <= most, f"{found} calls in {end - begin:g} s of {name}")
