"""Units other than tokens, as people say them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from batchrunner.cli.text import count, plural
from batchrunner.core.tariff import HOUR, MEGAPIXEL, PRICES, TOKEN_PRICES
from batchrunner.formats.base import exact_usd

if TYPE_CHECKING:
    from batchrunner.core.tariff import Tariff
    from batchrunner.core.usage import Usage
    from batchrunner.store.base import CostRow

MINUTE: Final = HOUR // 60
"""Milliseconds."""


class Column(NamedTuple):
    """A unit in a table."""

    name: str
    """What it is called in a usage."""
    header: str
    shown: Callable[[int], str]


COLUMNS: Final = (
    Column("images", "images", count),
    Column("pixels", "MP", lambda pixels: decimal(pixels, MEGAPIXEL)),
    Column("milliseconds", "minutes", lambda amount: decimal(amount, MINUTE)),
    Column("characters", "characters", count),
    Column("searches", "searches", count),
    Column("audio_input", "audio in", count),
    Column("audio_output", "audio out", count),
    Column("image_input", "image in", count),
    Column("image_output", "image out", count),
)
"""All that ``costs`` can show beside the tokens; the last four are parts of them."""


_SOLD: Final = (
    ("audio_input", "M audio in"),
    ("audio_output", "M audio out"),
    ("image_input", "M image in"),
    ("image_output", "M image out"),
    ("image", "picture"),
    ("megapixel", "MP"),
    ("hour", "hour"),
    ("character", "M characters"),
    ("search", "search"),
)
_BY_THE_MILLION: Final = frozenset({"audio_input", "audio_output", "image_input", "image_output", "character"})


def unit_prices(tariff: "Tariff") -> str:
    """Return the prices of other units than plain tokens in one cell: ``0.0027/MP (4 steps)``; ``-`` for none."""
    told = []
    for name, per in _SOLD:
        pico = getattr(tariff, name)
        if pico is not None:
            steps = f" ({plural(tariff.steps, 'step')})" if name == "megapixel" and tariff.steps else ""
            told.append(f"{usd_of(name, pico)}/{per}{steps}")
    return ", ".join(told) or "-"


def usd_of(name: str, pico: int) -> str:
    """Return a price in USD as it is told: by the million tokens or characters, else by the one."""
    return exact_usd(pico * 10**6 if name in _BY_THE_MILLION or name in TOKEN_PRICES else pico)


def price_facts(tariff: "Tariff") -> dict[str, str | int]:
    """Return all prices that a tariff has as JSON types, in USD, by the names that price files have for them."""
    names = {"character": "characters"}
    told: dict[str, str | int] = {
        names.get(name, name): usd_of(name, pico) for name in PRICES if (pico := getattr(tariff, name)) is not None
    }
    return told | ({"steps": tariff.steps} if tariff.steps is not None else {})


def used(row: "CostRow") -> list[Column]:
    """Return the columns that a total has anything in."""
    return [column for column in COLUMNS if getattr(row, column.name)]


def amounts(units: "Usage") -> Sequence[str]:
    """Return what is asked for in words: ``12 pictures (12.6 MP)``, ``3.5 min of sound or film``."""
    told = []
    if units.images:
        size = f" ({decimal(units.pixels, MEGAPIXEL)} MP)" if units.pixels else ""
        told.append(f"{plural(units.images, 'picture')}{size}")
    if units.milliseconds:
        told.append(f"{decimal(units.milliseconds, MINUTE)} min of sound or film")
    if units.characters:
        told.append(f"{count(units.characters)} characters to speak")
    if units.searches:
        told.append(plural(units.searches, "search", "searches"))
    return told


def decimal(amount: int, whole: int) -> str:
    """Return an amount in a larger unit, to a tenth; never as nothing where it is something."""
    tenths = (20 * amount + whole) // (2 * whole)
    return f"{tenths // 10:,}.{tenths % 10}" if tenths else "<0.1"
