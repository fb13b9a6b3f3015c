"""The prices that calls were priced by, as a report lists them: with the day from which each holds, and its source."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from batchrunner.core.clock import SECOND
from batchrunner.core.figures import Figures, Rate
from batchrunner.core.pricing import RateCard
from batchrunner.core.tariff import PRICES, TOKEN_PRICES
from batchrunner.formats.base import exact_usd
from batchrunner.formats.markup import Html, element, text
from batchrunner.formats.reportcells import number
from batchrunner.formats.reporttables import Head, table

MOST: Final = 100
"""Cards that are listed."""
_PER_MILLION: Final = frozenset({*TOKEN_PRICES, "character"})
_TOLD: Final = frozenset({*PRICES, "provider", "model", "valid_from", "source"})


def prices(figures: Figures) -> Html:
    """Return the prices that calls were priced by, with where each is from."""
    if not figures.rates:
        return element("p", "No call was priced.", class_="nothing")
    order = sorted(figures.rates, key=lambda rate: (rate.card.provider, rate.card.model, rate.card.valid_from))
    heads = [
        Head("Entry of the price book", figures=False),
        Head("Provider", figures=False),
        Head("In, $/M"),
        Head("Cached, $/M"),
    ]
    heads += [Head("Out, $/M"), Head("Other, $", figures=False), Head("Valid from", figures=False)]
    heads += [Head("Source", figures=False), Head("Calls")]
    more = f" (the first {MOST} of {len(order):,})" if len(order) > MOST else ""
    caption = f"Prices that these calls were priced by, each call by that of its own day{more}"
    return table("prices", caption, heads, [_priced(rate) for rate in order[:MOST]], titled=1)


def _priced(rate: Rate) -> list[str]:
    card = rate.card
    day = f"{datetime.fromtimestamp(card.valid_from / SECOND, UTC):%Y-%m-%d}" if card.valid_from else ""
    since = element("time", day, datetime=day) if day else "always"
    others = [name for name in PRICES if name not in ("input", "cached", "output") and getattr(card, name) is not None]
    told = ", ".join([f"{name.replace('_', ' ')} {_usd(name, getattr(card, name))}" for name in others] + _terms(card))
    cells = [_price("input", card.input), _price("cached", card.cached), _price("output", card.output)]
    source = element("span", text(card.source or "none given"), class_="said")
    return [text(card.model, 80), text(card.provider, 40), *cells, text(told or "–"), since, source, number(rate.calls)]


def _price(name: str, pico: int | None) -> Html:
    if pico is None:
        return element("data", "–", value="", class_="nil")
    return element("data", _usd(name, pico), value=_usd(name, pico))


def _usd(name: str, pico: int) -> str:
    """Return a price with every digit: by the million tokens or characters, else by the one."""
    return exact_usd(pico * 10**6 if name in _PER_MILLION else pico)


def _terms(card: RateCard) -> list[str]:
    """Return what a card holds beside its prices, such as the steps that a megapixel pays for."""
    found = [(each.name, getattr(card, each.name)) for each in fields(card) if each.name not in _TOLD]
    return [f"{name.replace('_', ' ')} {value}" for name, value in found if value not in (None, (), "", 0)]
