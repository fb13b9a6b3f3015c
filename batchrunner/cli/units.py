"""Units other than tokens, as people say them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from batchrunner.cli.text import count, plural
from batchrunner.core.tariff import HOUR, MEGAPIXEL, PRICES, TOKEN_PRICES
from batchrunner.formats.base import exact_usd

if TYPE_CHECKING:
    from batchrunner.core.terms import Terms
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
    ("reasoning", "M thought"),
    ("image", "picture"),
    ("megapixel", "MP"),
    ("hour", "hour"),
    ("character", "M characters"),
    ("search", "search"),
)
_BY_THE_MILLION: Final = frozenset({*TOKEN_PRICES, "character"})


def unit_prices(tariff: "Terms") -> str:
    """Return the prices of other units than plain tokens in one cell, and what else there is to say of the tokens:
    ``0.0027/MP (4 steps)``, ``above 200,000 in the prompt: input 2.5``; ``-`` for none.
    """
    told = []
    for name, per in _SOLD:
        pico = getattr(tariff, name)
        if pico is not None:
            steps = f" ({plural(tariff.steps, 'step')})" if name == "megapixel" and tariff.steps else ""
            told.append(f"{usd_of(name, pico)}/{per}{steps}")
    for tier in tariff.tiers:
        dearer = " ".join(f"{name} {usd_of(name, pico)}" for name, pico in tier.own().items())
        told.append(f"above {tier.above_tokens:,} in the prompt: {dearer}")
    return ", ".join(told) or "-"


def percent(millionths: int) -> str:
    """Return a discount as people say it: ``12.5%``."""
    whole, part = divmod(millionths, 10_000)
    return f"{whole}.{part:04}".rstrip("0").rstrip(".") + "%"


def usd_of(name: str, pico: int) -> str:
    """Return a price in USD as it is told: by the million tokens or characters, else by the one."""
    return exact_usd(pico * 10**6 if name in _BY_THE_MILLION else pico)


def price_facts(tariff: "Terms") -> dict[str, Any]:
    """Return all prices that a tariff has as JSON types, in USD, by the names that price files have for them.

    ``above`` is there where long prompts have others, ``discounts`` (in percent) where something is taken off a card.
    """
    names = {"character": "characters"}
    told: dict[str, Any] = {
        names.get(name, name): usd_of(name, pico) for name in PRICES if (pico := getattr(tariff, name)) is not None
    }
    if tariff.steps is not None:
        told["steps"] = tariff.steps
    if tariff.tiers:
        told["above"] = [
            {"tokens": tier.above_tokens, **{name: usd_of(name, pico) for name, pico in tier.own().items()}}
            for tier in tariff.tiers
        ]
    discounts = [percent(each).rstrip("%") for each in getattr(tariff, "discounts", ())]
    return told | ({"discounts": discounts} if discounts else {})


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
