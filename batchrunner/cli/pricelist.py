"""The tables of ``prices list``: narrow, with the models last and the sources beneath."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from batchrunner.cli.render import exact, table, when
from batchrunner.cli.text import one_line, safe
from batchrunner.core.pricing import LIVE
from batchrunner.formats.pricewords import less, unit_prices

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price

_MILLION: Final = 10**6
_NONE: Final = "-"
_HEADERS: Final = ("in", "cached", "out", "other", "from", "note", "model")
_PRICES: Final = 4
"""Columns that are left out where a table has nothing in them."""


class _Group(NamedTuple):
    """What has a table of its own."""

    provider: str
    processing: str
    by_token: bool


def show_prices(listed: Iterable[tuple["Price", str]]) -> None:
    """Print prices, each with the name of one of its models: a table by provider, class and unit; then the sources."""
    notes: dict[str, int] = {}
    groups: dict[_Group, list[Sequence[str]]] = {}
    for price, name in listed:
        note = notes.setdefault(price.dated_source, len(notes) + 1)
        by_token = any(each is not None for each in (price.input, price.cached, price.output))
        groups.setdefault(_Group(price.provider, price.processing, by_token), []).append(_cells(price, name, note))
    for group, rows in groups.items():
        click.echo(safe(_headline(group)))
        shown = [at for at in range(len(_HEADERS)) if at >= _PRICES or any(row[at] != _NONE for row in rows)]
        right = [place for place, at in enumerate(shown) if at < _PRICES - 1]
        table([_HEADERS[at] for at in shown], [[row[at] for at in shown] for row in rows], right=right)
        click.echo()
    for source, number in notes.items():
        click.echo(f"[{number}] {one_line(source or 'no source given', 200)}")


def per_million(pico: int | None) -> str | None:
    """Return a price of a token as dollars per million, with every digit; None: there is none."""
    return None if pico is None else exact(pico * _MILLION)


def day_of(price: "Price") -> str | None:
    """Return the day from which a price holds; None: from the start of time."""
    return (when(price.valid_from) or "")[:10] if price.valid_from else None


def _headline(group: _Group) -> str:
    unit = "dollars per million tokens" if group.by_token else "by other units"
    if group.processing != LIVE:
        return f"{group.provider}, in batches" + (f", {unit}" if group.by_token else "")
    return f"{group.provider}, {unit}"


def _cells(price: "Price", name: str, note: int) -> tuple[str, ...]:
    tokens = [per_million(each) or _NONE for each in (price.input, price.cached, price.output)]
    off = () if price.discount is None else (price.discount,)
    other = "unpriced" if price.unpriced else less(unit_prices(price), off)
    return (*tokens, other, day_of(price) or "always", f"[{note}]", name)
