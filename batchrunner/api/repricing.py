"""What closed attempts would cost at other prices: a comparison, which changes nothing that was recorded."""

from collections.abc import Iterable, Sequence
from operator import add
from typing import NamedTuple

from batchrunner.core.pricing import PriceBook, RateCard, cost_of
from batchrunner.store.base import Billed

_RECORDED, _ESTIMATED, _WASTED, _UNPRICED = range(4)


class Sums(NamedTuple):
    """Pico-dollars of billed attempts, by what is certain of them; never added up."""

    recorded: int = 0
    estimated: int = 0
    wasted: int = 0
    unpriced: int = 0
    """Calls of unknown cost, which are in none of the sums."""


class Repriced(NamedTuple):
    """One slice."""

    key: tuple[str | None, ...]
    calls: int
    booked: Sums
    """By the rate card of each attempt, as it was when the attempt was opened."""
    repriced: Sums
    """By the price book as it is now, at the moment asked for."""


def reprice(rows: Iterable[Billed], book: PriceBook, at_us: int) -> list[Repriced]:
    """Price attempts as if each had been opened at one moment (microseconds UTC); return their slices in no order.

    What may have been billed used nothing that is known, so it is not in here.
    """
    found: dict[tuple[str | None, ...], tuple[list[int], list[int], list[int]]] = {}
    cards: dict[tuple[str, str, str], RateCard | None] = {}
    for row in rows:
        lane = (row.provider, row.model, row.processing)
        if lane not in cards:
            cards[lane] = book.card(row.provider, row.model, at_us, row.processing)
        cost = None if row.usage is None else cost_of(cards[lane], row.usage)
        if row.key not in found:
            found[row.key] = ([0], [0] * len(Sums._fields), [0] * len(Sums._fields))
        calls, booked, repriced = found[row.key]
        kind = _WASTED if row.use != "used" else _RECORDED if row.usage_from == "provider" else _ESTIMATED
        calls[0] += 1
        _add(booked, kind, row.cost)
        _add(repriced, kind, cost)
    return [Repriced(key, calls[0], Sums(*one), Sums(*other)) for key, (calls, one, other) in found.items()]


def _add(sums: list[int], kind: int, cost: int | None) -> None:
    if cost is None:
        sums[_UNPRICED] += 1
    else:
        sums[kind] += cost


def merged(rows: Iterable[Repriced]) -> list[Repriced]:
    """Add up the slices that have the same key; return them in order, what has no such tag last."""
    found: dict[tuple[str | None, ...], Repriced] = {}
    for row in rows:
        kept = found.get(row.key)
        found[row.key] = row if kept is None else _plus(kept, row)
    return [found[key] for key in sorted(found, key=lambda key: [(part is None, part or "") for part in key])]


def total(rows: Sequence[Repriced]) -> Repriced:
    """Return the sums over all slices, each of its own kind."""
    (whole,) = merged([Repriced((), 0, Sums(), Sums()), *(row._replace(key=()) for row in rows)])
    return whole


def _plus(one: Repriced, other: Repriced) -> Repriced:
    booked, repriced = map(add, one.booked, other.booked), map(add, one.repriced, other.repriced)
    return Repriced(one.key, one.calls + other.calls, Sums(*booked), Sums(*repriced))
