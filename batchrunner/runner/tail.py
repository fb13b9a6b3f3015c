"""The tail: the calls that are out, the longest of them, and what dropping them may cost."""

from collections.abc import Collection
from typing import NamedTuple

from batchrunner.core.clock import SECOND
from batchrunner.runner.lanes import Ready

OLD = 600.0
"""Seconds after which a call that is out is old."""


class Tail(NamedTuple):
    """The calls that are out at a moment, or the worst of a run."""

    out: int
    """Calls that are out."""
    old: int
    """Of those, the ones that have been for more than ``OLD`` seconds."""
    longest: float
    """Seconds that the oldest has been out."""
    hold: int
    """Pico-dollars that they cost at most, as far as that is known."""
    unpriced: int
    """Of the calls out, those whose cost is not known."""


NO_TAIL = Tail(0, 0, 0.0, 0, 0)


def tail_of(out: Collection[Ready], now: int) -> Tail:
    """Return the tail at ``now`` (microseconds UTC)."""
    if not out:
        return NO_TAIL
    openings = [ready.ticket.opening for ready in out]
    ages = [(now - opening.opened) / SECOND for opening in openings]
    holds = [opening.hold for opening in openings if opening.hold is not None]
    old = sum(age > OLD for age in ages)
    return Tail(len(openings), old, max(0.0, max(ages)), sum(holds), len(openings) - len(holds))


def worse(one: Tail, other: Tail) -> Tail:
    """Return the worst of two tails in every respect."""
    return Tail(
        max(one.out, other.out),
        max(one.old, other.old),
        max(one.longest, other.longest),
        max(one.hold, other.hold),
        max(one.unpriced, other.unpriced),
    )
