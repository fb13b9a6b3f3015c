"""``prices set``, and where prices are put: into the database or a price file. They are added, none is ever changed."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.days import today
from batchrunner.cli.options import verb
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.cli.units import price_facts
from batchrunner.config import Loaded, parse_count
from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.pricewords import percent

if TYPE_CHECKING:
    from batchrunner.core.pricing import Price

_DAY = click.DateTime(["%Y-%m-%d"])
FILE = click.option(
    "--file", "path", metavar="PATH", help="A price file.  [default: the last of price_files, else the database]"
)
IN_DB = click.option("--in-db", is_flag=True, help="Into the database, although there are price_files.")
FROM = click.option("--from", "since", type=_DAY, metavar="DAY", help="First day, UTC.  [default: always]")


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
@click.option("--above", multiple=True, metavar="N:PRICES", help="Of longer prompts: 200k:input=2.5,output=15.")
@click.option("--discount", metavar="PERCENT", help="Off these prices, or off what the models cost without it.")
@click.option("--class", "processing", type=click.Choice(["live", "batch"]), help="Of what calls.  [default: live]")
@click.option("--unpriced", is_flag=True, help="Their cost is unknown.")
@click.option("--source", default="", metavar="TEXT", help="Where the price was read: a page, a contract.")
@FROM
@FILE
@IN_DB
def set_command(
    loaded: Loaded,
    models: tuple[str, ...],
    *,
    whose: str | None,
    steps: int | None,
    above: tuple[str, ...],
    discount: str | None,
    processing: str | None,
    unpriced: bool,
    source: str,
    since: datetime | None,
    path: str | None,
    in_db: bool,
    **prices: str | None,
) -> None:
    """Set a price of your own; it stands above those that came with the program. A live run takes it at once.

    Prices are dollars per million tokens or characters, per picture, megapixel, hour or search. It is put into the
    database, or into your price file if you have one. What was run already keeps the price that it was run at.

    \b
    Examples:
      batchrunner prices set openai/gpt-oss-20b --input 0.04 --output 0.16 --source "contract 2026-7"
      batchrunner prices set "*" --discount 12.5 --from 2026-12-01 --source "contract 2026-7"
      batchrunner prices set acme/long --input 1.25 --output 10 --above 200k:input=2.5,output=15
      batchrunner prices set whisper-1 --provider openai --minute 0.006 --file prices.toml
    """
    from batchrunner.formats.pricefile import price_of

    given = {key: text for key, text in prices.items() if text is not None}
    entry: dict[str, Any] = {"provider": whose or loaded.settings.provider, "names": list(models), **given}
    more = {"steps": steps, "source": source, "unpriced": unpriced, "class": processing, "discount": discount}
    entry |= {key: value for key, value in more.items() if value}
    if above:
        entry["above"] = [_tier(each) for each in above]
    if source:
        entry["retrieved"] = today().isoformat()
    if since is not None:
        entry["valid_from"] = since.date()
    put(loaded, path, [price_of(entry, "the price")], in_db=in_db)


def _tier(text: str) -> dict[str, Any]:
    """Read ``200k:input=2.5,output=15`` as a table of a price file."""
    length, colon, prices = text.partition(":")
    pairs = [each.partition("=") for each in prices.split(",")]
    try:
        if not colon or not all(equals for _, equals, _ in pairs):
            raise ValueError
        return {"tokens": parse_count(length), **{name.strip(): usd.strip() for name, _, usd in pairs}}
    except ValueError:
        raise click.UsageError(f"--above is written as 200k:input=2.5,output=15, not {text[:80]!r}") from None


def put(loaded: Loaded, path: str | None, prices: Sequence["Price"], *, in_db: bool) -> None:
    """Add prices to a file or to the database, and show them."""
    known = loaded.settings.price_files
    if path is not None and in_db:
        raise ConfigurationError("prices go into a file or into the database", hint="give --file or --in-db, not both")
    target = Path(path) if path is not None else known[-1] if known and not in_db else None
    where = _into_database(loaded, prices) if target is None else _into_file(target, prices)
    rows = [(price.provider, one_line(", ".join(price.names), 60), _shown(price)) for price in prices]
    table(("provider", "model", "USD"), rows)
    talk(f"{plural(len(prices), 'entry', 'entries')} added to {where}", quiet=loaded.settings.quiet)
    if target is not None and not _is_read(loaded, target):
        talk(f'note: {target} is read once batchrunner.toml names it: price_files = ["{target}"]')


def _into_database(loaded: Loaded, prices: Sequence["Price"]) -> str:
    from batchrunner.api import verbs

    done = verbs.set_prices(loaded, prices)
    return f"{loaded.settings.db}" + (", and to the run that is going on" if done.live else "")


def _into_file(target: Path, prices: Sequence["Price"]) -> str:
    from batchrunner.formats.pricefile import append_prices

    append_prices(target, prices)
    return str(target)


def _is_read(loaded: Loaded, target: Path) -> bool:
    """Whether the configuration names a file, as one of the person's or of a provider's."""
    configured = {each.prices for each in loaded.settings.providers.values() if each.prices is not None}
    return target.resolve() in {each.resolve() for each in (*configured, *loaded.settings.price_files)}


def _shown(price: "Price") -> str:
    if price.unpriced:
        return "unpriced"
    facts = [f"{name} {usd}" for name, usd in price_facts(price).items() if name != "above"]
    facts += [f"above {tier.above_tokens:,} tokens other prices" for tier in price.tiers]
    off = [] if price.discount is None else [f"less {percent(price.discount)}"]
    return ", ".join([*([] if price.processing == "live" else ["in batches"]), *facts, *off])
