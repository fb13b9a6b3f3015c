"""The tables and lines of ``costs``: slices, two periods beside each other, and what the sums mean."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from batchrunner.cli.render import table
from batchrunner.cli.text import count, one_line, plural
from batchrunner.cli.units import Column, used
from batchrunner.core.pricing import PICO, dollars
from batchrunner.core.slices import TAG

if TYPE_CHECKING:
    from batchrunner.api.ledgers import Compared
    from batchrunner.store.base import CostRow

LEGEND: Final = (
    "recorded: used answers, by the provider's own usage",
    "estimated: used answers that came without usage, by our estimate or by what was asked for",
    "possibly billed: at most this for calls that broke off after they were sent, or were open when a runner died",
    "wasted: billed, but the answer was of no use",
)
"""What the sums mean; they are never added up."""

UNPRICED: Final = (
    "unpriced: calls of unknown cost, in none of the sums: their model has no price (batchrunner prices set),"
    " or they broke off and nothing says what their answer would have come to (max_tokens bounds it)"
)

HEADERS: Final = (
    "calls", "tokens in", "cached", "tokens out", "recorded", "estimated", "possibly billed", "wasted", "unpriced",
)  # fmt: skip
COMPARED: Final = (
    "answers before", "answers", "recorded before", "recorded", "change", "by traffic", "by price", "estimated before",
    "estimated",
)  # fmt: skip

TOKEN_COLUMNS: Final = 4
"""Columns of ``HEADERS`` before those of other units, which are shown where there are any."""
UNALLOCATED: Final = "(unallocated)"


def show(slices: Sequence[str], rows: Sequence["CostRow"], total: "CostRow") -> None:
    """Print slices and their total."""
    places = 6 if max(_sums(total)) < PICO else None  # a small job costs less than a hundredth of a cent
    units = used(total)
    headers = [*HEADERS[:TOKEN_COLUMNS], *(unit.header for unit in units), *HEADERS[TOKEN_COLUMNS:]]
    if not total.unpriced:
        headers.pop()
    shown = [(row.key, row) for row in rows] if slices else []
    lines = [(*shown_key(slices, key), *_cells(row, units, places)[: len(headers)]) for key, row in shown]
    lines.append((*shown_total(slices), *_cells(total, units, places)[: len(headers)]))
    table((*slices, *headers), lines, right=range(len(slices), len(slices) + len(headers)))


def show_compared(slices: Sequence[str], rows: Sequence["Compared"], total: "Compared") -> None:
    """Print slices of two periods and their total."""
    most = max(total.now.recorded, total.before.recorded)
    places = 6 if most < PICO else None
    lines = [(*shown_key(slices, row.key), *_compared_cells(row, places)) for row in rows] if slices else []
    lines.append((*shown_total(slices), *_compared_cells(total, places)))
    table((*slices, *COMPARED), lines, right=range(len(slices), len(slices) + len(COMPARED)))


def lines_of(total: "CostRow", saved: int) -> Iterator[str]:
    """Yield what retries wasted and what caches saved, where they did, and what the sums mean."""
    places = 6 if max(_sums(total)) < PICO else None
    if total.wasted or total.doubtful:
        told = [f"{dollars(total.wasted - total.wasted_estimated, places)} recorded"]
        if total.wasted_estimated:
            told.append(f"{dollars(total.wasted_estimated, places)} estimated")
        if total.doubtful:
            most = dollars(total.possibly_billed, places)
            told.append(f"at most {most} for {plural(total.doubtful, 'call')} that broke off")
        yield f"retry waste: {', '.join(told)}"
    if saved:
        tokens = count(total.cached)
        yield f"cache savings: {dollars(saved, places)} less than {tokens} cached tokens would have cost as fresh ones"
    yield from LEGEND
    if total.unpriced:
        yield UNPRICED


def shown_key(slices: Sequence[str], key: Sequence[str | None]) -> list[str]:
    """Return the cells that name a slice."""
    return [
        UNALLOCATED if part is None else one_line(part, 60) or ('""' if name.startswith(TAG) else "")
        for name, part in zip(slices, key, strict=True)
    ]


def shown_total(slices: Sequence[str]) -> list[str]:
    """Return the cells that name the row of totals."""
    return ["total", *[""] * (len(slices) - 1)] if slices else []


def _sums(row: "CostRow") -> tuple[int, int, int, int]:
    return row.recorded, row.estimated, row.possibly_billed, row.wasted


def _cells(row: "CostRow", units: Sequence[Column], places: int | None) -> tuple[str, ...]:
    sums = _sums(row)
    # Nothing but calls of unknown cost: a row of $0.00 would say that they were free.
    amounts = ["unpriced"] * 4 if row.unpriced and not any(sums) else [dollars(amount, places) for amount in sums]
    tokens = (count(row.input), count(row.cached), count(row.output))
    others = [unit.shown(amount) if (amount := getattr(row, unit.name)) else "-" for unit in units]
    return (f"{row.attempts:,}", *tokens, *others, *amounts, f"{row.unpriced:,}")


def _compared_cells(row: "Compared", places: int | None) -> tuple[str, ...]:
    now, before = row.now, row.before
    money = (before.recorded, now.recorded, now.recorded - before.recorded, row.traffic, row.price)
    guessed = (before.estimated, now.estimated)
    return (
        f"{before.succeeded:,}", f"{now.succeeded:,}", *(dollars(amount, places) for amount in (*money, *guessed)),
    )  # fmt: skip
