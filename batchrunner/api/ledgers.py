"""The books of one or of several databases, read as one: slices, two periods beside each other, charges."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import add
from pathlib import Path
from typing import NamedTuple

from batchrunner.api.reads import Reads, reads
from batchrunner.api.repricing import Repriced, merged, reprice, total
from batchrunner.config import Loaded, Settings
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.slices import EVERYTHING, Within, before, checked_slices
from batchrunner.store.base import ChargeRow, CostRow
from batchrunner.wiring import price_book, reading

DATABASE = "db"
"""The slice by database, where there are several."""


class Compared(NamedTuple):
    """A slice in two periods."""

    key: tuple[str | None, ...]
    now: CostRow
    before: CostRow
    traffic: int
    """Pico-dollars of the change of ``recorded`` that come of more or fewer answers, at what one cost before."""

    @property
    def price(self) -> int:
        """The rest of the change: what an answer costs now more or less, by its price or its length."""
        return self.now.recorded - self.before.recorded - self.traffic


class Ledgers:
    """The books of several databases. A job is looked for in each; it has to be in one of them."""

    def __init__(self, books: Sequence[tuple[str, Reads]]) -> None:
        """``books``: what each database is called, and its reader."""
        self._books = books

    @property
    def paths(self) -> list[str]:
        """The real paths of the databases."""
        return [read.path for _, read in self._books]

    def job(self, ref: str) -> Job:
        """Find a job in the first database that has it. Raises ConfigurationError that lists what there is."""
        return next(job for _, _, job in self._each(ref) if job is not None)

    def costs(self, by: Sequence[str] = (), ref: str | None = None, within: Within = EVERYTHING) -> list[CostRow]:
        """Return the four sums, sliced by any of ``SLICES``, ``tag:KEY`` and ``db``. Raises ConfigurationError."""
        names, at = _by_database(by)
        rows: list[CostRow] = []
        for called, read, job in self._each(ref):
            rows += [row._replace(key=_with(row.key, at, called)) for row in read.costs(names, job, within)]
        return _merged(rows)

    def repriced(
        self,
        settings: Settings,
        at_us: int,
        by: Sequence[str] = (),
        ref: str | None = None,
        within: Within = EVERYTHING,
    ) -> list[Repriced]:
        """Return the same slices as booked, and as they would be had each call been opened at one moment.

        The prices are those of the settings and, above them, those of the database that a call is in. Without ``by``
        it is one slice, even of nothing.
        """
        names, at = _by_database(by)
        rows = [] if by else [total([])]
        for called, read, job in self._each(ref):
            book = price_book(settings, read.prices())
            found = reprice(read.billed(names, job, within), book, at_us)
            rows += [row._replace(key=_with(row.key, at, called)) for row in found]
        return merged(rows)

    def compared(self, by: Sequence[str], ref: str | None, now: Within, then: Within | None = None) -> list[Compared]:
        """Return the slices of a period beside those of another one, by default the one just before it."""
        new = {row.key: row for row in self.costs(by, ref, now)}
        old = {row.key: row for row in self.costs(by, ref, before(now) if then is None else then)}
        keys = sorted({**new, **old}, key=_order)
        return [_compared(new.get(key) or nothing(key), old.get(key) or nothing(key)) for key in keys]

    def savings(self, ref: str | None = None, within: Within = EVERYTHING) -> int:
        """Return what cached input tokens would have cost more as fresh ones, in pico-dollars."""
        return sum(read.savings(job, within) for _, read, job in self._each(ref))

    def charges(self, ref: str | None = None, within: Within = EVERYTHING) -> Iterator[tuple[str, ChargeRow]]:
        """Yield what was certainly billed, each with its database, one database after the other."""
        for called, read, job in self._each(ref):
            for charge in read.charges(job, within):
                yield called, charge

    def _each(self, ref: str | None) -> list[tuple[str, Reads, Job | None]]:
        """Return every database that is asked, with its job. Raises ConfigurationError where none has the job."""
        if ref is None:
            return [(called, read, None) for called, read in self._books]
        found: list[tuple[str, Reads, Job | None]] = []
        missing: ConfigurationError | None = None
        for called, read in self._books:
            try:
                found.append((called, read, read.job(ref)))
            except ConfigurationError as error:
                missing = error
        if not found and missing is not None:
            raise missing
        return found


def nothing(key: tuple[str | None, ...] = ()) -> CostRow:
    """Return a slice in which nothing was spent."""
    return CostRow(key, *[0] * (len(CostRow._fields) - 1))


def _compared(now: CostRow, then: CostRow) -> Compared:
    """Split a change; traffic is rounded towards nothing, and where one period had no answers all of it is traffic."""
    traffic = now.recorded - then.recorded
    if then.succeeded and now.succeeded:
        more = now.succeeded - then.succeeded
        share = abs(more) * then.recorded // then.succeeded
        traffic = share if more >= 0 else -share
    return Compared(now.key, now, then, traffic)


def _by_database(by: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Return the slices that a database is asked for, and where its own name stands among them; None: nowhere."""
    names = checked_slices([name for name in by if name != DATABASE])
    return names, list(dict.fromkeys(by)).index(DATABASE) if DATABASE in by else None


def _with(key: tuple[str | None, ...], at: int | None, called: str) -> tuple[str | None, ...]:
    return key if at is None else (*key[:at], called, *key[at:])


def _merged(rows: Sequence[CostRow]) -> list[CostRow]:
    found: dict[tuple[str | None, ...], CostRow] = {}
    for row in rows:
        kept = found.get(row.key)
        found[row.key] = row if kept is None else CostRow(row.key, *map(add, kept[1:], row[1:]))
    return [found[key] for key in sorted(found, key=_order)]


def _order(key: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((part is None, part or "") for part in key)


@contextmanager
def ledgers(loaded: Loaded, more: Sequence[str] = ()) -> Iterator[Ledgers]:
    """Open the database of these settings and ``more`` of them. Raises DatabaseError where there is none.

    A database that is named twice is read once.
    """
    with ExitStack() as stack:
        first = stack.enter_context(reads(loaded))
        books = {first.path: first}
        for path in more:
            read = Reads(stack.enter_context(reading(Path(path))))
            books.setdefault(read.path, read)
        names = [Path(path).name for path in books]
        called = names if len(set(names)) == len(names) else list(books)
        yield Ledgers(list(zip(called, books.values(), strict=True)))
