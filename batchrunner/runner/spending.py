"""What a run may still spend: asks the budgets before each purchase, and holds jobs back that no longer fit.

Without a budget nothing of this costs a row more than one look at ``active``.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from batchrunner.core.attempt import Billing
from batchrunner.core.budget import Budget, Line, Period, Scope, Sheet, Spent
from batchrunner.core.clock import Clock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import dollars
from batchrunner.core.purses import Bought, Purse, Purses, Word
from batchrunner.core.request import Closing, Continued, Head, Opening
from batchrunner.runner.lanes import RunLane

REASON = "budget"
"""The reason of a pause that a budget makes: it ends when the cap is raised, with its period, or with the next run."""
_UNKNOWN = "the price of its next request, or what that costs at worst, is not known, and a budget counts it"
_BEYOND = (
    "calls cost more than was held for them, by an output longer than was assumed, by pictures, or by what the provider"
    " states or adds: a cap may be passed by as much"
)


class Shortage(NamedTuple):
    """A budget that is used up, or a job that no budget can answer for. Money is in pico-dollars."""

    budget: Budget | None
    """None: the worst case of the job's next request is not known."""
    message: str
    jobs: tuple[int, ...]
    """Jobs that are held back for it."""
    needed: int | None = None
    """The worst case of the request that did not fit."""
    committed: int = 0
    spent: int = 0


class BudgetView(NamedTuple):
    """One budget of a live run. Money is in pico-dollars."""

    name: str
    cap: int
    committed: int
    spent: int
    used_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What a person allowed one run."""

    max_cost: int | None = None
    """Pico-dollars that it may buy for; what earlier runs bought does not count."""
    waits: bool = False
    """Whether it goes on without anything to send, until a budget is raised or its next period begins."""


class Spending:
    """The budgets of a run, and the jobs that they hold back.

    A job stops at its first request that does not fit, in the order of its input: later ones may be smaller, and are
    not tried. What is open goes on to its end, also where that takes several steps. ``wake`` is called when more may be
    bought than before, ``paused`` with a job that is held back and why, or None when it goes on, and ``warned`` with
    what people should hear in good time.
    """

    def __init__(
        self,
        lanes: Sequence[RunLane],
        money: Money,
        clock: Clock,
        *,
        wake: Callable[[], None],
        paused: Callable[[int, str | None], None],
        warned: Callable[[str], None],
    ) -> None:
        self.active = False
        """Whether there is any budget; otherwise nothing has to be asked."""
        self.stale = False
        """Whether rows came whose tags are not known yet: the budgets have to be read anew."""
        self._notes: dict[Budget | None, str] = {}
        """What was warned of last, by budget; None: of a worst case that was none."""
        self._frozen = False
        self._lanes = lanes
        self._max_cost = money.max_cost
        self._waits = money.waits
        self._clock = clock
        self._wake = wake
        self._paused = paused
        self._warned = warned
        self._purses = Purses(Sheet(), clock.now())
        self._air: dict[int, Bought] = {}
        """By request what is in the air, or about to be, of the attempts that this run has bought."""
        self._held: dict[int, Purse | None] = {}
        """By job what holds it back; None: its next request has no known worst case."""
        self._beyond = False

    # --------------------------------------------------------------------------------------------------- the budgets

    def freeze(self) -> None:
        """Buy nothing until ``adopt``."""
        self._frozen = self.active = True

    def adopt(self, sheet: Sheet) -> None:
        """Go by these budgets from here on. What the sheet counts as open and is in the air here can make room."""
        lines = sheet.lines if self._max_cost is None else (*sheet.lines, self._own(self._max_cost, sheet))
        before, self._purses = self._purses, Purses(sheet._replace(lines=lines), self._clock.now())
        heirs = self._purses.inherit(before)
        for bought in self._air.values():
            self._purses.take_up(bought)
        self.active, self._frozen, self.stale = bool(lines), False, False
        self._warn()
        free = [job for job, purse in self._held.items() if purse not in heirs]
        for job, purse in self._held.items():
            if purse is not None and purse in heirs:
                self._held[job] = heirs[purse]
                if heirs[purse].budget != purse.budget:
                    self._paused(job, _shortage(heirs[purse], (job,)).message)
        self._go_on(free)

    def _own(self, cap: int, sheet: Sheet) -> Line:
        """Return the run's own budget, which no sheet of the database has."""
        budget = Budget(Scope.RUN, "", Period.EVER, cap)
        known = next((purse for purse in self._purses.purses if purse.budget.scope is Scope.RUN), None)
        if known is None:
            return Line(budget, 0, Spent(), None, sheet.newest_attempt)
        spent = Spent(known.settled, known.possibly, known.open + known.held)
        return Line(budget, 0, spent, None, known.after)

    def recap(self, cap: int) -> None:
        """Give the run another cap of its own, in pico-dollars, from the next ``adopt`` on.

        Raises ConfigurationError for a run without one: what it bought so far was not counted.
        """
        if self._max_cost is None:
            raise ConfigurationError(
                "the run that is going on has no --max-cost",
                hint="cap what it spends with a budget: batchrunner budget set AMOUNT, with --job JOB for one job",
            )
        self._max_cost = cap

    def tick(self, now: int) -> None:
        """Begin new days and months; ``now`` is in microseconds UTC."""
        if self._purses.turn(now):
            self._ease()
            self._wake()

    # --------------------------------------------------------------------------------------------------- what is bought

    def reserve(self, opening: Opening) -> bool:
        """Set the worst case of a purchase aside; return whether it may be made now.

        Where it can't be made any more, its job is held back, and its head is no longer among its lane's.
        """
        head = opening.head
        if head.continues:
            return True  # it was bought before
        if self._frozen:
            return False
        if not self._purses.knows(head.tag_set_id):
            self.stale = True
            return False
        bought = Bought(head.job_id, head.tag_set_id, opening.opened, opening.hold)
        word = self._purses.reserve(bought)
        if word is Word.GO:
            self._air[head.id] = bought
            return True
        if word is not Word.WAIT:
            self._hold_back(head, None if word is Word.UNKNOWN else self._purses.refusing)
        return False

    def give_back(self, head: Head) -> None:
        """Take back what was set aside for a purchase that was not made."""
        bought = self._air.pop(head.id, None)
        if bought is not None:
            self._purses.give_back(bought)
            self._wake()

    def settle(self, closings: Sequence[Closing]) -> None:
        """Count what closed attempts have come to."""
        for closing in closings:
            head, opened, _, hold = closing.opening
            bought = self._air.pop(head.id, None)
            in_air = bought is not None
            if bought is None:
                bought = Bought(head.job_id, head.tag_set_id, opened, hold, closing.attempt_id)
            cost = 0 if closing.billing is Billing.NOT_BILLED else closing.cost
            self._purses.settle(bought, cost, possibly=closing.billing is Billing.UNKNOWN, in_air=in_air)
            if cost is not None and hold is not None and cost > hold:
                self._exceeded()
        self._warn()
        self._ease()

    def put_by(self, continued: Sequence[Continued]) -> None:
        """Note that attempts go on later: until then they make no room."""
        for one in continued:
            bought = None if one.verdict.stays else self._air.pop(one.opening.head.id, None)
            if bought is not None:
                self._purses.put_by(bought)

    # ----------------------------------------------------------------------------------------------------- what is held

    @property
    def waits(self) -> bool:
        """Whether the run is to go on without anything to send, since a budget may be raised, or begin anew."""
        used_up = (purse for purse in self._held.values() if purse is not None)
        return self._waits and any(purse.budget.scope is not Scope.RUN for purse in used_up)

    def follow(self, jobs: Collection[int]) -> Collection[int]:
        """Hold back no job any more that has nothing to do here: these have. Return which of them are held back."""
        self._held = {job: purse for job, purse in self._held.items() if job in jobs}
        return self._held.keys()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was warned of and holds still. What is used up is told as such, and no level of it beside."""
        over = {None, *(purse.budget for purse in self._purses.purses if purse.refused is None)}
        return tuple(text for budget, text in self._notes.items() if budget in over)

    def shortages(self) -> tuple[Shortage, ...]:
        """Return what holds jobs back now."""
        found: dict[Purse | None, list[int]] = {}
        for job, purse in self._held.items():
            found.setdefault(purse, []).append(job)
        return tuple(_shortage(purse, tuple(jobs)) for purse, jobs in found.items())

    def views(self) -> tuple[BudgetView, ...]:
        """Return the budgets for a live view."""
        return tuple(
            BudgetView(purse.budget.name, purse.budget.cap, purse.committed, purse.settled, purse.refused is not None)
            for purse in self._purses.purses
        )

    def _hold_back(self, head: Head, purse: Purse | None) -> None:
        job, now = head.job_id, self._clock.now()
        self._held[job] = purse
        for lane in self._lanes:
            if job in lane.jobs:
                lane.restart([other for other in lane.jobs if other != job], now, winding=(*lane.winding, job))
        self._paused(job, _shortage(purse, (job,)).message)

    def _ease(self) -> None:
        """Let jobs go on where there is room again."""
        if self._purses.reopen():
            self._go_on([job for job, purse in self._held.items() if purse is not None and purse.refused is None])

    def _go_on(self, free: Sequence[int]) -> None:
        now = self._clock.now()
        for lane in self._lanes:
            mine = {job for job in lane.winding if job in free}
            if mine:
                rest = [job for job in lane.winding if job not in mine]
                lane.restart(sorted({*lane.jobs, *mine}), now, winding=rest)
        for job in free:
            del self._held[job]
            self._paused(job, None)
        self._wake()

    def _warn(self) -> None:
        for purse, level in self._purses.warnings():
            self._tell(purse.budget, f"budget {purse.budget.name}: {level} % is used up: {purse.text()}")

    def _exceeded(self) -> None:
        if not self._beyond:
            self._beyond = True
            self._tell(None, _BEYOND)

    def _tell(self, budget: Budget | None, text: str) -> None:
        self._notes[budget] = text
        self._warned(text)


def _shortage(purse: Purse | None, jobs: tuple[int, ...]) -> Shortage:
    if purse is None:
        return Shortage(None, _UNKNOWN, jobs)
    needed = purse.refused
    more = "" if needed is None else f"; the next request may cost {dollars(needed)}"
    message = f"budget {purse.budget.name}: {purse.text()}{more}"
    return Shortage(purse.budget, message, jobs, needed, purse.committed, purse.settled)
