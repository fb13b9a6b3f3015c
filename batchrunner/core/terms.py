"""What a cost may depend on beside prices and what was used: the length of a prompt, and discounts."""

from dataclasses import dataclass, replace

from batchrunner.core.tariff import PRICES, TOKEN_PRICES, Tariff
from batchrunner.core.usage import Usage

WHOLE = 1_000_000
"""A discount of everything, in millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier(Tariff):
    """Prices per token of a call whose prompt is longer than so many tokens: of the whole call, not of what is beyond.

    None: as without the tier. That is how providers with long-prompt prices bill, and how LiteLLM's file means them.
    """

    above_tokens: int

    def __post_init__(self) -> None:
        """Raise ValueError for a tier that changes nothing, or anything but prices per token."""
        Tariff.__post_init__(self)
        if self.above_tokens < 1:
            raise ValueError("a tier begins above a number of tokens, at least 1")
        own = self.own()
        if not own or not own.keys() <= set(TOKEN_PRICES):
            raise ValueError(f"the tier above {self.above_tokens} tokens needs prices per token, and no others")

    def own(self) -> dict[str, int]:
        """Return the prices that it changes, by their names."""
        return {name: price for name in PRICES if (price := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(Tariff):
    """A tariff with other prices for long prompts."""

    tiers: tuple[Tier, ...] = ()
    """By length, the shortest first."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no tariff can be, and for tiers that are out of order."""
        Tariff.__post_init__(self)
        lengths = [tier.above_tokens for tier in self.tiers]
        if lengths != sorted(set(lengths)):
            raise ValueError("tiers stand in order, each above more tokens than the one before")

    def of_prompt(self, tokens: int) -> Tariff:
        """Return the prices of a call whose prompt has so many tokens."""
        fitting = [tier for tier in self.tiers if tokens > tier.above_tokens]
        return self._with(fitting[-1]) if fitting else self

    def up_to_prompt(self, tokens: int) -> tuple[Tariff, ...]:
        """Return the prices that may apply to a call whose prompt has at most so many tokens."""
        return (self, *(self._with(tier) for tier in self.tiers if tokens > tier.above_tokens))

    def _with(self, tier: Tier) -> Tariff:
        prices = {name: getattr(self, name) for name in (*PRICES, "steps")}
        return replace(Tariff(**prices), **tier.own())


@dataclass(frozen=True, slots=True, kw_only=True)
class NetTerms(Terms):
    """Terms, less discounts."""

    discounts: tuple[int, ...] = ()
    """What is taken off what a call costs by these prices, one after the other, each in millionths."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no terms can be, and for a discount of more than everything."""
        Terms.__post_init__(self)
        if not all(0 < discount <= WHOLE for discount in self.discounts):
            raise ValueError("a discount is more than nothing, and at most everything")

    def cost(self, usage: Usage) -> int | None:
        """Return what this usage costs, in pico-dollars, as ``Tariff.cost`` does: by the prices of a prompt so long,
        less the discounts, which are never taken off what the provider states.
        """
        if (not self.tiers and not self.discounts) or usage.cost is not None:
            return Tariff.cost(self, usage)
        listed = Tariff.cost(self.of_prompt(usage.input), usage)
        return None if listed is None else self.net(listed)

    def hold(self, est_in_upper: int, max_out: int | None, units: Usage | None = None) -> int | None:
        """Return what a call may cost at worst, as ``Tariff.hold`` does, whatever the length of its prompt will be."""
        if not self.tiers and not self.discounts:
            return Tariff.hold(self, est_in_upper, max_out, units)
        holds = [Tariff.hold(each, est_in_upper, max_out, units) for each in self.up_to_prompt(est_in_upper)]
        known = [hold for hold in holds if hold is not None]
        return self.net(max(known)) if len(known) == len(holds) else None

    def net(self, pico: int) -> int:
        """Return an amount less the discounts, rounded up to the next pico-dollar, once."""
        share, whole = self.share
        return -(-pico * share // whole)

    @property
    def share(self) -> tuple[int, int]:
        """What the discounts leave of an amount, exactly: so much of so much."""
        share, whole = 1, 1
        for discount in self.discounts:
            share, whole = share * (WHOLE - discount), whole * WHOLE
        return share, whole
