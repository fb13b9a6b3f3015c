"""``prices``: the price book."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk, when
from batchrunner.cli.setprices import import_command, set_command
from batchrunner.cli.text import one_line, plural
from batchrunner.cli.units import price_facts, unit_prices
from batchrunner.config import Loaded
from batchrunner.core.clock import SECOND, SystemClock
from batchrunner.core.errors import ExitCode

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price, RateCard

MILLION = 10**6


@click.group()
def command() -> None:
    """The price book: the prices that calls are priced by."""


@verb(name="list")
@click.option("--provider", "only", metavar="NAME", help="Only this provider's prices.")
@click.option("--model", "part", metavar="TEXT", help="Only models whose name holds this.")
@json_option
def list_command(loaded: Loaded, only: str | None, part: str | None, as_json: bool) -> None:
    """List prices in dollars per million tokens, or by the unit, each with its source and the day from which it holds.

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
    headers = ("provider", "model", "in $/M", "cached $/M", "out $/M", "other $", "valid from", "source")
    table(headers, [_cells(price, name) for price, name in listed], right=(2, 3, 4))
    talk(f"{plural(len(listed), 'price')}; dollars per million tokens, others by the unit", quiet=loaded.settings.quiet)


@verb(name="show")
@click.argument("name", metavar="MODEL")
@click.option("--provider", "only", metavar="NAME", help="Whose model it is.  [default: the configured one]")
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="On another day than today, UTC.")
@json_option
def show_command(loaded: Loaded, name: str, only: str | None, day: datetime | None, as_json: bool) -> int:
    """Show what a call to a model is priced by, and where that price was read. Exit code 2: its cost is unknown.

    \b
    Examples:
      batchrunner prices show openai/gpt-oss-20b
      batchrunner prices show whisper-1 --provider openai
      batchrunner prices show deepseek-ai/DeepSeek-V3 --on 2026-08-31
    """
    from batchrunner.api import price_book

    provider = only or loaded.settings.provider
    moment = SystemClock().now() if day is None else round(day.replace(tzinfo=UTC).timestamp() * SECOND)
    card = price_book(loaded.settings).card(provider, name, moment)
    if as_json:
        print_json({"schema": "batchrunner.price/1", "provider": provider, "model": name, "price": _card_facts(card)})
    elif card is None:
        talk(f"{provider} {name} has no price: what its calls cost is unknown, and in no sum")
        talk("  try: batchrunner prices set, or batchrunner prices list")
    else:
        table(("price", "USD"), [(name, str(usd)) for name, usd in price_facts(card).items()], right=(1,))
        since = when(card.valid_from)[:10] if card.valid_from else "always"  # type: ignore[index]
        talk(f"by the entry {card.model!r}, valid from {since}; {card.source or 'no source given'}")
    return ExitCode.OK if card is not None else ExitCode.USAGE


def _card_facts(card: "RateCard | None") -> dict[str, Any] | None:
    if card is None:
        return None
    since = when(card.valid_from) if card.valid_from else None
    return {"usd": price_facts(card), "entry": card.model, "valid_from": since and since[:10], "source": card.source}


def _cells(price: "Price", name: str) -> tuple[str, ...]:
    dearness = ["unpriced"] * 3 if price.unpriced else [_per_million(each) or "-" for each in _picos(price)]
    source = one_line(price.dated_source, 60)
    return (price.provider, name, *dearness, unit_prices(price), _day(price) or "always", source)


def _facts(price: "Price", name: str) -> dict[str, Any]:
    tokens = [None] * 3 if price.unpriced else [_per_million(each) for each in _picos(price)]
    return {
        "provider": price.provider,
        "model": name,
        "usd_per_million_tokens": dict(zip(("input", "cached", "output"), tokens, strict=True)),
        "usd": {} if price.unpriced else price_facts(price),
        "unpriced": price.unpriced,
        "valid_from": _day(price),
        "source": price.source,
        "retrieved": price.retrieved or None,
        "own": price.priority > 0,
    }


def _picos(price: "Price") -> tuple[int | None, int | None, int | None]:
    return price.input, price.cached, price.output


def _per_million(pico: int | None) -> str | None:
    return None if pico is None else exact(pico * MILLION)


def _day(price: "Price") -> str | None:
    """Return the day from which a price holds; None: from the start of time."""
    return (when(price.valid_from) or "")[:10] if price.valid_from else None


for each in (list_command, show_command, set_command, import_command):
    command.add_command(each)
