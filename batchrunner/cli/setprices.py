"""``prices set`` and ``prices import``: entries are added to a price file, none is ever changed in it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import verb
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.cli.units import price_facts
from batchrunner.config import Loaded
from batchrunner.core.clock import SECOND, SystemClock
from batchrunner.core.errors import ConfigurationError

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price

_DAY = click.DateTime(["%Y-%m-%d"])
_FILE = click.option("--file", "path", metavar="PATH", help="The price file.  [default: the last of price_files]")
_FROM = click.option("--from", "since", type=_DAY, metavar="DAY", help="First day, UTC.  [default: always]")


def _price_options(function: Any) -> Any:
    """Add an option for every price that an entry can have."""
    from batchrunner.formats.pricefile import RATES

    for key, rate in reversed(list(RATES.items())):
        function = click.option(f"--{key.replace('_', '-')}", key, metavar="USD", help=f"Per {rate.per}.")(function)
    return function


@verb(name="set")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--provider", "whose", metavar="NAME", help="Whose models they are.  [default: the configured one]")
@_price_options
@click.option("--steps", type=click.IntRange(min=1), help="Steps that --megapixel pays for; more cost more.")
@click.option("--unpriced", is_flag=True, help="Their cost is unknown.")
@click.option("--source", default="", metavar="TEXT", help="Where the price was read: a page, a contract.")
@_FROM
@_FILE
def set_command(
    loaded: Loaded,
    models: tuple[str, ...],
    *,
    whose: str | None,
    steps: int | None,
    unpriced: bool,
    source: str,
    since: datetime | None,
    path: str | None,
    **prices: str | None,
) -> None:
    """Put a price of your own into a price file; it stands above those that came with the program.

    Prices are dollars per million tokens or characters, per picture, megapixel, hour or search. What was run already
    keeps the price that it was run at.

    \b
    Examples:
      batchrunner prices set openai/gpt-oss-20b --input 0.04 --output 0.16 --source "contract 2026-7"
      batchrunner prices set acme/painter --provider acme --megapixel 0.0027 --steps 4 --file prices.toml
      batchrunner prices set whisper-1 --provider openai --minute 0.006 --from 2026-12-01
    """
    from batchrunner.formats.pricefile import price_of

    given = {key: text for key, text in prices.items() if text is not None}
    entry: dict[str, Any] = {"provider": whose or loaded.settings.provider, "names": list(models), **given}
    entry |= {key: value for key, value in (("steps", steps), ("source", source), ("unpriced", unpriced)) if value}
    if source:
        entry["retrieved"] = _today().isoformat()
    if since is not None:
        entry["valid_from"] = since.date()
    _append(loaded, path, [price_of(entry, "the price")])


@verb(name="import")
@click.argument("listing", metavar="FILE")
@click.option("--provider", "whose", metavar="NAME", multiple=True, help="Only this provider's.  [default: ours]")
@_FROM
@_FILE
def import_command(
    loaded: Loaded, listing: str, whose: tuple[str, ...], since: datetime | None, path: str | None
) -> None:
    """Take prices from LiteLLM's price file (JSON), or from another price file (TOML), into yours.

    Only what differs from the price book is added, so the same file can be imported again. What is listed twice for
    one thing is charged once; what has a condition that an entry can't hold is taken in as unpriced, and said.

    \b
    Examples:
      batchrunner prices import model_prices_and_context_window.json --file prices.toml
      batchrunner prices import colleague.toml --provider together
    """
    from batchrunner.api import price_book
    from batchrunner.formats.litellm import read_litellm
    from batchrunner.formats.pricefile import parse_prices, read_prices

    file = Path(listing)
    providers = whose or tuple(loaded.settings.providers)
    content, first = read_prices(file), 0 if since is None else _microseconds(since)
    if file.suffix == ".toml":
        prices = [price for price in parse_prices(content, listing) if price.provider in providers]
    else:
        imported = read_litellm(content, providers, retrieved=_today().isoformat(), valid_from=first)
        prices = imported.prices
        _tell(imported.skipped, "left out")
        _tell(imported.unpriced, "taken in as unpriced")
        if imported.once:
            talk(f"{plural(imported.once, 'price')} listed twice for one thing, and charged once")
    fresh = list(_news(prices, price_book(loaded.settings)))
    if not fresh:
        known = f"{plural(len(prices), 'price')} read, all of them known"
        none = f"there is no price of {one_line(', '.join(providers), 100)} in {listing}"
        talk(f"{known if prices else none}: nothing was written", quiet=loaded.settings.quiet)
        return
    _append(loaded, path, fresh)


def _news(prices: Sequence["Price"], book: Any) -> Iterator["Price"]:
    """Yield the prices that would change what a model is priced by."""
    now = SystemClock().now()
    for price in prices:
        cards = [book.card(price.provider, name, max(now, price.valid_from)) for name in price.names]
        wanted = None if price.unpriced else price_facts(price)
        if any((None if card is None else price_facts(card)) != wanted for card in cards):
            yield price


def _append(loaded: Loaded, path: str | None, prices: Sequence["Price"]) -> None:
    from batchrunner.formats.pricefile import append_prices

    known = [Path(each).resolve() for each in loaded.settings.price_files]
    if path is None and not known:
        raise ConfigurationError(
            "there is no price file of yours",
            hint='give one with --file prices.toml, and name it in batchrunner.toml: price_files = ["prices.toml"]',
        )
    target = known[-1] if path is None else Path(path)
    append_prices(target, prices)
    rows = [(price.provider, one_line(", ".join(price.names), 60), _shown(price)) for price in prices]
    table(("provider", "model", "USD"), rows)
    talk(f"{plural(len(prices), 'entry', 'entries')} added to {target}", quiet=loaded.settings.quiet)
    of_providers = {each.prices.resolve() for each in loaded.settings.providers.values() if each.prices is not None}
    if target.resolve() not in (*known, *of_providers):
        talk(f'note: {target} is read once batchrunner.toml names it: price_files = ["{target}"]')


def _shown(price: "Price") -> str:
    facts = price_facts(price)
    return "unpriced" if price.unpriced else ", ".join(f"{name} {usd}" for name, usd in facts.items())


def _tell(reasons: Mapping[str, int], what: str) -> None:
    for reason, number in sorted(reasons.items(), key=lambda item: -item[1]):
        talk(f"{plural(number, 'entry', 'entries')} {what}: {reason}")


def _today() -> date:
    return datetime.fromtimestamp(SystemClock().now() / SECOND, UTC).date()


def _microseconds(day: datetime) -> int:
    return round(day.replace(tzinfo=UTC).timestamp() * SECOND)
