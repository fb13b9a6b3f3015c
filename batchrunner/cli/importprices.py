"""``prices import``: from LiteLLM's file, a price file, or a provider's own catalogue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from batchrunner.cli.days import microseconds, today
from batchrunner.cli.options import verb
from batchrunner.cli.render import talk
from batchrunner.cli.setprices import FILE, FROM, IN_DB, put
from batchrunner.cli.text import one_line, plural
from batchrunner.cli.units import price_facts
from batchrunner.config import Loaded
from batchrunner.core.attempt import Failure
from batchrunner.core.clock import SystemClock
from batchrunner.core.errors import ExitCode

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price, PriceBook, RateCard
    from batchrunner.formats.litellm import Imported


@verb(name="import")
@click.argument("listing", metavar="[FILE]", required=False)
@click.option("--models", "catalogue", is_flag=True, help="Ask the provider what it lists, instead of reading a file.")
@click.option("--provider", "whose", metavar="NAME", multiple=True, help="Only this provider's.  [default: ours]")
@FROM
@FILE
@IN_DB
def import_command(
    loaded: Loaded,
    listing: str | None,
    *,
    catalogue: bool,
    whose: tuple[str, ...],
    since: datetime | None,
    path: str | None,
    in_db: bool,
) -> int:
    """Take prices from LiteLLM's file (JSON), another price file (TOML), or what a provider lists (--models).

    Only what differs from the price book is added, so the same file can be imported again. What is listed twice for
    one thing is charged once; what has a condition that an entry can't hold is taken in as unpriced, and said. What a
    provider lists holds from today on, all else from the start of time, unless --from says otherwise.

    \b
    Examples:
      batchrunner prices import model_prices_and_context_window.json
      batchrunner prices import colleague.toml --provider together --file prices.toml
      batchrunner prices import --models --provider together
    """
    if catalogue == (listing is not None):
        raise click.UsageError("give a FILE, or --models for what the provider lists")
    if listing is None:
        found = _listed(loaded, whose or (loaded.settings.provider,), since)
        if isinstance(found, int):
            return found
        prices, where = found, "the catalogue"
    else:
        prices, where = _read(listing, whose or tuple(loaded.settings.providers), since), listing
    _add(loaded, prices, where, whose, path=path, in_db=in_db)
    return ExitCode.OK


def _listed(loaded: Loaded, providers: Sequence[str], since: datetime | None) -> "list[Price] | int":
    """Return what providers list; an exit code where one of them does not answer: then nothing is added."""
    from batchrunner.api.catalogue import listed_prices
    from batchrunner.cli.models import tell_failure

    day, prices = today(), list[Any]()
    first = microseconds(since or day)
    for provider in providers:
        ask = partial(listed_prices, loaded, provider, retrieved=day.isoformat(), valid_from=first)
        found = anyio.run(ask)
        if isinstance(found, Failure):
            return tell_failure(found, provider)
        _tell_all(found)
        prices += found.prices
    return prices


def _read(listing: str, providers: Sequence[str], since: datetime | None) -> "list[Price]":
    from batchrunner.formats.litellm import read_litellm
    from batchrunner.formats.pricefile import parse_prices, read_prices

    content = read_prices(Path(listing))
    if Path(listing).suffix == ".toml":
        prices = [price for price in parse_prices(content, listing) if price.provider in providers]
        return prices if since is None else [replace(price, valid_from=microseconds(since)) for price in prices]
    first = 0 if since is None else microseconds(since)
    imported = read_litellm(content, providers, retrieved=today().isoformat(), valid_from=first)
    _tell_all(imported)
    return imported.prices


def _add(
    loaded: Loaded, prices: Sequence["Price"], where: str, whose: Sequence[str], *, path: str | None, in_db: bool
) -> None:
    from batchrunner.api.pricing import whole_book

    fresh = list(_news(prices, whole_book(loaded)))
    if fresh:
        put(loaded, path, fresh, in_db=in_db)
        return
    known = f"{plural(len(prices), 'price')} read, all of them known"
    none = f"there is no price of {one_line(', '.join(whose or loaded.settings.providers), 100)} in {where}"
    talk(f"{known if prices else none}: nothing was written", quiet=loaded.settings.quiet)


def _news(prices: Sequence["Price"], book: "PriceBook") -> Iterator["Price"]:
    """Yield the prices that would change what a model is priced by."""
    above, now = max((price.priority for price in book.prices), default=0) + 1, SystemClock().now()
    after = book.with_more(replace(price, priority=above) for price in prices)
    for price in prices:
        at = max(now, price.valid_from)
        cards = [
            [each.card(price.provider, name, at, price.processing) for each in (book, after)] for name in price.names
        ]
        if any(_facts(before) != _facts(then) for before, then in cards):
            yield price


def _facts(card: "RateCard | None") -> dict[str, Any] | None:
    return None if card is None else price_facts(card)


def _tell_all(imported: "Imported") -> None:
    _tell(imported.skipped, "left out")
    _tell(imported.unpriced, "taken in as unpriced")
    if imported.once:
        talk(f"{plural(imported.once, 'price')} listed twice for one thing, and charged once")


def _tell(reasons: Mapping[str, int], what: str) -> None:
    for reason, number in sorted(reasons.items(), key=lambda item: -item[1]):
        talk(f"{plural(number, 'entry', 'entries')} {what}: {reason}")
