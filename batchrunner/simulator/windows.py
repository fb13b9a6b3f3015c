"""How far a series of events went over a rate, over all windows at once. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class Window(NamedTuple):
    """The window that went furthest over the rate (or came closest to it)."""

    excess: float
    """amount - rate * (end - start) - burst; at most 0 if the limit held everywhere."""
    start: float
    end: float
    amount: float


def worst_window(events: Iterable[tuple[float, float]], rate: float, burst: float) -> Window:
    """Of all windows, the one with the largest excess; `events` are (time in seconds, amount), in any order.

    Only windows that begin and end at an event need looking at: any other holds no more and lasts longer. One pass
    after sorting: the best start for an end is the one with the least `taken before - rate * time` so far.
    """
    worst = Window(-burst, math.nan, math.nan, 0.0)
    best_start, best_key, taken_at_start = math.nan, math.inf, 0.0
    taken = 0.0
    for time, amount in sorted(events):
        key = taken - rate * time
        if key < best_key:
            best_key, best_start, taken_at_start = key, time, taken
        taken += amount
        excess = taken - rate * time - best_key - burst
        if excess > worst.excess or math.isnan(worst.start):
            worst = Window(excess, best_start, time, taken - taken_at_start)
    return worst
