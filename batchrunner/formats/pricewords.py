"""Prices in words, the same in every list of them: on the terminal and in a report."""

from typing import Final

from batchrunner.core.tariff import TOKEN_PRICES
from batchrunner.core.terms import Terms
from batchrunner.formats.base import exact_usd

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


def unit_prices(tariff: Terms) -> str:
    """Return the prices of other units than plain tokens in one cell, and what else there is to say of the tokens:
    ``0.0027/MP (4 steps)``, ``above 200,000 in the prompt: input 2.5``; ``-`` for none.
    """
    told = []
    for name, per in _SOLD:
        pico = getattr(tariff, name)
        if pico is not None:
            told.append(f"{usd_of(name, pico)}/{per}{_steps(tariff) if name == 'megapixel' else ''}")
    for tier in tariff.tiers:
        dearer = " ".join(f"{name} {usd_of(name, pico)}" for name, pico in tier.own().items())
        told.append(f"above {tier.above_tokens:,} in the prompt: {dearer}")
    return ", ".join(told) or "-"


def less(told: str, discounts: tuple[int, ...]) -> str:
    """Return what ``unit_prices`` told, and what is taken off all prices: ``0.1/search, less 50%``."""
    off = [f"less {percent(each)}" for each in discounts]
    return ", ".join([*([] if told == "-" and off else [told]), *off])


def percent(millionths: int) -> str:
    """Return a discount as people say it: ``12.5%``."""
    whole, part = divmod(millionths, 10_000)
    return f"{whole}.{part:04}".rstrip("0").rstrip(".") + "%"


def usd_of(name: str, pico: int) -> str:
    """Return a price in USD as it is told: by the million tokens or characters, else by the one."""
    return exact_usd(pico * 10**6 if name in _BY_THE_MILLION else pico)


def _steps(tariff: Terms) -> str:
    if tariff.steps is None:
        return ""
    return " (1 step)" if tariff.steps == 1 else f" ({tariff.steps:,} steps)"
