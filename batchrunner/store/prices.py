"""Prices that people set in a database: an entry is some rows, one for each meter and length of prompt.

They are added and never changed: of two that say the same the newer one counts, and what was priced stays as it was.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, func, insert, select

from batchrunner.core.errors import DatabaseError
from batchrunner.core.pricing import IN_DATABASE, Price
from batchrunner.core.tariff import PRICES, TOKEN_PRICES
from batchrunner.core.terms import Tier
from batchrunner.store.moneytables import prices

ALL = "all"
"""The meter of a row without a price: a discount on every meter, or, without one, that nothing has a known price."""
_EPOCH: Final = date(1970, 1, 1)
_UNITS: Final = dict.fromkeys(TOKEN_PRICES, "token")


def add_prices(connection: Connection, entries: Sequence[Price]) -> None:
    """Add entries, each under a number of its own."""
    last = connection.execute(select(func.coalesce(func.max(prices.c.entry), 0))).scalar_one()
    rows = [row for number, entry in enumerate(entries, last + 1) for row in _rows(number, entry)]
    if rows:
        connection.execute(insert(prices), rows)


def read_prices(connection: Connection) -> list[Price]:
    """Return the entries, the oldest first; they stand above those of files.

    Raises DatabaseError for rows that are no price: somebody has written them by hand.
    """
    rows = connection.execute(select(prices).order_by(prices.c.entry, prices.c.id)).mappings()
    found = []
    for number, group in groupby(rows, key=itemgetter("entry")):
        try:
            found.append(_entry(list(group)))
        except (ValueError, TypeError) as error:
            raise DatabaseError(
                f"entry {number} of the table `prices` is no price: {error}",
                hint="remove its rows, and set it with `batchrunner prices set`",
            ) from error
    return found


def _rows(number: int, entry: Price) -> Iterator[dict[str, Any]]:
    retrieved = _day(entry.retrieved)
    row = {
        "entry": number,
        "names": json.dumps(entry.names, ensure_ascii=False),
        "provider": entry.provider,
        "class": entry.processing,
        "valid_from": entry.valid_from,
        "source": entry.source if retrieved is not None else entry.dated_source,
        "retrieved": retrieved,
        "discount": entry.discount,
        "steps": entry.steps,
        "above_tokens": None,
    }
    if entry.unpriced or not entry.has_prices:
        none = {"pico": None, "steps": None, "discount": None if entry.unpriced else entry.discount}
        yield {**row, "meter": ALL, "unit": "", **none}
        return
    for above, tariff in ((None, entry), *((tier.above_tokens, tier) for tier in entry.tiers)):
        for name in PRICES:
            pico = getattr(tariff, name)
            if pico is not None:
                yield {**row, "meter": name, "unit": _UNITS.get(name, name), "pico": pico, "above_tokens": above}


def _entry(rows: Sequence[RowMapping]) -> Price:
    first = rows[0]
    names = json.loads(first["names"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("`names` is no JSON list of names")
    whole = [row for row in rows if row["meter"] == ALL]
    tariff = _tariff(row for row in rows if row["above_tokens"] is None and row["meter"] != ALL)
    lengths = sorted({row["above_tokens"] for row in rows if row["above_tokens"] is not None})
    return Price(
        provider=first["provider"],
        names=tuple(names),
        processing=first["class"],
        valid_from=first["valid_from"],
        source=first["source"],
        retrieved="" if first["retrieved"] is None else (_EPOCH + timedelta(days=first["retrieved"])).isoformat(),
        discount=first["discount"],
        steps=first["steps"],
        unpriced=bool(whole) and first["discount"] is None,
        tiers=tuple(Tier(above_tokens=n, **_tariff(row for row in rows if row["above_tokens"] == n)) for n in lengths),
        priority=IN_DATABASE,
        **tariff,
    )


def _tariff(rows: Iterable[RowMapping]) -> dict[str, int]:
    found = {row["meter"]: row["pico"] for row in rows}
    odd = found.keys() - set(PRICES)
    if odd or None in found.values():
        raise ValueError(f"there is no meter {min(odd)!r}" if odd else "a meter has no price")
    return found


def _day(written: str) -> int | None:
    """Return a day as the number of days since 1970; None: what was written is something else."""
    try:
        return (datetime.strptime(written, "%Y-%m-%d").date() - _EPOCH).days  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None
