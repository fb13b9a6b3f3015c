"""What calls cost, by the provider's own arithmetic: fractions of a dollar, rounded up to a pico-dollar for each unit.

Written from the providers' price pages and from nothing of this program. A model is sold by one unit: by what
`UNIT_PRICES` says, or by tokens at the catalogue's prices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from batchrunner.simulator import catalogue

if TYPE_CHECKING:
    from batchrunner.simulator.ledger import Entry

_PICO: Final = 10**12
_MILLION: Final = 10**6


class Units(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a call took beside its tokens, or what its tokens were made of."""

    images: int = 0
    width: int = 0
    """Pixels of each picture."""
    height: int = 0
    steps: int = 0
    """Steps that the call asked for; 0: the model's own number."""
    milliseconds: int = 0
    """Of sound or film."""
    characters: int = 0
    searches: int = 0
    audio_input: int = 0
    """Of the input tokens, those of sound."""
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    stated_usd: str | None = None
    """What the answer itself says that it costs."""


class UnitPrice(NamedTuple):
    """USD for one unit."""

    unit: str
    """`megapixel`, `image`, `minute`, `million characters` or `search`."""
    usd: str
    steps: int = 0
    """Steps of a picture that are paid for; 0: steps are free."""


UNIT_PRICES: Final = {
    "black-forest-labs/FLUX.1-schnell": UnitPrice("megapixel", "0.0027", steps=4),
    "black-forest-labs/FLUX.2-pro": UnitPrice("megapixel", "0.03"),
    "canopylabs/orpheus-3b-0.1-ft": UnitPrice("million characters", "15"),
    "hexgrad/Kokoro-82M": UnitPrice("million characters", "4"),
    "cartesia/sonic": UnitPrice("million characters", "65"),
    "cartesia/sonic-2": UnitPrice("million characters", "65"),
    "openai/whisper-large-v3": UnitPrice("minute", "0.0015"),
    "whisper-1": UnitPrice("minute", "0.006"),
    "tts-1": UnitPrice("million characters", "15"),
}


def charge(model: str, tokens: tuple[int, int, int], units: Units | None) -> int | None:
    """What a call costs, in pico-dollars: `tokens` are input, cached input and output. None: nobody set a price."""
    units = units or Units()
    if units.stated_usd is not None:
        return _picos(Fraction(units.stated_usd))
    price = UNIT_PRICES.get(model)
    if price is None:
        return _by_token(model, tokens)
    return _picos(Fraction(price.usd) * _amount(units, price))


def bill(entries: Iterable[Entry]) -> dict[str, int]:
    """Pico-dollars by path, of the calls that were billed and have a price."""
    sums: Counter[str] = Counter()
    for entry in entries:
        if entry.billed and entry.charge is not None:
            sums[entry.path] += entry.charge
    return dict(sums)


def _amount(units: Units, price: UnitPrice) -> Fraction:
    if price.unit == "megapixel":
        more = max(Fraction(1), Fraction(units.steps, price.steps)) if price.steps else Fraction(1)
        return units.images * Fraction(units.width * units.height, _MILLION) * more
    amounts = {
        "image": Fraction(units.images),
        "minute": Fraction(units.milliseconds, 60_000),
        "million characters": Fraction(units.characters, _MILLION),
        "search": Fraction(units.searches),
    }
    return amounts[price.unit]


def _by_token(model: str, tokens: tuple[int, int, int]) -> int | None:
    found = catalogue.find(model)
    if found is None:
        return None
    given, cached, made = tokens
    dollars = [Fraction(str(usd)) / _MILLION for usd in (found.input, found.output)]
    discounted = dollars[0] if found.cached is None else Fraction(str(found.cached)) / _MILLION
    return _picos((given - cached) * dollars[0] + cached * discounted + made * dollars[1])


def _picos(usd: Fraction) -> int:
    return math.ceil(usd * _PICO)
