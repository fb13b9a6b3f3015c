"""Budgets that will not suffice for what is about to run, as far as an estimate tells."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from batchrunner.api.estimate import Estimate
from batchrunner.core.budget import Sheet
from batchrunner.core.job import Job


class Shortfall(NamedTuple):
    """A budget that may be used up before the end. Money is in pico-dollars."""

    name: str
    cap: int
    room: int
    """What is left of it now."""
    likely: bool
    """Whether already the likely cost is more; otherwise only the high end is, or there is none."""


def shortfalls(
    estimate: Estimate,
    sheet: Sheet,
    jobs: Sequence[Job],
    max_cost: int | None,
    of: Callable[[Sequence[Job]], Estimate] | None = None,
) -> tuple[Shortfall, ...]:
    """Return the budgets that what is estimated may use up.

    A budget that counts some of the ``jobs`` only is held against what ``of`` estimates for these. One of a tag that
    single lines have is not looked at.
    """
    found = [] if max_cost is None else [_of(estimate, "--max-cost", max_cost, max_cost)]
    for line in sheet.lines:
        counted = [job for job in jobs if line.reach is None or line.reach.holds(job.id, None)]
        if not counted and line.reach is not None:
            continue
        theirs = estimate if line.reach is None or len(counted) == len(jobs) or of is None else of(counted)
        room = max(0, line.budget.cap - line.spent.committed)
        found.append(_of(theirs, line.budget.name, line.budget.cap, room))
    return tuple(each for each in found if each is not None)


def _of(estimate: Estimate, name: str, cap: int, room: int) -> Shortfall | None:
    if estimate.high is not None and estimate.high <= room:
        return None
    if estimate.requests <= estimate.going_on:
        return None  # nothing is bought any more
    return Shortfall(name, cap, room, likely=estimate.likely > room)
