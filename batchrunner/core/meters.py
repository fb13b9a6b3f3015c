"""What like attempts cost together, meter by meter: the same money, laid out by what was measured."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from batchrunner.core.pricing import PICO, RateCard
from batchrunner.core.tariff import HOUR, MEGAPIXEL, Tariff
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
    """Pico-dollars of one of ``priced``, by the list; None: there is no single price that explains the cost."""
    net: int | None
    """The price less the discounts of the card; None: that is no whole number of pico-dollars, or there is no price."""
    listed: int
    """Pico-dollars by the list: ``quantity`` x ``price``, where calls are not rounded up one by one."""
    cost: int
    """Pico-dollars that are paid: ``quantity`` x ``net``, with the same reservation."""


CALLS: Final = "Requests"
"""The meter of what no price of its own explains: what a provider stated, or prices that depend on more than units."""


def meters(card: RateCard | None, usage: Usage, cost: int, calls: int, above: int = 0) -> list[Meter]:
    """Lay out what so many calls of one rate card cost together; the parts always sum to ``cost``.

    ``above``: the tier of the card that all of them were priced by, 0 for none. Where the prices times the units, less
    the discounts, do not come to the cost, all of it is one meter by the call, without price.
    """
    if card is None:
        return [_whole(cost, calls)]
    prices = card.of_prompt(above + 1)
    found = [_less(card, meter) for meter in (*_tokens(prices, usage), *_units(prices, usage))]
    rest = cost - sum(meter.cost for meter in found)
    # Each call is rounded up once, and each meter here was rounded down, where a discount leaves parts of pico-dollars.
    slack = 0 if all(meter.net is not None for meter in found) else calls + len(found)
    if (portion := _portion(prices, usage)) is not None:
        sold = _rounded_up(card, portion, rest, calls, slack)
        return [*found, sold] if sold is not None else [_whole(cost, calls)]
    if not found or not 0 <= rest <= slack:
        return [_whole(cost, calls)]
    return _with_rest(found, rest)


def _whole(cost: int, calls: int) -> Meter:
    return Meter(CALLS, calls, CALLS, calls * PICO, CALLS, None, None, cost, cost)


def _with_rest(found: Sequence[Meter], rest: int) -> list[Meter]:
    """Put what calls were rounded up by to the meter that costs most."""
    most = max(range(len(found)), key=lambda place: found[place].cost)
    return [meter._replace(cost=meter.cost + rest * (place == most)) for place, meter in enumerate(found)]


def _less(card: RateCard, meter: Meter) -> Meter:
    """Return a meter at what the discounts leave of it, rounded down where that is no whole number."""
    share, whole = card.share
    return meter._replace(net=_net(card, meter.price), cost=meter.listed * share // whole)


def _net(card: RateCard, price: int | None) -> int | None:
    share, whole = card.share
    return None if price is None or price * share % whole else price * share // whole


def _plain(name: str, amount: int, unit: str, price: int | None) -> list[Meter]:
    if amount <= 0 or price is None:
        return []
    listed = amount * price
    return [Meter(name, amount, unit, amount * PICO, unit, price, price, listed, listed)]


def _tokens(prices: Tariff, usage: Usage) -> list[Meter]:
    """Lay out the tokens, each once, as a tariff prices them: details first, what is left of them as plain ones."""
    seen = 0 if prices.image_input is None else usage.image_input
    drawn = 0 if prices.image_output is None else usage.image_output
    thought = 0 if prices.reasoning is None else usage.reasoning
    cached = min(usage.cached, usage.input - usage.audio_input - seen)
    parts = (
        ("Input Tokens", usage.input - usage.audio_input - seen - cached, prices.input),
        ("Cached Input Tokens", cached, prices.input if prices.cached is None else prices.cached),
        ("Audio Input Tokens", usage.audio_input, prices.audio_input),
        ("Image Input Tokens", seen, prices.image_input),
        ("Output Tokens", usage.output - usage.audio_output - drawn - thought, prices.output),
        ("Reasoning Tokens", thought, prices.reasoning),
        ("Audio Output Tokens", usage.audio_output, prices.audio_output),
        ("Image Output Tokens", drawn, prices.image_output),
    )
    return [meter for name, amount, price in parts for meter in _plain(name, amount, "Tokens", price)]


def _units(prices: Tariff, usage: Usage) -> list[Meter]:
    return [
        *_plain("Images", usage.images, "Images", prices.image),
        *_plain("Characters", usage.characters, "Characters", prices.character),
        *_plain("Searches", usage.searches, "Searches", prices.search),
    ]


class _Portion(NamedTuple):
    """What is sold by a larger portion than it is counted in, and rounded up to a pico-dollar by the call."""

    name: str
    amount: int
    unit: str
    portion: int
    price: int


def _portion(prices: Tariff, usage: Usage) -> _Portion | None:
    """Return the one such meter; None where there is none, or two, whose shares nobody could tell apart."""
    painted = prices.megapixel is not None and usage.pixels > 0
    if painted and prices.megapixel is not None and prices.hour is None:
        return _Portion("Megapixels", usage.pixels, "Pixels", MEGAPIXEL, prices.megapixel)
    if prices.hour is not None and usage.milliseconds > 0 and prices.megapixel is None:
        return _Portion("Hours", usage.milliseconds, "Milliseconds", HOUR, prices.hour)
    return None


def _rounded_up(card: RateCard, sold: _Portion, rest: int, calls: int, slack: int) -> Meter | None:
    """Return the meter of a portion that cost the rest; None where that is less than it can have cost.

    It has no price where that is more: pictures of many steps cost more than their pixels.
    """
    share, whole = card.share
    name, amount, unit, portion, price = sold
    if rest < -(-amount * price * share // (portion * whole)):
        return None
    listed = -(-amount * price // portion)
    plain = rest <= (listed + calls) * share // whole + (calls if card.discounts else 0) + slack
    quantity = (2 * amount * PICO + portion) // (2 * portion)
    if not plain:
        return Meter(name, amount, unit, quantity, name, None, None, rest, rest)
    return Meter(name, amount, unit, quantity, name, price, _net(card, price), listed if card.discounts else rest, rest)
