"""``prices``: the price book."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.checkprices import check_command
from batchrunner.cli.importprices import import_command
from batchrunner.cli.options import json_option, verb
from batchrunner.cli.pricelist import day_of, per_million, show_prices
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk, when
from batchrunner.cli.setprices import set_command
from batchrunner.cli.text import plural
from batchrunner.cli.units import price_facts
from batchrunner.config import Loaded
from batchrunner.core.clock import SECOND, SystemClock
from batchrunner.core.errors import ExitCode
from batchrunner.core.pricing import CLASSES, LIVE
from batchrunner.formats.pricewords import percent

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price, RateCard


@click.group()
def command() -> None:
    """The price book: the prices that calls are priced by."""


@verb(name="list")
@click.option("--provider", "only", metavar="NAME", help="Only this provider's prices.")
@click.option("--model", "part", metavar="TEXT", help="Only models whose name holds this.")
@json_option
def list_command(loaded: Loaded, only: str | None, part: str | None, as_json: bool) -> None:
    """List prices in dollars per million tokens, or by the unit, each with its source and the day from which it holds.

    `*` in a name stands for anything. Prices of your own stand above those that came with the program (those of the
    database above those of your price_files), an exact name above a pattern, a newer date above an older one. A model
    that no line fits has an unknown cost.

    \b
    Examples:
      batchrunner prices list
      batchrunner prices list --provider together --model llama-3.3
      batchrunner prices list --json
    """
    from batchrunner.api.pricing import whole_book

    listed = [
        (price, name)
        for price in whole_book(loaded).prices
        for name in price.names
        if only in (None, price.provider) and (part or "").casefold() in name.casefold()
    ]
    if as_json:
        print_json({"schema": "batchrunner.prices/1", "prices": [_facts(price, name) for price, name in listed]})
        return
    show_prices(listed)
    talk(plural(len(listed), "price"), quiet=loaded.settings.quiet)


@verb(name="show")
@click.argument("name", metavar="MODEL")
@click.option("--provider", "only", metavar="NAME", help="Whose model it is.  [default: the configured one]")
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="On another day than today, UTC.")
@click.option(
    "--class", "processing", type=click.Choice(CLASSES), default=LIVE, help="Of what calls.", show_default=True
)
@json_option
def show_command(
    loaded: Loaded, name: str, *, only: str | None, day: datetime | None, processing: str, as_json: bool
) -> int:
    """Show what a call to a model is priced by, and where that price was read. Exit code 2: its cost is unknown.

    \b
    Examples:
      batchrunner prices show openai/gpt-oss-20b
      batchrunner prices show whisper-1 --provider openai
      batchrunner prices show deepseek-ai/DeepSeek-V3 --on 2026-08-31
    """
    from batchrunner.api.pricing import whole_book

    provider = only or loaded.settings.provider
    moment = SystemClock().now() if day is None else round(day.replace(tzinfo=UTC).timestamp() * SECOND)
    card = whole_book(loaded).card(provider, name, moment, processing)
    if as_json:
        whose = {"provider": provider, "model": name, "class": processing}
        print_json({"schema": "batchrunner.price/1", **whose, "price": _card_facts(card)})
    elif card is None:
        talk(f"{provider} {name} has no price: what its calls cost is unknown, and in no sum")
        talk("  try: batchrunner prices set, or batchrunner prices list")
    else:
        table(("price", "USD"), list(_lines(card)), right=(1,))
        since = when(card.valid_from)[:10] if card.valid_from else "always"  # type: ignore[index]
        talk(f"by the entry {card.model!r}, valid from {since}; {card.source or 'no source given'}")
    return ExitCode.OK if card is not None else ExitCode.USAGE


def _lines(card: "RateCard") -> Iterator[tuple[str, str]]:
    """Yield each price of a card, those of long prompts, and what is taken off."""
    for key, usd in price_facts(card).items():
        if key == "above":
            for tier in usd:
                yield from ((f"{name} above {tier['tokens']:,}", tier[name]) for name in tier if name != "tokens")
        elif key == "discounts":
            yield from (("less", f"{each}%") for each in usd)
        else:
            yield key, str(usd)


def _card_facts(card: "RateCard | None") -> dict[str, Any] | None:
    if card is None:
        return None
    since = when(card.valid_from) if card.valid_from else None
    return {"usd": price_facts(card), "entry": card.model, "valid_from": since and since[:10], "source": card.source}


def _facts(price: "Price", name: str) -> dict[str, Any]:
    tokens = [None] * 3 if price.unpriced else [per_million(each) for each in _picos(price)]
    return {
        "provider": price.provider,
        "model": name,
        "usd_per_million_tokens": dict(zip(("input", "cached", "output"), tokens, strict=True)),
        "usd": {} if price.unpriced else price_facts(price),
        "class": price.processing,
        "discount_percent": None if price.discount is None else percent(price.discount).rstrip("%"),
        "unpriced": price.unpriced,
        "valid_from": day_of(price),
        "source": price.source,
        "retrieved": price.retrieved or None,
        "own": price.priority > 0,
    }


def _picos(price: "Price") -> tuple[int | None, int | None, int | None]:
    return price.input, price.cached, price.output


for each in (list_command, show_command, set_command, import_command, check_command):
    command.add_command(each)
