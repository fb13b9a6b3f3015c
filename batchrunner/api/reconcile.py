"""A provider's invoice against our books: the difference, and what it is likely made of."""

from dataclasses import dataclass
from typing import Final

from batchrunner.api.ledgers import Ledgers
from batchrunner.core.slices import Within
from batchrunner.store.base import CostRow

CENT: Final = 10**10
"""Pico-dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that a difference may be made of."""

    kind: str
    """``possibly_billed``, ``estimated``, ``unpriced``, ``days``, ``discount``, ``others`` or ``rounding``."""
    words: str
    low: int | None = None
    """The least that it adds to the invoice, in pico-dollars, below 0 where it lessens it; None: nobody knows."""
    high: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """An invoice beside our books of the same days. Amounts are pico-dollars."""

    invoice: int
    books: CostRow
    parts: tuple[Part, ...]

    @property
    def certain(self) -> int:
        """What was billed by the provider's own usage, of use or not."""
        return self.books.recorded + self.books.wasted - self.books.wasted_estimated

    @property
    def estimated(self) -> int:
        """What was billed, too, as far as our estimate goes."""
        return self.books.estimated + self.books.wasted_estimated

    @property
    def most(self) -> int:
        """All of it, if everything that may have been billed was."""
        return self.certain + self.estimated + self.books.possibly_billed

    @property
    def difference(self) -> int:
        """What the invoice has more than what was billed for certain or by our estimate; below 0: less."""
        return self.invoice - self.certain - self.estimated

    @property
    def verdict(self) -> str:
        """``agrees`` to the cent, ``explained`` by what is possibly billed, ``below`` or ``above``."""
        if abs(self.difference) < CENT:
            return "agrees"
        if self.invoice < self.certain + self.estimated:
            return "below"
        return "explained" if self.invoice <= self.most + CENT else "above"


def reconcile(
    books: Ledgers, invoice: int, month: Within, *, ref: str | None = None, provider: str | None = None
) -> Reconciliation:
    """Hold an invoice in pico-dollars against our books of a period with two ends, of one provider or of all."""
    row = _of(books, ref, month, provider)
    found = Reconciliation(invoice=invoice, books=row, parts=())
    parts = (*_doubts(row), *_days(books, ref, month, provider), *_rest(found))
    return Reconciliation(invoice=invoice, books=row, parts=parts)


def _of(books: Ledgers, ref: str | None, within: Within, provider: str | None) -> CostRow:
    rows = books.costs(("provider",), ref, within)
    chosen = [row for row in rows if provider in (None, row.key[0])]
    sums = [sum(column) for column in zip(*(row[1:] for row in chosen), strict=True)]
    return CostRow((), *(sums or [0] * (len(CostRow._fields) - 1)))


def _doubts(row: CostRow) -> tuple[Part, ...]:
    parts = []
    if row.doubtful:
        words = f"{row.doubtful:,} calls broke off and may have been billed, at most for this"
        parts.append(Part(kind="possibly_billed", words=words, low=0, high=row.possibly_billed))
    if row.estimated or row.wasted_estimated:
        words = "what came without usage is in our books by an estimate, which may be too high or too low"
        parts.append(Part(kind="estimated", words=words))
    if row.unpriced:
        words = f"{row.unpriced:,} calls have no known cost here: they are in none of our sums"
        parts.append(Part(kind="unpriced", words=words, low=0))
    return tuple(parts)


def _days(books: Ledgers, ref: str | None, month: Within, provider: str | None) -> tuple[Part, ...]:
    """Return what another midnight would move: the days at both ends, if the provider's are not in our time zone."""
    if month.since is None or month.until is None:
        return ()

    def on(day: int) -> int:
        row = _of(books, ref, month._replace(since=day, until=day), provider)
        return row.recorded + row.estimated + row.wasted

    outside = on(month.since - 1) + on(month.until + 1)
    inside = on(month.since) + (on(month.until) if month.until > month.since else 0)
    if not outside and not inside:
        return ()
    words = f"days are counted in {month.zone}: another midnight moves at most the days at both ends"
    return (Part(kind="days", words=words, low=-inside, high=outside),)


def _rest(found: Reconciliation) -> tuple[Part, ...]:
    if found.verdict == "agrees":
        words = "invoices are rounded to the cent, our books are not"
        return (Part(kind="rounding", words=words, low=-CENT, high=CENT),) if found.difference else ()
    if found.verdict == "below":
        known = found.certain + found.estimated
        tenths = (-found.difference * 2_000 + known) // (2 * known)
        words = f"a discount of {tenths // 10}.{tenths % 10} % would explain all of it, or credits, or prices that fell"
        return (Part(kind="discount", words=words, low=found.difference, high=0),)
    if found.verdict == "above":
        words = "what these books do not hold: other programs or databases on the account, taxes, fees, a higher price"
        return (Part(kind="others", words=words, low=0),)
    return ()
