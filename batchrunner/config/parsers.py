"""How values of settings are read and checked, from files, the environment and flags alike.

Each raises ValueError with a reason.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from batchrunner.config.assignments import check_json, check_setting_key
from batchrunner.config.units import PICO, parse_count, parse_duration, parse_money, parse_rate, parse_size
from batchrunner.core.budget import MOST_MONEY
from batchrunner.core.pricing import pico_per_token
from batchrunner.transport.hosts import normalise


class Place(NamedTuple):
    """What a path is read against."""

    folder: Path
    """Where relative paths start: the working folder, or the folder of the file that holds the value."""
    home: str | None
    """What ``~`` means."""


Parse = Callable[[object, Place], object]
"""Turns what was given into the value. Raises ValueError with a reason."""


def count(low: int, high: int) -> Parse:
    """Return how whole numbers of a range are read, such as ``20k``."""

    def parse(raw: object, _: Place) -> int:
        number = parse_count(raw)
        if not low <= number <= high:
            raise ValueError(f"it must be from {low:,} to {high:,}")
        return number

    return parse


def rate(raw: object, _: Place) -> float:
    """Read what is allowed in a minute."""
    rate = parse_rate(raw)
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError("it must be greater than 0; leave it out for no limit")
    return rate


def cap(raw: object, _: Place) -> int:
    """Read a cap on money in dollars, as pico-dollars."""
    pico = parse_money(raw)
    if pico > MOST_MONEY:
        raise ValueError(f"it must be at most {MOST_MONEY // PICO:,} dollars")
    return pico


def price_pair(raw: object, _: Place) -> tuple[int, int]:
    """Read an assumed price, USD per million tokens of input and of output, as pico-dollars per token."""
    parts = raw.split("/") if isinstance(raw, str) else ()
    if len(parts) != 2:
        raise ValueError("it must be dollars per million tokens of input and of output, such as 0.50/1.50")
    given, made = (pico_per_token(part.strip().removeprefix("$")) for part in parts)
    return given, made


def or_auto(parse: Parse) -> Parse:
    """Return how a value is read for which ``auto`` may stand."""

    def read(raw: object, place: Place) -> object:
        return "auto" if isinstance(raw, str) and raw.strip() == "auto" else parse(raw, place)

    return read


def duration(low: float, high: float, allowed: str) -> Parse:
    """Return how a time is read; ``allowed`` says in words what ``low`` and ``high`` seconds allow."""

    def parse(raw: object, _: Place) -> float:
        seconds = parse_duration(raw)
        if not low <= seconds <= high:
            raise ValueError(f"it must be {allowed}")
        return seconds

    return parse


def size(raw: object, _: Place) -> int:
    """Read a size of 1 KiB to 1 GiB."""
    number = parse_size(raw)
    if not 1024 <= number <= 1 << 30:
        raise ValueError("it must be from 1KiB to 1GiB")
    return number


def factor(raw: object, _: Place) -> float:
    """Read by how much something is multiplied, such as ``2x``."""
    factor = parse_rate(raw.strip().removesuffix("x") if isinstance(raw, str) else raw)
    if not 1 < factor <= 16:
        raise ValueError("it must be greater than 1x and at most 16x")
    return factor


def choice(*words: str) -> Parse:
    """Return how one of some words is read."""

    def parse(raw: object, _: Place) -> str:
        if isinstance(raw, str) and raw.strip() in words:
            return raw.strip()
        raise ValueError(f"it must be one of {', '.join(words)}")

    return parse


def text(raw: object, _: Place) -> str:
    """Read a short text."""
    if isinstance(raw, str) and raw.strip() and raw.isprintable() and len(raw) <= 1_024:
        return raw.strip()
    raise ValueError("it must be text on one line")


def switch(raw: object, _: Place) -> bool:
    """Read yes or no."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in words:
        return words[raw.strip().lower()]
    raise ValueError("it must be true or false")


def path(raw: object, place: Place) -> Path:
    """Read a path, which may begin with ``~``."""
    text = os.fspath(raw) if isinstance(raw, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError("it must be the path of a file")
    if "://" in text:
        raise ValueError("it must be the path of a file, not a URL")
    if text == "~" or text.startswith("~/"):
        if not place.home:
            raise ValueError("'~' means nothing here, since HOME is not set; write the whole path")
        text = place.home + text[1:]
    return place.folder / text


def paths(raw: object, place: Place) -> tuple[Path, ...]:
    """Read paths, a list of them or as ``PATH`` has them."""
    if isinstance(raw, str):
        raw = [part for part in raw.split(os.pathsep) if part]
    if not isinstance(raw, list | tuple):
        raise ValueError("it must be a list of paths")
    return tuple(path(each, place) for each in raw)


def provider_name(raw: object, _: Place) -> str:
    """Read a provider's name. Raises ValueError."""
    if isinstance(raw, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", raw):
        return raw
    raise ValueError("a provider's name is 1 to 64 lower-case letters, digits, '_' or '-'")


def key_env(raw: object, _: Place) -> str:
    """Read the name of an environment variable; none where no key is needed."""
    if isinstance(raw, str) and (not raw or re.fullmatch(r"[A-Z_][A-Z0-9_]*", raw)):
        return raw
    raise ValueError(
        "it must be the NAME of the environment variable that holds the key, in capitals, and never the key itself; "
        "an empty string for a server without a key"
    )


def base_url(raw: object, _: Place) -> str:
    """Read the URL that an API is at."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("it must be a URL")
    return normalise(raw.strip())


def pairs(check: Callable[[str, object], tuple[str, str]]) -> Parse:
    """Return how assignments are read, a table or ``KEY=VALUE`` texts, each looked at by ``check``."""

    def parse(raw: object, _: Place) -> tuple[tuple[str, str], ...]:
        listed = list(raw.items()) if isinstance(raw, Mapping) else raw
        if not isinstance(listed, list | tuple):
            raise ValueError("it must be pairs of key and value")
        checked: dict[str, str] = {}
        for pair in listed:
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ValueError("it must be pairs of key and value")
            key, value = check(pair[0], pair[1])
            if key in checked:
                raise ValueError(f"{key!r} is given twice")
            checked[key] = value
        return tuple(sorted(checked.items()))

    return parse


def setting(key: str, value: object) -> tuple[str, str]:
    """Read one field of bodies and its value as JSON."""
    if not isinstance(value, str):
        raise ValueError(f"the value of {key!r} must be JSON text, such as '512'")
    return check_setting_key(key), check_json(key, value)
