"""Prices per unit as integers, and what a usage costs by them: exact, never a float.

Where the price of one unit would be less than a pico-dollar (a millisecond, a pixel), it is kept for a larger portion
(an hour, a megapixel), and what a call costs of it is rounded up to the next pico-dollar, once for each unit.
"""

from dataclasses import dataclass

from batchrunner.core.usage import TOKENS, Usage

HOUR = 3_600_000
"""Milliseconds."""
MEGAPIXEL = 1_000_000

TOKEN_PRICES = (
    *("input", "cached", "output", "audio_input", "audio_output", "image_input", "image_output"),
    "reasoning",
)
UNIT_PRICES = ("image", "megapixel", "hour", "character", "search")
PRICES = (*TOKEN_PRICES, *UNIT_PRICES)
"""The names of all prices that a tariff can have."""

_NO_UNITS = (0,) * (len(Usage._fields) - TOKENS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Prices in pico-dollars; None: it has no such price. A price of 0 is one: that unit is free.

    A call is billed by its tokens, or by what else was counted of it, or by both, as far as there are prices. What is
    measured in several ways is billed by the one that has a price, and a tariff can't hold two for one thing.
    """

    input: int | None = None
    """Per input token."""
    output: int | None = None
    """Per output token."""
    cached: int | None = None
    """Per cached input token; None: as ``input``."""
    audio_input: int | None = None
    """Per input token of sound. None: it is not known, since sound is never as cheap as text."""
    audio_output: int | None = None
    """Per output token of sound; None: not known, as for ``audio_input``."""
    image_input: int | None = None
    """Per input token of a picture; None: as ``input``, which is what models that see charge."""
    image_output: int | None = None
    """Per output token of a picture; None: as ``output``."""
    reasoning: int | None = None
    """Per output token that was thought and not said; None: as ``output``, which is what nearly all charge."""
    image: int | None = None
    """Per picture, whatever its size."""
    megapixel: int | None = None
    """Per million pixels made."""
    steps: int | None = None
    """Steps that ``megapixel`` pays for: more cost more in proportion, fewer cost no less. None: steps cost nothing."""
    hour: int | None = None
    """Per hour of audio or video."""
    character: int | None = None
    """Per character spoken."""
    search: int | None = None
    """Per question to a reranker."""

    def __post_init__(self) -> None:
        """Raise ValueError for a negative price, and for what would be billed twice."""
        for name in PRICES:
            price = getattr(self, name)
            if price is not None and price < 0:
                raise ValueError(f"a price is never negative: `{name}` {price}")
        if self.image is not None and self.megapixel is not None:
            raise ValueError("a picture is billed once: by `image` or by `megapixel`, not by both")
        if self.steps is not None and (self.megapixel is None or self.steps < 1):
            raise ValueError("`steps` are what a price per `megapixel` pays for, at least 1")

    def cost(self, usage: Usage) -> int | None:
        """Return what this usage costs, in pico-dollars: never negative. None: something of it has no price here.

        What the provider states wins. Otherwise every unit that was used and has a price is billed. That is all of it
        where a unit other than tokens is among them, or where every kind of token that was used has a price; then what
        else was counted is the same thing measured in another way. An amount below 0 counts as none.
        """
        if usage.cost is not None:
            return max(usage.cost, 0)
        if usage[TOKENS:-1] == _NO_UNITS:
            return self._plain(usage)
        units, (tokens, whole) = self._units(usage), self._tokens(usage)
        if units is not None:
            return units + tokens
        return tokens if whole and usage.total > 0 else None

    def hold(self, est_in_upper: int, max_out: int | None, units: Usage | None = None) -> int | None:
        """Return what a call may cost at worst, in pico-dollars; None where that is not known beforehand.

        ``est_in_upper`` is an upper bound of its input tokens, not the estimate, ``max_out`` of its output tokens, None
        where there is none; ``units`` are what its body tells of the others. No cache is hoped for; one that costs more
        than fresh input is feared, and so is the dearest kind of token.
        """
        if units is None and max_out is not None and self._sells_text_only():
            worst = max(self.input or 0, self.cached or 0)
            return max(est_in_upper, 0) * worst + max(max_out, 0) * (self.output or 0)
        known = None if units is None else self._units(units)
        given, made = _dearest(self.input, *self._inputs()), _dearest(self.output, *self._outputs())
        if made and (max_out is None or (known is None and units is not None)):
            return None  # no bound, or none in tokens: a picture that is billed by tokens does not say how many
        if known is None:
            if given is None and made is None:
                return None
            if (given is None and est_in_upper > 0) or (made is None and max_out != 0):
                return None
        return (known or 0) + max(est_in_upper, 0) * (given or 0) + max(max_out or 0, 0) * (made or 0)

    def _sells_text_only(self) -> bool:
        """Whether input and output have one price each, whatever the tokens are made of."""
        if self.input is None or self.output is None or self.audio_input is not None or self.audio_output is not None:
            return False
        return self.image_input is None and self.image_output is None and self.reasoning is None

    def _plain(self, usage: Usage) -> int | None:
        """Price tokens without further details: what nearly every attempt is."""
        given, cached, made = usage[:3]
        cost = 0
        if given > 0:
            fresh = self.input
            if fresh is None:
                return None
            cost = given * fresh
            if cached > 0 and self.cached is not None:
                cost += min(cached, given) * (self.cached - fresh)
        if made <= 0:
            return cost
        if self.output is None:
            return None
        cost += made * self.output
        return cost if self.reasoning is None else cost + _within(usage[3], made) * (self.reasoning - self.output)

    def _tokens(self, usage: Usage) -> tuple[int, bool]:
        """Return what the tokens that have a price cost, and whether those are all."""
        given, made = max(usage.input, 0), max(usage.output, 0)
        heard = _within(usage.audio_input, given)
        seen = 0 if self.image_input is None else _within(usage.image_input, given - heard)
        cached = _within(usage.cached, given - heard - seen)
        said = _within(usage.audio_output, made)
        drawn = 0 if self.image_output is None else _within(usage.image_output, made - said)
        thought = 0 if self.reasoning is None else _within(usage.reasoning, made - said - drawn)
        parts = (
            (given - heard - seen - cached, self.input),
            (cached, self.input if self.cached is None else self.cached),
            (heard, self.audio_input),
            (seen, self.image_input),
            (made - said - drawn - thought, self.output),
            (thought, self.reasoning),
            (said, self.audio_output),
            (drawn, self.image_output),
        )
        whole = all(price is not None for amount, price in parts if amount)
        return sum(amount * price for amount, price in parts if price is not None), whole

    def _units(self, usage: Usage) -> int | None:
        """Return what the units other than tokens cost; None where none that was used has a price."""
        priced = (
            _part(usage.images, self.image, 1),
            self._painted(usage),
            _part(usage.milliseconds, self.hour, HOUR),
            _part(usage.characters, self.character, 1),
            _part(usage.searches, self.search, 1),
        )
        known = [cost for cost in priced if cost is not None]
        return sum(known) if known else None

    def _painted(self, usage: Usage) -> int | None:
        """Price pixels: those made, times the steps asked for by the steps paid for where that is more than once."""
        if self.steps is not None and usage.pixel_steps > usage.pixels * self.steps:
            return _part(usage.pixel_steps, self.megapixel, MEGAPIXEL * self.steps)
        return _part(usage.pixels, self.megapixel, MEGAPIXEL)

    def _inputs(self) -> tuple[int | None, ...]:
        return self.cached, self.audio_input, self.image_input

    def _outputs(self) -> tuple[int | None, ...]:
        return self.audio_output, self.image_output, self.reasoning


def _part(amount: int, price: int | None, portion: int) -> int | None:
    """Return the price of an amount of what costs ``price`` a portion, rounded up; None: not used, or no price."""
    return None if price is None or amount <= 0 else -(-amount * price // portion)


def _within(amount: int, whole: int) -> int:
    return min(max(amount, 0), whole)


def _dearest(*prices: int | None) -> int | None:
    return max((price for price in prices if price is not None), default=None)
