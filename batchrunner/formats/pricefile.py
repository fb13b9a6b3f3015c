"""Price files: TOML that people edit, read into the price book.

``[[price]]`` entries with ``provider``, ``names`` and at least one price or a ``discount``; optional ``steps``,
``class``, ``valid_from``, ``source``, ``retrieved`` and ``unpriced``, and beneath them ``[[price.above]]`` with what
long prompts cost. Prices are USD, best written as strings; ``RATES`` says per what each is.
"""

import contextlib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import LIVE, PICO, Price, PriceBook, whole_picos
from batchrunner.core.tariff import TOKEN_PRICES, Tariff
from batchrunner.core.terms import WHOLE, Tier
from batchrunner.formats.replace import Replacement

BUILT_IN = "prices.toml"
NEEDED = ("provider", "names")


class Rate(NamedTuple):
    """A price as people write it."""

    price: str
    """Its name in a tariff."""
    times: int
    """What makes pico-dollars of a dollar of it."""
    per: str


_PER_MILLION = 10**6
RATES: Final[Mapping[str, Rate]] = {
    **{name: Rate(name, _PER_MILLION, "million tokens") for name in TOKEN_PRICES},
    "image": Rate("image", PICO, "picture"),
    "megapixel": Rate("megapixel", PICO, "megapixel"),
    "hour": Rate("hour", PICO, "hour"),
    "minute": Rate("hour", 60 * PICO, "minute"),
    "second": Rate("hour", 3_600 * PICO, "second"),
    "characters": Rate("character", _PER_MILLION, "million characters"),
    "search": Rate("search", PICO, "search"),
}
"""The prices that an entry can have. Time is told per hour, minute or second, once."""
_WRITTEN: Final[Mapping[str, Rate]] = {key: rate for key, rate in RATES.items() if key not in ("minute", "second")}
KNOWN = frozenset(
    (
        *NEEDED,
        *RATES,
        "steps",
        "class",
        "discount",
        "above",
        "valid_from",
        "source",
        "retrieved",
        "unpriced",
        "currency",
    )
)
_OF_A_TIER = frozenset(("tokens", *TOKEN_PRICES))
_PERCENT = 10_000
"""Millionths of one percent."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load_prices(paths: Iterable[str | Path] = ()) -> PriceBook:
    """Return the prices that come with the program, below those of these files; a later file stands above an earlier.

    Raises ConfigurationError that names the file and the entry at fault.
    """
    built_in = files("batchrunner.formats").joinpath(BUILT_IN).read_bytes()
    prices = parse_prices(built_in, BUILT_IN)
    for priority, path in enumerate(paths, 1):
        prices.extend(parse_prices(read_prices(Path(path)), str(path), priority=priority))
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
    return [price_of(entry, f"{name}: price {number}", priority) for number, entry in enumerate(entries, 1)]


def price_entry(price: Price) -> str:
    """Return a price as an entry of a price file: read again it is the same, but for its priority."""
    lines = ["[[price]]", f"provider = {_quoted(price.provider)}"]
    lines.append(f"names = [{', '.join(map(_quoted, price.names))}]")
    lines += _rate_lines(price, _WRITTEN)
    if price.steps is not None:
        lines.append(f"steps = {price.steps}")
    if price.processing != LIVE:
        lines.append(f"class = {_quoted(price.processing)}")
    if price.discount is not None:
        lines.append(f'discount = "{exact_decimal(price.discount, _PERCENT)}"')
    if price.valid_from:
        lines.append(f"valid_from = {_moment(price.valid_from)}")
    lines += [f"{key} = {_quoted(text)}" for key in ("source", "retrieved") if (text := getattr(price, key))]
    if price.unpriced:
        lines.append("unpriced = true")
    for tier in price.tiers:
        lines += "[[price.above]]", f"tokens = {tier.above_tokens}", *_rate_lines(tier, TOKEN_PRICES)
    return "\n".join(lines) + "\n"


def _rate_lines(tariff: Tariff, keys: Iterable[str]) -> list[str]:
    rates = [(key, RATES[key]) for key in keys]
    told = [(key, rate, pico) for key, rate in rates if (pico := getattr(tariff, rate.price)) is not None]
    return [f'{key} = "{exact_decimal(pico, rate.times)}"' for key, rate, pico in told]


def append_prices(path: Path, prices: Sequence[Price]) -> None:
    """Add entries to the end of a price file, which is made where there is none. Entries that are there stay.

    Raises ConfigurationError for a file that is no price file, and what ``Replacement`` raises.
    """
    target = path.resolve()
    before = read_prices(target) if target.exists() else b""
    parse_prices(before, str(path))
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    content = before + gap + "\n".join(map(price_entry, prices)).encode()
    parse_prices(content, str(path))
    with Replacement(target) as made:
        if before:
            os.fchmod(made.file.fileno(), target.stat().st_mode & 0o777)
        made.file.write(content)
        made.commit()


def exact_decimal(amount: int, times: int) -> str:
    """Return a whole number divided by a power of ten as a decimal, every digit."""
    digits = len(str(times)) - 1
    whole, part = divmod(amount, times)
    return f"{whole}.{part:0{digits}}".rstrip("0") if part else str(whole)


def _quoted(text: str) -> str:
    """Return text as TOML's basic string, which knows JSON's escapes but one."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _moment(microseconds: int) -> str:
    moment = EPOCH + timedelta(microseconds=microseconds)
    return moment.date().isoformat() if moment.time() == time() else moment.isoformat()


def read_prices(path: Path) -> bytes:
    """Return the bytes of a price file. Raises ConfigurationError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"can't read the price file {path}: {error.strerror}",
            hint="check `price_files`, and `prices` of the providers, in the configuration",
        ) from error


def price_of(entry: Mapping[str, Any], where: str, priority: int = 0) -> Price:
    """Return an entry as a price. Raises ConfigurationError that begins with ``where``."""
    names = entry.get("names")
    if isinstance(names, list) and names:
        where += f" ({names[0]})"
    try:
        _check_keys(entry)
        return Price(
            provider=_text(entry, "provider"),
            names=_names(names),
            valid_from=_microseconds(entry["valid_from"]) if "valid_from" in entry else 0,
            source=_text(entry, "source") if "source" in entry else "",
            retrieved=str(entry.get("retrieved", "")),
            unpriced=_flag(entry, "unpriced"),
            processing=_text(entry, "class") if "class" in entry else LIVE,
            discount=_millionths(entry["discount"]) if "discount" in entry else None,
            tiers=_tiers(entry.get("above", [])),
            priority=priority,
            steps=_steps(entry),
            **_picos(entry),
        )
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}", hint="mend the entry; nothing was priced by this file") from error


def _check_keys(entry: Mapping[str, Any]) -> None:
    """Raise ValueError for a key that is missing or that we don't know: a misspelled ``cached`` would cost money."""
    for key in entry:
        if key not in KNOWN:
            raise ValueError(f"`{key}` is no key of a price; there are {', '.join(sorted(KNOWN))}")
    for key in NEEDED:
        if key not in entry:
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


def _picos(entry: Mapping[str, Any]) -> dict[str, int]:
    """Return the prices of an entry by their names in a tariff. Raises ValueError where time is priced twice."""
    found: dict[str, int] = {}
    for key, rate in RATES.items():
        if key in entry:
            if rate.price in found:
                raise ValueError(f"`{key}` is one price too many: give time per `hour`, `minute` or `second`, once")
            found[rate.price] = _pico(entry, key, rate)
    return found


def _pico(entry: Mapping[str, Any], key: str, rate: Rate) -> int:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f'`{key}` must be a price in USD per {rate.per}, such as "0.88"')
    try:
        return whole_picos(str(value), rate.times, rate.per)
    except ValueError as error:
        raise ValueError(f"`{key}`: {error}") from error


def _steps(entry: Mapping[str, Any]) -> int | None:
    value = entry.get("steps")
    if value is not None and type(value) is not int:
        raise ValueError("`steps` must be a whole number, such as 4")
    return value


def _millionths(value: object) -> int:
    """Return a discount in percent as millionths. Raises ValueError for what is finer than that."""
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation, Inexact), localcontext(Context(traps=[InvalidOperation, Inexact])):
            exact = Decimal(value) * _PERCENT
            if 0 <= exact <= WHOLE and exact == int(exact):
                return int(exact)
    raise ValueError('`discount` must be a percentage from 0 to 100 with at most four decimals, such as "50"')


def _tiers(found: object) -> tuple[Tier, ...]:
    """Return what long prompts cost, in order. Raises ValueError for what is no such table."""
    if not isinstance(found, list) or not all(isinstance(tier, dict) for tier in found):
        raise ValueError("`above` must be tables: [[price.above]] with `tokens` and prices")
    return tuple(sorted(map(_tier, found), key=lambda tier: tier.above_tokens))


def _tier(found: Mapping[str, Any]) -> Tier:
    odd = sorted(found.keys() - _OF_A_TIER)
    if odd:
        raise ValueError(f"`{odd[0]}` is no key of [[price.above]]; there are {', '.join(sorted(_OF_A_TIER))}")
    tokens = found.get("tokens")
    if type(tokens) is not int:
        raise ValueError("`tokens` of [[price.above]] must be a whole number, such as 200_000")
    return Tier(above_tokens=tokens, **_picos(found))


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
