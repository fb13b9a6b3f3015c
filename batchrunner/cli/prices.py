"""``prices``: the price book."""

from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk, when
from batchrunner.cli.text import one_line, plural
from batchrunner.config import Loaded

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price

MILLION = 10**6


@click.group()
def command() -> None:
    """Show the price book: the prices that calls are priced by."""


@verb(name="list")
@click.option("--provider", "only", metavar="NAME", help="Only this provider's prices.")
@click.option("--model", "part", metavar="TEXT", help="Only models whose name holds this.")
@json_option
def list_command(loaded: Loaded, only: str | None, part: str | None, as_json: bool) -> None:
    """List prices in dollars per million tokens, each with its source and the day from which it holds.

    `*` in a name stands for anything. Prices of your own price_files stand above those that came with the program, an
    exact name above a pattern, a newer date above an older one. A model that no line fits has an unknown cost.

    \b
    Examples:
      batchrunner prices list
      batchrunner prices list --provider together --model llama-3.3
      batchrunner prices list --json
    """
    from batchrunner.api import price_book

    listed = [
        (price, name)
        for price in price_book(loaded.settings).prices
        for name in price.names
        if only in (None, price.provider) and (part or "").casefold() in name.casefold()
    ]
    if as_json:
        print_json({"schema": "batchrunner.prices/1", "prices": [_facts(price, name) for price, name in listed]})
        return
    headers = ("provider", "model", "in $/M", "cached $/M", "out $/M", "valid from", "source")
    table(headers, [_cells(price, name) for price, name in listed], right=(2, 3, 4))
    talk(f"{plural(len(listed), 'price')}; dollars per million tokens", quiet=loaded.settings.quiet)


def _cells(price: "Price", name: str) -> tuple[str, ...]:
    dearness = ["unpriced"] * 3 if price.unpriced else [_per_million(each) or "-" for each in _picos(price)]
    source = f"{price.source}, {price.retrieved}" if price.retrieved else price.source
    return (price.provider, name, *dearness, _day(price) or "always", one_line(source, 60))


def _facts(price: "Price", name: str) -> dict[str, Any]:
    tokens = [None] * 3 if price.unpriced else [_per_million(each) for each in _picos(price)]
    return {
        "provider": price.provider,
        "model": name,
        "usd_per_million_tokens": dict(zip(("input", "cached", "output"), tokens, strict=True)),
        "unpriced": price.unpriced,
        "valid_from": _day(price),
        "source": price.source,
        "retrieved": price.retrieved or None,
        "own": price.priority > 0,
    }


def _picos(price: "Price") -> tuple[int, int | None, int]:
    return price.input, price.cached, price.output


def _per_million(pico: int | None) -> str | None:
    return None if pico is None else exact(pico * MILLION)


def _day(price: "Price") -> str | None:
    """Return the day from which a price holds; None: from the start of time."""
    return (when(price.valid_from) or "")[:10] if price.valid_from else None


command.add_command(list_command)
