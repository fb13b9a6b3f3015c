"""Prices that a person assumes for models that the book does not know, so that a budget can count them."""

from collections.abc import Iterable

from batchrunner.core.pricing import LIVE, Price, PriceBook, RateCard

SOURCE = "--assume-price"


class AssumingBook(PriceBook):
    """A price book with an assumed price per token for whatever it has no price for.

    What is priced so is estimated, never recorded.
    """

    def __init__(self, prices: Iterable[Price], given: int, made: int) -> None:
        """``given`` and ``made`` are pico-dollars per token of input and output."""
        super().__init__(prices)
        self._given = given
        self._made = made

    def with_more(self, prices: Iterable[Price]) -> "AssumingBook":
        """Return the book with more prices on top; what it still has none for is assumed."""
        return AssumingBook((*self.prices, *prices), self._given, self._made)

    def card(self, provider: str, model: str, at_us: int, processing: str = LIVE) -> RateCard | None:
        """Return the book's card, or one that says that it is assumed."""
        known = super().card(provider, model, at_us, processing)
        if known is not None:
            return known
        return RateCard(
            provider=provider,
            model=model,
            valid_from=0,
            source=SOURCE,
            input=self._given,
            output=self._made,
            assumed=True,
        )
