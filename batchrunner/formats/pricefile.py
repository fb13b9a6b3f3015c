"""Price files: TOML that people edit, read into the price book.

``[[price]]`` entries with ``provider``, ``names`` and ``input``; optional ``output``, ``cached``, ``valid_from``,
``source``, ``retrieved`` and ``unpriced``. Prices are USD per million tokens, best written as strings.
"""

import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import Price, PriceBook, pico_per_token

BUILT_IN = "prices.toml"
NEEDED = ("provider", "names", "input")
KNOWN = frozenset((*NEEDED, "output", "cached", "valid_from", "source", "retrieved", "unpriced", "currency"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load_prices(paths: Iterable[str | Path] = ()) -> PriceBook:
    """Return the prices that come with the program, below those of these files; a later file stands above an earlier.

    Raises ConfigurationError that names the file and the entry at fault.
    """
    built_in = files("batchrunner.formats").joinpath(BUILT_IN).read_bytes()
    prices = parse_prices(built_in, BUILT_IN)
    for priority, path in enumerate(paths, 1):
        prices.extend(parse_prices(_read(Path(path)), str(path), priority=priority))
    return PriceBook(prices)


def parse_prices(content: bytes, name: str, *, priority: int = 0) -> list[Price]:
    """Return the prices of one file. ``name`` is for messages; rows of a higher ``priority`` win.

    Raises ConfigurationError that names the entry at fault.
    """
    try:
        # As Decimal a price keeps the digits that were written, quoted or not.
        found = tomllib.loads(content.decode("utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name} is not TOML: {error}", hint="compare it with `batchrunner prices`") from error
    entries = found.pop("price", [])
    if found or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        odd = ", ".join(found) or "price"
        raise ConfigurationError(f"{name}: expected [[price]] entries only, found `{odd}`", hint="write [[price]]")
    return [_price(entry, f"{name}: price {number}", priority) for number, entry in enumerate(entries, 1)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"can't read the price file {path}: {error.strerror}", hint="check `price_files` in the configuration"
        ) from error


def _price(entry: Mapping[str, Any], where: str, priority: int) -> Price:
    names = entry.get("names")
    if isinstance(names, list) and names:
        where += f" ({names[0]})"
    try:
        _check_keys(entry)
        return Price(
            provider=_text(entry, "provider"),
            names=_names(names),
            input=_pico(entry, "input"),
            output=_pico(entry, "output") if "output" in entry else 0,
            cached=_pico(entry, "cached") if "cached" in entry else None,
            valid_from=_microseconds(entry["valid_from"]) if "valid_from" in entry else 0,
            source=_text(entry, "source") if "source" in entry else "",
            retrieved=str(entry.get("retrieved", "")),
            unpriced=_flag(entry, "unpriced"),
            priority=priority,
        )
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}", hint="mend the entry; nothing was priced by this file") from error


def _check_keys(entry: Mapping[str, Any]) -> None:
    """Raise ValueError for a key that is missing or that we don't know: a misspelled ``cached`` would cost money."""
    for key in entry:
        if key not in KNOWN:
            raise ValueError(f"`{key}` is no key of a price; there are {', '.join(sorted(KNOWN))}")
    for key in NEEDED:
        if key not in entry and not (key == "input" and entry.get("unpriced")):
            raise ValueError(f"`{key}` is missing")
    if entry.get("currency", "USD") != "USD":
        raise ValueError(f"prices are in USD, not {entry['currency']!r}: convert them")


def _names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError('`names` must be a list of model names, such as ["openai/gpt-oss-20b"]')
    return tuple(names)


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` must be a text in quotes")
    return value


def _flag(entry: Mapping[str, Any], key: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"`{key}` must be true or false")
    return value


def _pico(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f'`{key}` must be a price in USD per million tokens, such as "0.88"')
    try:
        return pico_per_token(str(value))
    except ValueError as error:
        raise ValueError(f"`{key}`: {error}") from error


def _microseconds(value: object) -> int:
    """Return a TOML date or time as microseconds UTC; a date begins at midnight UTC, a time without zone is UTC."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        moment = datetime.combine(value, time(), tzinfo=UTC)
    else:
        raise ValueError("`valid_from` must be a date without quotes, such as 2026-09-01")
    if moment < EPOCH:
        raise ValueError("`valid_from` must not be before 1970; leave it out for the start of time")
    return (moment - EPOCH) // timedelta(microseconds=1)
