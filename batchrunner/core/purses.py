"""Purses: what is left of every budget of a run, with the worst cases of what is open set aside. Pure."""

from enum import Enum
from typing import NamedTuple

from batchrunner.core.budget import Line, Sheet, period_at
from batchrunner.core.clock import DAY
from batchrunner.core.pricing import dollars

_MOST_HOLD = 2**56
"""72,000 dollars: the books do not hold what costs more, so a restart would not count it."""
_KNOWN_ROWS = 4_096
"""Pairs of job and line tags of which it is remembered which budgets count them: there may be as many as lines."""


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
        self._begin_periods(at)  # midnight may have passed since the sheet was read

    def inherit(self, before: "Purses") -> dict[Purse, Purse]:
        """Go on from the same budgets as they were known before, whatever their caps are now.

        What was told of a cap is not told again, and what was refused, and still has no room, stays refused. Return the
        purses that refuse so, by those that did before.
        """
        mine = {(purse.budget[:3], purse.period): purse for purse in self.purses}
        heirs = {}
        for old in before.purses:
            heir = mine.get((old.budget[:3], old.period))
            if heir is None:
                continue
            heir.told = old.told if heir.budget == old.budget else 0
            if old.refused is not None and old.refused > heir.room and heir.reach == old.reach:
                heir.refused = old.refused
                heirs[old] = heir
        return heirs

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
                if purse.held:
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
        self._begin_periods(at)
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

    def _begin_periods(self, at: int) -> None:
        for purse in self.purses:
            period = period_at(purse.budget.period, at)
            if period > purse.period:
                self._freed = self._freed or purse.refused is not None
                purse.begin(period)

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
            if len(self._of) >= _KNOWN_ROWS:
                self._of.clear()
            found = tuple(purse for purse in self.purses if purse.reach is None or purse.reach.holds(*key))
            self._of[key] = found
        return found
