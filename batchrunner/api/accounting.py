"""The bill for programs: what it cost, caps, tags and the report, for both faces of the queue."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from os import PathLike
from typing import Any, TypeVar

from batchrunner.api import verbs
from batchrunner.api.reads import Reads
from batchrunner.api.report import Written, write_report
from batchrunner.config import Loaded, parse_money
from batchrunner.core.budget import WARN_AT, Line, Period
from batchrunner.core.clock import DAY, SystemClock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.slices import Within, period, within
from batchrunner.store.base import CostRow

T = TypeVar("T")
Ref = str | int | Job
"""A job, its number, its name, or the path of its file."""
Day = str | date
"""A day, or a month: ``date(2026, 11, 5)``, ``"2026-11-05"``, ``"2026-11"``."""


class Accounting:
    """The part of a queue that is about money, which is in whole pico-dollars wherever it is returned."""

    _loaded: Loaded

    async def costs(
        self,
        by: Sequence[str] = (),
        job: Ref | None = None,
        *,
        since: Day | None = None,
        until: Day | None = None,
        tags: Mapping[str, str | None] | None = None,
        tz: str = "UTC",
    ) -> list[CostRow]:
        """Return the four sums, whole or sliced by any of model, job, day, month, endpoint, provider, account, outcome
        and ``tag:KEY``.

        ``until`` is counted too; days begin in the time zone ``tz``. ``tags`` counts only what has all of them (None as
        a value: what has no such tag). Raises ConfigurationError.
        """
        within = _within(since, until, tags or {}, tz)
        return await self._reading(lambda read: read.costs(by, None if job is None else ref_of(job), within))

    async def report(
        self,
        out: str | PathLike[str],
        *,
        since: Day | None = None,
        until: Day | None = None,
        tz: str = "UTC",
        force: bool = False,
    ) -> Written:
        """Write what it cost as one HTML page. Raises ConfigurationError, also for a file that is no report (``force``
        replaces it).
        """
        return await self._asking(write_report, str(out), within=_within(since, until, {}, tz), force=force)

    async def budgets(self) -> tuple[Line, ...]:
        """Return the caps, and what counts against each in the day and month that it is now, in UTC."""
        return await self._reading(lambda read: read.budgets())

    async def set_budget(
        self,
        dollars: str | int | Decimal,
        *,
        job: Ref | None = None,
        tag: tuple[str, str] | None = None,
        each: str | None = None,
        warn: Sequence[int] = WARN_AT,
    ) -> None:
        """Cap the spending of a job, of a tag (``("team", "search")``), or of everything; a live run keeps to it.

        ``each`` is ``day``, ``month`` (both UTC), or None: for good. ``warn``: percents at which people are told.
        Raises ConfigurationError, also for a float, which is no amount of money.
        """
        cap = _pico(dollars)
        whose = {"job": None if job is None else ref_of(job), "tag": tag, "period": _period(each)}
        await self._asking(verbs.set_budget, cap, **whose, warn=warn)

    async def remove_budget(
        self, *, job: Ref | None = None, tag: tuple[str, str] | None = None, each: str | None = None
    ) -> None:
        """Remove a cap. Raises ConfigurationError where there is none."""
        whose = {"job": None if job is None else ref_of(job), "tag": tag, "period": _period(each)}
        await self._asking(verbs.remove_budget, **whose)

    async def retag(self, job: Ref, tags: Mapping[str, str | None], *, lines: bool = False) -> None:
        """Give a job other tags, for what it has cost already too; None takes one away.

        What lines have of their own wins over it, unless ``lines``. Nothing that was recorded of a call is changed.
        """
        await self._asking(verbs.retag, ref_of(job), tuple(tags.items()), lines=lines)

    async def _asking(self, verb: Callable[..., T], *given: Any, **named: Any) -> T:
        """Do what a verb does, with this queue's settings."""
        raise NotImplementedError

    async def _reading(self, act: Callable[[Reads], T]) -> T:
        """Look something up."""
        raise NotImplementedError


class BlockingAccounting:
    """The same for programs that do not await."""

    def __init__(self, queue: Accounting) -> None:
        self._accounting = queue

    def costs(self, by: Sequence[str] = (), job: Ref | None = None, **counted: Any) -> list[CostRow]:
        """See ``Queue.costs``."""
        return self._wait(partial(self._accounting.costs, by, job, **counted))

    def report(self, out: str | PathLike[str], **shown: Any) -> Written:
        """See ``Queue.report``."""
        return self._wait(partial(self._accounting.report, out, **shown))

    def budgets(self) -> tuple[Line, ...]:
        """See ``Queue.budgets``."""
        return self._wait(self._accounting.budgets)

    def set_budget(self, dollars: str | int | Decimal, **whose: Any) -> None:
        """See ``Queue.set_budget``."""
        self._wait(partial(self._accounting.set_budget, dollars, **whose))

    def remove_budget(self, **whose: Any) -> None:
        """See ``Queue.remove_budget``."""
        self._wait(partial(self._accounting.remove_budget, **whose))

    def retag(self, job: Ref, tags: Mapping[str, str | None], *, lines: bool = False) -> None:
        """See ``Queue.retag``."""
        self._wait(partial(self._accounting.retag, job, tags, lines=lines))

    def _wait(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a call of the queue that awaits."""
        raise NotImplementedError


def ref_of(job: Ref) -> str | Job:
    """Return a job as verbs and reads take it."""
    return job if isinstance(job, Job) else str(job)


def _within(since: Day | None, until: Day | None, tags: Mapping[str, str | None], tz: str) -> Within:
    first = None if since is None else _days(since)[0]
    return within(first, None if until is None else _days(until)[1], tuple(tags.items()), tz)


def _days(day: Day) -> tuple[int, int]:
    try:
        return period(str(day), SystemClock().now() // DAY)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _pico(dollars: object) -> int:
    try:
        if isinstance(dollars, float):
            raise ValueError(f"{dollars!r} is a float, which can't hold cents; write '12.50', 12 or a Decimal")
        return parse_money(str(dollars) if isinstance(dollars, Decimal) else dollars)
    except ValueError as error:
        raise ConfigurationError(f"no budget: {error}") from None


def _period(each: str | None) -> Period:
    if each is None:
        return Period.EVER
    if each not in (Period.DAY, Period.MONTH):
        raise ConfigurationError(f"a budget is for each day or month, not for each {each!r}", hint="or for good: None")
    return Period(each)
