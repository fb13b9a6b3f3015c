"""What a run will cost at its end, told while it goes on: by what is done of what was expected, and what that cost."""

from collections.abc import Mapping
from typing import NamedTuple

PRIOR_ROWS = 10
"""So many rows at their expected cost are added to those that are done: else the first answers would throw it about."""


class Expected(NamedTuple):
    """What the rows of one lane were expected to cost, and by what: pico-dollars, which are weights here, no money."""

    requests: int
    total: float
    """Of all rows; what they add up to by the other fields."""
    per_input: float
    """Per estimated input token."""
    per_output: float
    """Per output token of a bound."""
    per_unbounded: float
    """Per row without a bound."""
    per_request: float
    """What a row costs in other units than tokens."""

    def of(self, requests: int, est_in: int, max_out: int, unbounded: int) -> float:
        """Return what so many rows were expected to cost, by the sums of their estimates and bounds."""
        return (
            est_in * self.per_input
            + max_out * self.per_output
            + unbounded * self.per_unbounded
            + requests * self.per_request
        )


class Done:
    """What is done of one lane in a run: rows that have their outcome, and what all of its calls cost."""

    __slots__ = ("billed", "est_in", "max_out", "requests", "unbounded")

    def __init__(self) -> None:
        self.requests = 0
        self.est_in = 0
        self.max_out = 0
        self.unbounded = 0
        self.billed = 0
        """Pico-dollars that were billed for certain, retries and answers of no use among them."""


def at_the_end(expected: Mapping[int, Expected], done: Mapping[int, Done], total: int) -> int | None:
    """Return what a run of ``total`` rows will have cost at its end, in pico-dollars; None where nothing is expected.

    Lane by lane, what is left costs what was expected of it, times the ratio of real to expected cost of what is done:
    so neither the order of the rows, long prompts last, nor a cheap model that is through first leads astray. What may
    have been billed beside is not in it, nor what has no price. Where rows came or went since the beginning, what is
    left grows or shrinks as their number did.
    """
    if not any(lane.total for lane in expected.values()):
        return None
    finished = sum(lane.requests for lane in done.values())
    planned = sum(lane.requests for lane in expected.values())
    changed = max(0, total - finished) / (planned - finished) if planned > finished else 0.0
    billed = sum(lane.billed for lane in done.values())
    left = sum(_left(lane, done.get(lane_id, _NOTHING)) for lane_id, lane in expected.items())
    return billed + round(left * changed)


_NOTHING = Done()


def _left(lane: Expected, done: Done) -> float:
    weight = lane.of(done.requests, done.est_in, done.max_out, done.unbounded)
    prior = PRIOR_ROWS * lane.total / max(1, lane.requests)
    if weight + prior <= 0:
        return 0.0
    return max(0.0, lane.total - weight) * (done.billed + prior) / (weight + prior)
