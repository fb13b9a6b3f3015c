"""Units other than tokens, as people say them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from batchrunner.cli.text import count, plural
from batchrunner.core.tariff import HOUR, MEGAPIXEL, PRICES
from batchrunner.formats.pricewords import percent, usd_of

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
