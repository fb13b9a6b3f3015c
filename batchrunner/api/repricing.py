"""What closed attempts would cost at other prices: a comparison, which changes nothing that was recorded."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import PriceBook, RateCard, cost_of
from batchrunner.store.base import Billed

SLICES: Final[dict[str, Callable[[Billed], str]]] = {
    "model": lambda row: row.model,
    "job": lambda row: row.job,
    "day": lambda row: datetime.fromtimestamp(row.day * 86_400, UTC).date().isoformat(),
    "endpoint": lambda row: row.endpoint,
    "provider": lambda row: row.provider,
    "account": lambda row: row.account,
}
"""What a comparison can be sliced by."""


class Sums(NamedTuple):
    """Pico-dollars of billed attempts, by what is certain of them; never added up."""

    recorded: int = 0
    estimated: int = 0
    wasted: int = 0
    unpriced: int = 0
    """Calls of unknown cost, which are in none of the sums."""


class Repriced(NamedTuple):
    """One slice."""

    key: tuple[str, ...]
    calls: int
    booked: Sums
    """By the rate card of each attempt, as it was when the attempt was opened."""
    repriced: Sums
    """By the price book as it is now, at the moment asked for."""


def reprice(rows: Iterable[Billed], book: PriceBook, at_us: int, by: Sequence[str] = ()) -> list[Repriced]:
    """Price attempts as if each had been opened at one moment (microseconds UTC); return slices in order of their keys.

    Without ``by`` it is one slice, even of nothing. What may have been billed used nothing that is known, so it is not
    in here. Raises ConfigurationError for a slice that does not exist.
    """
    keys = [_slice(name) for name in by]
    found: dict[tuple[str, ...], list[list[int]]] = {} if keys else {(): _empty()}
    cards: dict[tuple[str, str, str], RateCard | None] = {}
    for row in rows:
        lane = (row.provider, row.model, row.processing)
        if lane not in cards:
            cards[lane] = book.card(row.provider, row.model, at_us, row.processing)
        cost = None if row.usage is None else cost_of(cards[lane], row.usage)
        calls, booked, repriced = found.setdefault(tuple(key(row) for key in keys), _empty())
        calls[0] += 1
        _add(booked, row, row.cost)
        _add(repriced, row, cost)
    return [Repriced(key, calls[0], Sums(*one), Sums(*other)) for key, (calls, one, other) in sorted(found.items())]


def _slice(name: str) -> Callable[[Billed], str]:
    key = SLICES.get(name)
    if key is None:
        raise ConfigurationError(
            f"repriced costs can't be sliced by {name!r}", hint=f"slice by any of {', '.join(SLICES)}"
        )
    return key


def _empty() -> list[list[int]]:
    return [[0], [0] * len(Sums._fields), [0] * len(Sums._fields)]


def _add(sums: list[int], row: Billed, cost: int | None) -> None:
    if cost is None:
        sums[3] += 1
    elif row.use != "used":
        sums[2] += cost
    else:
        sums[0 if row.usage_from == "provider" else 1] += cost


def total(rows: Sequence[Repriced]) -> Repriced:
    """Return the sums over all slices, each of its own kind."""

    def added(sums: Sequence[Sums]) -> Any:
        return Sums(*map(sum, zip(*sums, strict=True))) if sums else Sums()

    return Repriced(
        (), sum(row.calls for row in rows), added([row.booked for row in rows]), added([row.repriced for row in rows])
    )
