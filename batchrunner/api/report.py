"""The cost report: what one or several databases hold becomes figures, a page, a file."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import date, datetime, time, timedelta, tzinfo
from functools import reduce
from os import path as paths
from pathlib import Path
from typing import Any, NamedTuple

from batchrunner.api.ledgers import Ledgers
from batchrunner.api.reads import Reads
from batchrunner.config import Loaded
from batchrunner.core.budget import Scope
from batchrunner.core.clock import DAY, MINUTE, SECOND, SystemClock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.figures import Capped, FailedCalls, Figures, Flow, Foreseen, Rate
from batchrunner.core.slices import EVERYTHING, TAG, Within, day_text, known_zone
from batchrunner.core.version import program_version
from batchrunner.formats.report import page
from batchrunner.formats.reportfile import check_target, write
from batchrunner.store.base import CostRow, Reader
from batchrunner.store.reportbase import EVER, Period
from batchrunner.wiring import reading

MOST_STRETCHES = 120
"""Points of a line of time."""
MOST_TAGS = 12
"""Keys of tags that have a table: those with the fewest values, since a value for each line tells nobody anything."""
_HOUR = 60 * MINUTE
_STRETCHES = (
    *(SECOND, 5 * SECOND, 15 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY),
)


class Written(NamedTuple):
    """A report that was written."""

    out: str
    """Path, or ``-`` for standard output."""
    size: int
    """Bytes."""
    calls: int
    databases: int


def write_report(
    loaded: Loaded, out: str, *, more: Sequence[str] = (), within: Within = EVERYTHING, force: bool = False
) -> Written:
    """Write the report of the database of these settings, and of ``more``, to one HTML file (``-``: standard output).

    Another report is replaced, any other file only with ``force``. Raises ConfigurationError for a place that can't be
    written to and a time zone that does not exist, DatabaseError for a database that can't be read.
    """
    check_target(out, force=force)
    with ExitStack() as stack:
        books = _books([stack.enter_context(reading(Path(each))) for each in (str(loaded.settings.db), *more)])
        _refuse_own_files(out, books)
        shown = report_figures(books, within, made=SystemClock().now())
        size = write(page(shown), out, force=force)
    return Written(out, size, shown.total.attempts, len(books))


def report_figures(books: Sequence[tuple[str, Reader]], within: Within, *, made: int) -> Figures:
    """Return all that a report shows of these databases, each with what it is called; ``made`` in microseconds UTC.

    Of each database it is one state, also beside a live run.
    """
    with ExitStack() as stack:
        for _, reader in books:
            stack.enter_context(reader.still())
        return _figures(books, within, made)


def _figures(books: Sequence[tuple[str, Reader]], within: Within, made: int) -> Figures:
    zone = known_zone(within.zone)
    ledgers = Ledgers([(called, Reads(reader)) for called, reader in books])
    readers, period = [reader for _, reader in books], _period(within, zone)

    def costs(*by: str) -> list[CostRow]:
        return ledgers.costs(by, None, within)

    flows, stretch = _flows(readers, period)
    (total,) = costs()
    return Figures(
        made=made,
        version=program_version(),
        databases=tuple(called for called, _ in books),
        zone=zone,
        since=None if within.since is None else day_text(within.since),
        until=None if within.until is None else day_text(within.until),
        total=total,
        saved=ledgers.savings(None, within),
        daily=costs("day", "model"),
        models=costs("model"),
        jobs=costs("db", "job") if len(books) > 1 else costs("job"),
        endpoints=costs("endpoint"),
        accounts=costs("provider", "account"),
        tags=_tags(readers, costs),
        budgets=[one for called, reader in books for one in _budgets(called, reader, made)],
        requests=[one for reader in readers for one in reader.requests()],
        stretch=stretch,
        flows=flows,
        latencies=[one for reader in readers for one in reader.latencies(period)],
        failures=_failures(one for reader in readers for one in reader.failed_calls(period)),
        foreseen=_summed((one for reader in readers for one in reader.foreseen(period)), Foreseen, 1),
        rates=_rates(one for reader in readers for one in reader.rates(period)),
    )


def _books(readers: Sequence[Reader]) -> list[tuple[str, Reader]]:
    """Return the databases with what they are called, which is no more of their paths than tells them apart."""
    each = list({reader.path: reader for reader in readers}.values())
    names = [Path(reader.path).name for reader in each]
    if len(set(names)) < len(names):
        shared = paths.commonpath([reader.path for reader in each])
        names = [paths.relpath(reader.path, shared) for reader in each]
    return list(zip(names, each, strict=True))


def _refuse_own_files(out: str, books: Sequence[tuple[str, Reader]]) -> None:
    """Keep a database that somebody called ``queue.html`` from being replaced by its report."""
    own = {f"{reader.path}{end}" for _, reader in books for end in ("", "-wal", "-shm")}
    if out != "-" and paths.realpath(out) in own:
        raise ConfigurationError(f"{out} is the database itself", hint="write the report to another path")


def _period(within: Within, zone: tzinfo) -> Period:
    """Return the first and the last microsecond of these days, as their time zone has them."""
    first = EVER.first if within.since is None else _begin(within.since, zone)
    return Period(first, EVER.last if within.until is None else _begin(within.until + 1, zone) - 1)


def _begin(day: int, zone: tzinfo) -> int:
    midnight = datetime.combine(date(1970, 1, 1) + timedelta(days=day), time(), zone)
    return round(midnight.timestamp()) * SECOND


def _flows(readers: Sequence[Reader], period: Period) -> tuple[list[Flow], int]:
    """Return the calls by stretches of time, and the shortest stretch of which there are not too many."""
    spans = [span for reader in readers if (span := reader.span(period)) is not None]
    if not spans:
        return [], _STRETCHES[0]
    first, last = min(span.first for span in spans), max(span.last for span in spans)
    fitting = (stretch for stretch in _STRETCHES if last // stretch - first // stretch < MOST_STRETCHES)
    stretch = next(fitting, _STRETCHES[-1])
    return _summed((one for reader in readers for one in reader.flows(stretch, period)), Flow, 1), stretch


def _tags(readers: Sequence[Reader], costs: Callable[[str], list[CostRow]]) -> list[tuple[str, Sequence[CostRow]]]:
    keys = sorted({key for reader in readers for key in reader.tag_keys()})
    found = [(key, costs(TAG + key)) for key in keys]
    carried = [(key, rows) for key, rows in found if any(row.key != (None,) for row in rows)]
    kept = {key for key, _ in sorted(carried, key=lambda each: (len(each[1]), each[0]))[:MOST_TAGS]}
    return [(key, rows) for key, rows in carried if key in kept]


def _budgets(called: str, reader: Reader, made: int) -> list[Capped]:
    jobs = {str(job.id): job.name for job in reader.jobs()}
    found = [(line.budget, line.spent) for line in reader.budgets(made).lines]
    return [
        Capped(called, jobs.get(budget.ref, "") if budget.scope is Scope.JOB else "", budget, spent)
        for budget, spent in found
    ]


def _summed(rows: Iterable[Any], make: Any, width: int) -> list[Any]:
    """Add up rows whose first ``width`` parts are the same, of several databases, in the order of these parts."""
    found: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(tuple(row[:width]), []).append(tuple(row[width:]))
    return [make(*key, *map(sum, zip(*parts, strict=True))) for key, parts in sorted(found.items())]


def _failures(rows: Iterable[FailedCalls]) -> list[FailedCalls]:
    """Add up failures of a kind and status, keep the first example, and put the most frequent ones first."""
    found: dict[tuple[str, int | None], list[FailedCalls]] = {}
    for row in rows:
        found.setdefault((row.kind, row.status), []).append(row)
    added = [reduce(_both, group) for group in found.values()]
    return sorted(added, key=lambda one: (-one.calls, one.kind, one.status or 0))


def _both(one: FailedCalls, other: FailedCalls) -> FailedCalls:
    return one._replace(
        calls=one.calls + other.calls,
        wasted=one.wasted + other.wasted,
        possibly_billed=one.possibly_billed + other.possibly_billed,
    )


def _rates(rows: Iterable[Rate]) -> list[Rate]:
    found: dict[bytes, Rate] = {}
    for row in rows:
        known = found.get(row.card.digest())
        found[row.card.digest()] = row if known is None else Rate(row.card, known.calls + row.calls)
    return list(found.values())
