"""What like attempts cost together, meter by meter: the same money, laid out by what was measured."""

from typing import Final, NamedTuple

from batchrunner.core.pricing import PICO, RateCard
from batchrunner.core.tariff import HOUR, MEGAPIXEL
from batchrunner.core.usage import Usage


class Meter(NamedTuple):
    """One meter of one rate card, and what it comes to."""

    name: str
    consumed: int
    """In ``unit``."""
    unit: str
    """What is counted: a plural, such as ``Tokens``."""
    quantity: int
    """The same in ``priced``, in trillionths; hours are rounded to the nearest, all else is exact."""
    priced: str
    """What the price is for."""
    price: int | None
    """Pico-dollars of one of ``priced``; None: there is no single price that explains the cost."""
    cost: int
    """Pico-dollars. ``quantity`` x ``price``, where calls are not rounded up one by one."""


CALLS: Final = "Requests"
"""The meter of what no price of its own explains: what a provider stated, or prices that depend on more than units."""


def meters(card: RateCard | None, usage: Usage, cost: int, calls: int) -> list[Meter]:
    """Lay out what so many calls of one rate card cost together; the parts always sum to ``cost``.

    Where the card's prices times the units do not come to the cost, all of it is one meter by the call, without price.
    """
    if card is None:
        return [_whole(cost, calls)]
    found = [*_tokens(card, usage), *_units(card, usage)]
    rest = cost - sum(meter.cost for meter in found)
    if rest:
        found += _rounded_up(card, usage, rest, calls)
    if sum(meter.cost for meter in found) != cost or not found:
        return [_whole(cost, calls)]
    return found


def _whole(cost: int, calls: int) -> Meter:
    return Meter(CALLS, calls, CALLS, calls * PICO, CALLS, None, cost)


def _plain(name: str, amount: int, unit: str, price: int | None) -> list[Meter]:
    if amount <= 0 or price is None:
        return []
    return [Meter(name, amount, unit, amount * PICO, unit, price, amount * price)]


def _tokens(card: RateCard, usage: Usage) -> list[Meter]:
    """Lay out the tokens, each once, as a tariff prices them: details first, what is left of them as plain ones."""
    seen = 0 if card.image_input is None else usage.image_input
    drawn = 0 if card.image_output is None else usage.image_output
    cached = min(usage.cached, usage.input - usage.audio_input - seen)
    fresh = usage.input - usage.audio_input - seen - cached
    said = usage.output - usage.audio_output - drawn
    parts = (
        ("Input Tokens", fresh, card.input),
        ("Cached Input Tokens", cached, card.input if card.cached is None else card.cached),
        ("Audio Input Tokens", usage.audio_input, card.audio_input),
        ("Image Input Tokens", seen, card.image_input),
        ("Output Tokens", said, card.output),
        ("Audio Output Tokens", usage.audio_output, card.audio_output),
        ("Image Output Tokens", drawn, card.image_output),
    )
    return [meter for name, amount, price in parts for meter in _plain(name, amount, "Tokens", price)]


def _units(card: RateCard, usage: Usage) -> list[Meter]:
    return [
        *_plain("Images", usage.images, "Images", card.image),
        *_plain("Characters", usage.characters, "Characters", card.character),
        *_plain("Searches", usage.searches, "Searches", card.search),
    ]


def _rounded_up(card: RateCard, usage: Usage, rest: int, calls: int) -> list[Meter]:
    """Lay out what is sold by a larger portion than it is counted in, and rounded up to a pico-dollar by the call."""
    if card.megapixel is not None and usage.pixels > 0 and card.hour is None:
        return _portion("Megapixels", usage.pixels, "Pixels", (MEGAPIXEL, card.megapixel), rest, calls)
    if card.hour is not None and usage.milliseconds > 0 and card.megapixel is None:
        return _portion("Hours", usage.milliseconds, "Milliseconds", (HOUR, card.hour), rest, calls)
    return []


def _portion(name: str, amount: int, unit: str, sold: tuple[int, int], rest: int, calls: int) -> list[Meter]:
    portion, price = sold
    least = -(-amount * price // portion)
    plain = least <= rest <= least + calls
    quantity = (2 * amount * PICO + portion) // (2 * portion)
    return [Meter(name, amount, unit, quantity, name, price if plain else None, rest)] if rest >= least else []
