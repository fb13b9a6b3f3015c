"""Prices as integers: pico-dollars per unit, so that every product is exact. Rounded for display only."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from decimal import Context, Decimal, FloatOperation, Inexact, InvalidOperation, localcontext
from typing import Any, Final, NamedTuple

from batchrunner.core.tariff import PRICES
from batchrunner.core.terms import WHOLE, NetTerms, Terms
from batchrunner.core.usage import Usage

PICO = 10**12
"""Pico-dollars in a dollar."""

LIVE: Final = "live"
BATCH: Final = "batch"
CLASSES: Final = (LIVE, BATCH)
"""How a call is processed: by itself, or as a row of a batch that the provider works on when it likes."""

IN_DATABASE: Final = 1_000_000
"""The priority of prices that were set in the database: above those of every file."""

_KNOWN_LANES = 1024
_DEAREST = Decimal(1_000_000)
"""USD, for whatever amount a price is told: what costs more is a typing error."""
_OLDEST = ("input", "output", "cached")
"""The prices that a card had from the first day on, in the order in which its digest holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCard(NetTerms):
    """The frozen prices that an attempt is priced by: one provider, model, class and date."""

    provider: str
    model: str
    """The name that the price book matched."""
    valid_from: int
    """Microseconds UTC; 0 from the start of time."""
    source: str = ""
    """Where the price was read, with its date."""
    processing: str = LIVE
    """One of ``CLASSES``."""
    assumed: bool = False
    """Whether a person assumed it for want of a price: what it prices is estimated, never recorded."""

    def digest(self) -> bytes:
        """Return 16 bytes that are the same for equal cards, in every process and version, and for no others."""
        parts: list[Any] = [self.provider, self.model, self.valid_from, *(getattr(self, name) for name in _OLDEST)]
        parts.append(self.source)
        for name in (*PRICES, "steps"):
            if name not in _OLDEST and getattr(self, name) is not None:
                parts += name, getattr(self, name)
        if self.processing != LIVE:
            parts += "class", self.processing
        for tier in self.tiers:
            parts += "above", tier.above_tokens, sorted(tier.own().items())
        if self.discounts:
            parts += "discounts", self.discounts
        if self.assumed:
            parts.append("assumed")
        return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).digest()[:16]


def cost_of(card: RateCard | None, usage: Usage) -> int | None:
    """Return what a usage costs by a card, in pico-dollars. What the provider states needs no card. None: unknown."""
    if card is not None:
        return card.cost(usage)
    return None if usage.cost is None else max(usage.cost, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Terms):
    """A dated row of the price book, as people edit it."""

    provider: str
    names: tuple[str, ...]
    """Model ids and patterns, in which ``*`` stands for any characters; upper and lower case are the same."""
    valid_from: int = 0
    """Microseconds UTC; 0: from the start of time."""
    source: str = ""
    retrieved: str = ""
    """The day on which it was read, as it was written down."""
    unpriced: bool = False
    """The row has a condition that we can't price: its models' cost is unknown."""
    processing: str = LIVE
    """One of ``CLASSES``: what the row is the price of."""
    discount: int | None = None
    """What is taken off, in millionths: off the row's own prices, or where it has none, off what its models cost
    without it. A row of batches whose models have no other price there is so much below the live price. Discounts of
    one class never add up: the row that wins counts.
    """
    priority: int = 0
    """Higher wins over everything else: a person's rows stand above those that came with the program."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no tariff can be, and for a row without names or prices."""
        Terms.__post_init__(self)
        if not self.names or not all(self.names):
            raise ValueError(f"a price of {self.provider} names no model")
        if self.processing not in CLASSES:
            raise ValueError(f"a class is one of {', '.join(CLASSES)}, not {self.processing!r}")
        if self.discount is not None and not 0 <= self.discount <= WHOLE:
            raise ValueError("a discount is 0 to 100 percent")
        if not self.has_prices and self.tiers:
            raise ValueError("what long prompts cost stands beside what others cost")
        if not self.unpriced and self.discount is None and not self.has_prices:
            raise ValueError(f"a price of {self.names[0]} has no price: leave it out, or write `unpriced = true`")

    @property
    def has_prices(self) -> bool:
        """Whether it has prices of its own; if not, it is unpriced or a discount."""
        return any(getattr(self, name) is not None for name in PRICES)

    @property
    def dated_source(self) -> str:
        """Where it was read and when, as far as that is known."""
        return f"{self.source}, {self.retrieved}" if self.source and self.retrieved else self.source


class _Entry(NamedTuple):
    """One name of one price, ready to be matched. Entries sort by what wins."""

    rank: tuple[int, bool, int, int, int]
    """Priority, exact name, characters of the pattern that are no ``*``, date, place in the book."""
    parts: tuple[str, ...]
    """The folded name, split at its stars."""
    valid_from: int
    source: str
    processing: str
    discount: int | None
    """Of a row without prices of its own: what it takes off the card below it."""
    card: RateCard | None
    """None: unpriced, or a discount."""

    def matches(self, model: str) -> bool:
        """Whether the folded name of a model fits; linear in its length, whatever the pattern is."""
        first, *middle = self.parts
        if not middle:
            return model == first
        last = middle.pop()
        if not model.startswith(first) or not model.endswith(last) or len(model) < len(first) + len(last):
            return False
        at, end = len(first), len(model) - len(last)
        for part in middle:
            found = model.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


class PriceBook:
    """All prices that are known, and the rule which of them applies."""

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        self.prices = tuple(prices)
        self._entries: dict[str, list[_Entry]] = {}
        self._fitting: dict[tuple[str, str], tuple[_Entry, ...]] = {}
        for place, price in enumerate(self.prices):
            entries = self._entries.setdefault(price.provider.casefold(), [])
            entries.extend(_entry(price, name, place) for name in price.names)
        for entries in self._entries.values():
            entries.sort(key=lambda entry: entry.rank, reverse=True)

    def card(self, provider: str, model: str, at_us: int, processing: str = LIVE) -> RateCard | None:
        """Return the card of a model at a time (microseconds UTC), or None: its cost is unknown, which is never 0.

        Of the rows of its class that fit and are valid by then: the highest priority wins, then an exact name over a
        pattern, then the pattern with more letters, then the newest date, then the row further down. Where the winner
        is unpriced, so is the model. A discount without prices is taken off the next row that has some; where a batch
        has none, off the live card.
        """
        valid = [entry for entry in self._fit(provider, model) if entry.valid_from <= at_us]
        return _chosen(valid, processing)

    def with_more(self, prices: Iterable[Price]) -> "PriceBook":
        """Return a book that has these rows too."""
        return PriceBook((*self.prices, *prices))

    def knows(self, provider: str, model: str, processing: str = LIVE) -> bool:
        """Whether any row of a class fits a model, valid or not, priced or not."""
        return any(entry.processing == processing for entry in self._fit(provider, model))

    def changes(self, provider: str, model: str, after_us: int) -> int | None:
        """Return the next time after one at which another row of a model begins to hold; None: never."""
        dates = [entry.valid_from for entry in self._fit(provider, model) if entry.valid_from > after_us]
        return min(dates, default=None)

    def _fit(self, provider: str, model: str) -> tuple[_Entry, ...]:
        """Return the entries that fit a model, what wins first; remembered, as there are few models."""
        known = self._fitting.get((provider, model))
        if known is None:
            folded = model.casefold()
            known = tuple(entry for entry in self._entries.get(provider.casefold(), ()) if entry.matches(folded))
            if len(self._fitting) >= _KNOWN_LANES:
                self._fitting.clear()
            self._fitting[provider, model] = known
        return known


def _chosen(entries: list[_Entry], processing: str) -> RateCard | None:
    """Return the card of the first entry of a class, or what its discount leaves of the one below it."""
    mine = [entry for entry in entries if entry.processing == processing]
    if not mine:
        return None
    first = mine[0]
    if first.discount is None:
        return first.card
    below = next((entry for entry in mine if entry.discount is None), None)
    card = below.card if below is not None else _chosen(entries, LIVE) if processing != LIVE else None
    if card is None:
        return None
    return replace(
        card,
        processing=processing,
        valid_from=max(card.valid_from, first.valid_from),
        source="; ".join(filter(None, (first.source, card.source))),
        discounts=(*card.discounts, first.discount) if first.discount else card.discounts,
    )


def pico_per_token(usd_per_million: str | Decimal) -> int:
    """Return a price in USD per million tokens as pico-dollars per token, exactly.

    Raises ValueError, with a message for people, for what is no number, negative, absurdly high, or has more than six
    decimals (a fraction of a pico-dollar). A float is refused too: it has rounded the price already.
    """
    return whole_picos(usd_per_million, 1_000_000, "million tokens")


def whole_picos(usd: str | Decimal, times: int, per: str) -> int:
    """Return a price in USD times ``times`` as a whole number, exactly.

    ``times`` a million makes pico-dollars per unit of USD per million units, ``PICO`` those per unit of USD per unit.
    ``per`` names what it is the price of, for messages. Raises ValueError as ``pico_per_token`` does.
    """
    shown = str(usd)[:40]
    try:
        with localcontext(Context(prec=60, traps=[Inexact, InvalidOperation, FloatOperation])):
            price = Decimal(usd)
            if not price.is_finite() or not 0 <= price <= _DEAREST:
                raise ValueError(f"a price must be 0 to {_DEAREST} USD per {per}, not {shown}")
            pico = (price * times).to_integral_exact()
    except (InvalidOperation, FloatOperation):
        raise ValueError(f"a price must be a decimal number of USD per {per}, not {shown!r}") from None
    except Inexact:
        decimals = "six" if times == 1_000_000 else "twelve"
        raise ValueError(f"a price has at most {decimals} decimals per {per}, not {shown}") from None
    return int(pico)


def dollars(pico: int | None, places: int | None = None) -> str:
    """Return an amount for people, such as ``$1,234.50``; the only place where money is rounded.

    ``places`` decimals; without it two from one dollar up and four below. None is ``unknown``; what is not nothing is
    never shown as nothing, but as ``<$0.0001``.
    """
    if pico is None:
        return "unknown"
    if places is None:
        places = 4 if 0 < abs(pico) < PICO else 2
    units = 10**places
    amount = (2 * abs(pico) * units + PICO) // (2 * PICO)  # half up
    whole, part = divmod(amount or min(abs(pico), 1), units)
    sign = ("-" if pico < 0 else "") + ("<" if pico and not amount else "")
    return f"{sign}${whole:,}.{part:0{places}}" if places else f"{sign}${whole:,}"


def _entry(price: Price, name: str, place: int) -> _Entry:
    folded = name.casefold()
    parts = tuple(folded.split("*"))
    rank = (price.priority, len(parts) == 1, len(folded) - len(parts), price.valid_from, place)
    terms = {each.name: getattr(price, each.name) for each in fields(Terms)}
    source = price.dated_source
    if price.unpriced or not price.has_prices:
        discount = None if price.unpriced else price.discount
        return _Entry(rank, parts, price.valid_from, source, price.processing, discount, None)
    card = RateCard(
        provider=price.provider,
        model=name,
        valid_from=price.valid_from,
        source=source,
        processing=price.processing,
        discounts=(price.discount,) if price.discount else (),
        **terms,
    )
    return _Entry(rank, parts, price.valid_from, source, price.processing, None, card)
