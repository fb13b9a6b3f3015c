"""The prices that calls were priced by, as a report lists them: with the day from which each holds, and its source."""

from datetime import UTC, datetime
from typing import Final

from batchrunner.core.clock import SECOND
from batchrunner.core.figures import Figures, Rate
from batchrunner.core.pricing import RateCard
from batchrunner.formats.markup import Html, element, text
from batchrunner.formats.pricewords import less, unit_prices, usd_of
from batchrunner.formats.reportcells import number
from batchrunner.formats.reporttables import Head, table

MOST: Final = 100
"""Cards that are listed."""


def prices(figures: Figures) -> Html:
    """Return the prices that calls were priced by, with where each is from."""
    if not figures.rates:
        return element("p", "No call was priced.", class_="nothing")
    order = sorted(figures.rates, key=_place)
    heads = [
        Head("Entry of the price book", figures=False),
        Head("Provider", figures=False),
        Head("Class", figures=False),
        Head("In, $/M"),
        Head("Cached, $/M"),
    ]
    heads += [Head("Out, $/M"), Head("Other, $", figures=False), Head("Valid from", figures=False)]
    heads += [Head("Source", figures=False), Head("Calls")]
    more = f" (the first {MOST} of {len(order):,})" if len(order) > MOST else ""
    caption = f"Prices that these calls were priced by, each call by that of its own day{more}"
    return table("prices", caption, heads, [_priced(rate) for rate in order[:MOST]], titled=1)


def _place(rate: Rate) -> tuple[str, str, str, int]:
    return rate.card.provider, rate.card.model, rate.card.processing, rate.card.valid_from


def _priced(rate: Rate) -> list[str]:
    card = rate.card
    day = f"{datetime.fromtimestamp(card.valid_from / SECOND, UTC):%Y-%m-%d}" if card.valid_from else ""
    since = element("time", day, datetime=day) if day else "always"
    cells = [_price("input", card.input), _price("cached", card.cached), _price("output", card.output)]
    source = element("span", text(card.source or "none given"), class_="said")
    names = [text(card.model, 80), text(card.provider, 40), text(card.processing, 40)]
    return [*names, *cells, text(_others(card), 2_000), since, source, number(rate.calls)]


def _others(card: RateCard) -> str:
    """Return what a card holds beside plain prices per token, in the words of ``prices list``."""
    told = less(unit_prices(card), card.discounts)
    if card.assumed:
        told = f"{told}, assumed" if told != "-" else "assumed"
    return "–" if told == "-" else told


def _price(name: str, pico: int | None) -> Html:
    """Return a price with every digit, and at least two decimals so that points stand below each other."""
    if pico is None:
        return element("data", "–", value="", class_="nil")
    exact = usd_of(name, pico)
    whole, _, part = exact.partition(".")
    return element("data", f"{int(whole):,}.{part:0<2}", value=exact)
