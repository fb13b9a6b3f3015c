"""Budgets: caps on money that hold, since the worst case of a call is set aside before the call is bought. Pure.

What a budget counts of an attempt, from the commit that opens it on: its hold while it is open, what it cost once it is
closed, nothing where it certainly was not billed, and its hold for good where nobody can know (it was lost, it timed
out, it broke off). An attempt belongs to the day and month, in UTC, on which it was opened.
"""

from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from batchrunner.core.clock import DAY
from batchrunner.core.pricing import PICO

MOST_MONEY = 9_000_000 * PICO
"""The highest cap; a sum in the database holds a little more."""
WARN_AT = (80,)
"""Percent of a cap at which people are told, where nobody says otherwise."""

_EPOCH = date(1970, 1, 1).toordinal()


class Scope(StrEnum):
    """Whose spending a budget caps. The words are stored: never rename one."""

    EVERYTHING = "all"
    JOB = "job"
    TAG = "tag"
    RUN = "run"
    """What one run buys; it ends with the run, and is never stored."""


class Period(StrEnum):
    """How long a cap lasts before the counting begins anew, at midnight UTC. The words are stored."""

    EVER = "ever"
    DAY = "day"
    MONTH = "month"


class Budget(NamedTuple):
    """A cap on money, in pico-dollars."""

    scope: Scope
    ref: str
    """The job's number, or the tag as ``key=value``; empty where everything counts."""
    period: Period
    cap: int
    warn: tuple[int, ...] = WARN_AT
    """Percent of the cap, ascending, at which people are told."""

    @property
    def name(self) -> str:
        """What people call it: ``month``, ``job 3``, ``tag team=search a day``, ``--max-cost``."""
        if self.scope is Scope.RUN:
            return "--max-cost"
        what = "" if self.scope is Scope.EVERYTHING else f"{self.scope.value} {self.ref}"
        if self.period is Period.EVER:
            return what or "all"
        return f"{what} a {self.period.value}" if what else self.period.value


def period_at(period: Period, at: int) -> int:
    """Return the number of the period in which a time (microseconds UTC) lies; 0 where there is only one."""
    if period is Period.EVER:
        return 0
    return at // DAY if period is Period.DAY else _month_of(at // DAY)


@lru_cache(maxsize=64)
def _month_of(day: int) -> int:
    at = date.fromordinal(_EPOCH + day)
    return 12 * at.year + at.month - 1


def days_of(period: Period, number: int) -> tuple[int, int] | None:
    """Return the first and the last day of a period, counted from 1970; None where there is only one."""
    if period is Period.EVER:
        return None
    if period is Period.DAY:
        return number, number
    first, after = (date(n // 12, n % 12 + 1, 1).toordinal() - _EPOCH for n in (number, number + 1))
    return first, after - 1


class Spent(NamedTuple):
    """What counts against a budget in one period, in pico-dollars. The three sums are never mixed but in the total."""

    settled: int = 0
    """What billed attempts cost: recorded, estimated and wasted."""
    possibly: int = 0
    """Holds of closed attempts that may have been billed, or were, and nobody knows at what price."""
    open: int = 0
    """Holds of open attempts."""
    unpriced: int = 0
    """Attempts of unknown cost and unknown worst case: they are in none of the sums."""

    @property
    def committed(self) -> int:
        """All that may have to be paid."""
        return self.settled + self.possibly + self.open


class Reach(NamedTuple):
    """The rows that a job's or a tag's budget counts, by the tags that hold now.

    What was said of all lines of a job afterwards stands above the line's own tag, and that above its job's.
    """

    jobs: frozenset[int] = frozenset()
    """Jobs whose rows it reaches."""
    sets: frozenset[int] = frozenset()
    """Sets of line tags that it reaches in any job."""
    others: frozenset[int] = frozenset()
    """Sets of line tags that give the tag another value: not reached, whatever their job says."""
    always: frozenset[int] = frozenset()
    """Jobs of which it reaches every row, whatever tags its line brought."""
    never: frozenset[int] = frozenset()
    """Jobs of which it reaches none, whatever tags its line brought."""

    def holds(self, job_id: int, tag_set_id: int | None) -> bool:
        """Whether such rows count."""
        if job_id in self.always or job_id in self.never:
            return job_id in self.always
        if tag_set_id in self.sets:
            return True
        return job_id in self.jobs and tag_set_id not in self.others


class Line(NamedTuple):
    """One budget as the books stand."""

    budget: Budget
    period: int
    """The number of the period that ``spent`` is of."""
    spent: Spent
    reach: Reach | None
    """None: all rows."""
    after: int = 0
    """Attempts with ids up to this one do not count."""


class Sheet(NamedTuple):
    """All budgets of a database at one moment."""

    lines: tuple[Line, ...] = ()
    newest_attempt: int = 0
    """Attempts with higher ids are not in it yet."""
    newest_tags: int = 0
    """Nothing is known of sets of line tags with higher ids."""
