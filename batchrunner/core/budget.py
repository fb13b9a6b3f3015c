"""Budgets: caps on money that hold, since the worst case of a call is set aside before the call is bought. Pure.

What a budget counts of an attempt, from the commit that opens it on: its hold while it is open, what it cost once it is
closed, nothing where it certainly was not billed, and its hold for good where nobody can know (it was lost, it timed
out, it broke off). An attempt belongs to the day and month, in UTC, on which it was opened.
"""

from collections.abc import Iterable
from datetime import date
from enum import Enum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from batchrunner.core.clock import DAY
from batchrunner.core.pricing import PICO, dollars

MOST_MONEY = 9_000_000 * PICO
"""The highest cap; a sum in the database holds a little more."""
_MOST_HOLD = 2**56
"""72,000 dollars: the books do not hold what costs more, so a restart would not count it."""
WARN_AT = (80,)
"""Percent of a cap at which people are told, where nobody says otherwise."""

Tags = tuple[tuple[str, str], ...]

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
    """The rows that a job's or a tag's budget counts. A tag of the line stands above the job's."""

    jobs: frozenset[int] = frozenset()
    """Jobs whose rows it reaches."""
    sets: frozenset[int] = frozenset()
    """Sets of line tags that it reaches in any job."""
    others: frozenset[int] = frozenset()
    """Sets of line tags that give the tag another value: not reached, whatever their job says."""

    def holds(self, job_id: int, tag_set_id: int | None) -> bool:
        """Whether such rows count."""
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


class Purse:
    """One budget in one period, and what is set aside of it. Opaque but for reading."""

    __slots__ = (
        *("after", "budget", "held", "open", "period", "possibly", "reach", "refused", "room", "settled", "told"),
    )

    def __init__(self, line: Line) -> None:
        self.budget = line.budget
        self.period = line.period
        self.reach = line.reach
        self.after = line.after
        self.settled, self.possibly, self.open, _ = line.spent
        self.held = 0
        """Holds of what this run has in the air."""
        self.room = line.budget.cap - line.spent.committed
        """What is neither spent nor set aside; negative where a cap was set below what is committed."""
        self.refused: int | None = None
        """The hold that no longer fitted, with nothing in the air that could make room; None: it is not used up."""
        self.told = 0
        """The highest level of ``budget.warn`` that was told."""

    @property
    def committed(self) -> int:
        """All that may have to be paid of this period."""
        return self.budget.cap - self.room

    def text(self) -> str:
        """Say what is committed and spent of how much."""
        parts = [f"{dollars(self.settled)} spent"]
        if self.possibly:
            parts.append(f"{dollars(self.possibly)} possibly billed")
        if self.open + self.held:
            parts.append(f"{dollars(self.open + self.held)} held for calls that are open")
        return f"{dollars(self.committed)} of {dollars(self.budget.cap)} committed ({', '.join(parts)})"

    def begin(self, period: int) -> None:
        """Begin to count anew."""
        self.period = period
        self.settled = self.possibly = self.open = self.held = self.told = 0
        self.room = self.budget.cap
        self.refused = None


class Word(Enum):
    """What a budget says to a call."""

    GO = 0
    """Its hold is set aside."""
    WAIT = 1
    """It does not fit while what is in the air is counted at its worst: ask again when something has landed."""
    NO = 2
    """A budget is used up."""
    UNKNOWN = 3
    """What it costs at worst is not known, and a budget would count it."""


class Bought(NamedTuple):
    """What budgets have to know of an attempt."""

    job_id: int
    tag_set_id: int | None
    opened: int
    """Microseconds UTC."""
    hold: int | None
    attempt_id: int = 0
    """0 while it has none."""


class Purses:
    """All budgets of a run: sets worst cases aside, and settles them.

    A call must fit into every budget that counts it, and none is ever let through in part. Where it does not fit, it
    waits as long as calls in the air may make room; then the budget is used up, and refuses everything that it counts
    until it is raised, its period ends, or something open turns out cheaper. So what is left unused is less than the
    worst case of the call that was refused.
    """

    def __init__(self, sheet: Sheet, at: int) -> None:
        self.purses = [Purse(line) for line in sheet.lines]
        self.refusing: Purse | None = None
        """The one that said the last ``WAIT`` or ``NO``."""
        self._newest_tags = sheet.newest_tags
        self._of: dict[tuple[int, int | None], tuple[Purse, ...]] = {}
        self._midnight = (at // DAY + 1) * DAY
        self._freed = False

    def knows(self, tag_set_id: int | None) -> bool:
        """Whether it is known which budgets count such rows."""
        return tag_set_id is None or tag_set_id <= self._newest_tags

    def reserve(self, call: Bought) -> Word:
        """Set the worst case of a call aside, in every budget that counts it or in none."""
        if call.opened >= self._midnight:
            self.turn(call.opened)
        purses, hold = self._counting(call), call.hold
        if hold is None or hold >= _MOST_HOLD:
            return Word.UNKNOWN if purses else Word.GO
        for purse in purses:
            if purse.refused is not None or hold > purse.room:
                self.refusing = purse
                if purse.held and purse.refused is None:
                    return Word.WAIT
                purse.refused = purse.refused or hold
                return Word.NO
        for purse in purses:
            purse.room -= hold
            purse.held += hold
        return Word.GO

    def give_back(self, call: Bought) -> None:
        """Take back what ``reserve`` set aside: nothing was bought."""
        for purse in self._counted(call):
            purse.room += call.hold or 0
            purse.held -= call.hold or 0

    def put_by(self, call: Bought) -> None:
        """Note that an attempt goes on later: it stays open, and nothing lands until then."""
        for purse in self._counted(call):
            purse.open += call.hold or 0
            purse.held -= call.hold or 0

    def take_up(self, call: Bought) -> None:
        """Note that this run has an open attempt in the air which the sheet counts among the open ones."""
        for purse in self._counted(call):
            purse.open -= call.hold or 0
            purse.held += call.hold or 0

    def settle(self, call: Bought, cost: int | None, *, possibly: bool, in_air: bool) -> None:
        """Count what an attempt has come to instead of its hold.

        ``cost`` is 0 where it was not billed, None where it is not known; ``possibly``: it may have been billed.
        ``in_air``: its hold was set aside by ``reserve`` or ``take_up``, and not put by since.
        """
        hold = call.hold or 0
        counted = hold if cost is None or possibly else cost
        for purse in self._counted(call):
            if in_air:
                purse.held -= hold
            else:
                purse.open -= hold
            purse.room += hold - counted
            if cost is None or possibly:
                purse.possibly += counted
            else:
                purse.settled += counted

    def turn(self, at: int) -> bool:
        """Begin the periods anew that have ended by ``at``; return whether it is another day."""
        if at < self._midnight:
            return False
        self._midnight = (at // DAY + 1) * DAY
        for purse in self.purses:
            period = period_at(purse.budget.period, at)
            if period > purse.period:
                self._freed = self._freed or purse.refused is not None
                purse.begin(period)
        return True

    def reopen(self) -> bool:
        """Take back the refusals for which there is room by now, in a new period too; return whether there were any."""
        freed, self._freed = self._freed, False
        for purse in self.purses:
            if purse.refused is not None and purse.refused <= purse.room:
                purse.refused, freed = None, True
        return freed

    def warnings(self) -> list[tuple[Purse, int]]:
        """Return the budgets of which a further level is used up, each with that level in percent: once."""
        found = []
        for purse in self.purses:
            used, cap = purse.settled + purse.possibly, purse.budget.cap
            level = max((level for level in purse.budget.warn if 100 * used >= level * cap), default=0)
            if used and level > purse.told:
                purse.told = level
                found.append((purse, level))
        return found

    def _counted(self, call: Bought) -> list[Purse]:
        """Return the purses that count an attempt in the period that they are in."""
        return [
            purse
            for purse in self._counting(call)
            if purse.period == period_at(purse.budget.period, call.opened)
            and (call.attempt_id == 0 or call.attempt_id > purse.after)
        ]

    def _counting(self, call: Bought) -> tuple[Purse, ...]:
        key = call.job_id, call.tag_set_id
        found = self._of.get(key)
        if found is None:
            found = tuple(purse for purse in self.purses if purse.reach is None or purse.reach.holds(*key))
            self._of[key] = found
        return found


def tag_reach(wanted: str, jobs: Iterable[tuple[int, Tags]], sets: Iterable[tuple[int, Tags]]) -> Reach:
    """Return what a budget of the tag ``key=value`` reaches, by the tags of jobs and the sets of line tags."""
    key, _, value = wanted.partition("=")
    reached, others = set[int](), set[int]()
    for number, tags in sets:
        given = dict(tags).get(key)
        if given is not None:
            (reached if given == value else others).add(number)
    return Reach(
        frozenset(number for number, tags in jobs if (key, value) in tags), frozenset(reached), frozenset(others)
    )
