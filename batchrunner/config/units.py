"""Human units: ``3k``, ``2M``, ``50ms``, ``12.50``, read exactly.

Every reader takes what a person typed (text) or what a configuration file or a caller holds (a number) and raises
ValueError with a reason that holds an example. Nothing is rounded: what can't be represented is refused.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from batchrunner.core.pauses import next_time

PICO: Final = 10**12
"""Pico-dollars in a dollar."""

_SCALES: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_BYTES: Final = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_NUMBER = re.compile(r"([+-]?[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)([A-Za-z]?)")
_DURATION = re.compile(
    r"(?:(?P<d>{0})d)?(?:(?P<h>{0})h)?(?:(?P<m>{0})m)?(?:(?P<s>{0})s)?(?:(?P<ms>{0})ms)?".format(r"[0-9]+(?:\.[0-9]+)?")
)
_SECONDS: Final = {
    "d": Fraction(86_400),
    "h": Fraction(3_600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1_000),
}
_LONGEST: Final = 40
"""Characters of a number, and powers of ten either way: far beyond any use, far below what would cost time to read."""

_HUGE: Final = 10**40


def parse_count(given: object) -> int:
    """Read a whole number: ``3k`` is 3,000, ``2M`` two million, ``1_000`` and ``1200`` as they stand."""
    number = _read(given, "a whole number such as 500, 3k or 2M")
    if number.denominator != 1:
        raise ValueError(f"{shown(given)} is not a whole number; write one such as 500, 3k or 2M")
    return number.numerator


def parse_size(given: object) -> int:
    """Read a whole number of bytes: ``8MiB``, ``500kB``, ``1GiB``, ``1048576``."""
    wanted = "a number of bytes such as 8MiB, 500kB or 1GiB"
    text = given.strip() if isinstance(given, str) else given
    unit = "".join(char for char in text if char.isalpha()) if isinstance(text, str) else ""
    if isinstance(text, str) and unit and (unit not in _BYTES or not text.endswith(unit)):
        raise ValueError(f"{shown(given)} is not {wanted}")
    bare = text.removesuffix(unit).rstrip() if isinstance(text, str) else text
    number = _read(bare, wanted, scales={"": 1}) * _BYTES[unit]
    if number.denominator != 1:
        raise ValueError(f"{shown(given)} is not a whole number of bytes; write {wanted}")
    return number.numerator


def parse_rate(given: object) -> float:
    """Read a rate per minute: ``3k``, ``2M``, ``0.3``."""
    return float(_read(given, "a number per minute such as 600, 3k or 2M"))


def parse_money(given: object) -> int:
    """Read dollars (``12.50``, ``$12.50``, ``$2k``) as whole pico-dollars; finer or negative amounts are refused."""
    wanted = "an amount in dollars such as 12.50"
    number = _read(given.strip().removeprefix("$") if isinstance(given, str) else given, wanted) * PICO
    if number < 0:
        raise ValueError(f"{shown(given)} is negative; write {wanted}")
    if number.denominator != 1:
        raise ValueError(f"{shown(given)} is finer than a trillionth of a dollar; write {wanted}")
    return number.numerator


def parse_duration(given: object) -> float:
    """Read a time span in seconds: ``50ms``, ``10s``, ``5m``, ``6h``, ``2d``, ``1h30m``; a bare number is seconds."""
    wanted = "a duration such as 50ms, 10s, 5m or 6h"
    text = given.strip() if isinstance(given, str) else ""
    if text and len(text) <= _LONGEST and (match := _DURATION.fullmatch(text)):
        parts = match.groupdict(default="0")
        return float(sum(Fraction(parts[unit]) * seconds for unit, seconds in _SECONDS.items()))
    number = _read(given, wanted, scales={"": 1})
    if number < 0:
        raise ValueError(f"{shown(given)} is negative; write {wanted}")
    return float(number)


def parse_when(given: object) -> str:
    """Read a local time of day (``06:30``) or an ISO 8601 date-time; it stays text until a run knows what is next."""
    text = given.strip() if isinstance(given, str) else ""
    next_time(text, 0)
    return text


def shown(given: object) -> str:
    """Return what was given as it may stand in a message: quoted, escaped, and short."""
    try:
        text = ascii(given) if isinstance(given, str) else str(given)
    except ValueError:  # Python refuses to spell out integers of more than 4,300 digits
        return "a huge number"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _read(given: object, wanted: str, scales: dict[str, int] = _SCALES) -> Fraction:
    """Return the exact number; ``wanted`` says in a person's words what it should have been."""
    if isinstance(given, str):
        text = given.strip()
        match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
        if match and match[2] in scales:
            return Fraction(match[1].replace("_", "")) * scales[match[2]]
        if match and match[2] == "m" and "M" in scales:
            raise ValueError(f"{shown(given)} is not {wanted}; a million is a capital M")
    elif isinstance(given, int | float | Decimal) and not isinstance(given, bool):
        exact = Decimal(repr(given)) if isinstance(given, float) else given
        if _is_handy(exact):
            return Fraction(exact)
    raise ValueError(f"{shown(given)} is not {wanted}")


def _is_handy(number: int | Decimal) -> bool:
    """Whether it is a number at all, and its exact form is short: ``1e999999999`` would fill the memory."""
    if isinstance(number, int):
        return -_HUGE < number < _HUGE
    _, digits, exponent = number.as_tuple()
    return isinstance(exponent, int) and abs(exponent) <= _LONGEST and len(digits) <= _LONGEST
