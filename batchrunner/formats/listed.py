"""What a provider's own catalogue (``/models``) lists as prices, as rows of our price book.

Together lists USD per million tokens: ``pricing`` with ``input``, ``output`` and ``cached_input`` (``cachedInput`` in
its newer catalogue), and ``hourly``, ``base`` and ``finetune`` for what is no call. OpenAI and vLLM list no prices.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from batchrunner.core.pricing import Price, pico_per_token
from batchrunner.formats.litellm import Imported

_TOKENS: Final = {"input": "input", "output": "output", "cached_input": "cached", "cachedInput": "cached"}
_NO_CALLS: Final = frozenset(("hourly", "base", "finetune"))
"""Prices of servers of one's own and of training."""
_LONGEST: Final = 200
"""Characters of a model's name; a longer one names nothing."""


class ListedModel(NamedTuple):
    """A model of a catalogue."""

    id: str
    pricing: Mapping[str, Any]
    """As it was sent."""


def read_listed(models: Iterable[ListedModel], provider: str, *, retrieved: str, valid_from: int) -> Imported:
    """Read the prices of a provider's catalogue.

    A price of 0 is none: catalogues have it where nothing is made (embeddings) and where something else is sold than
    tokens (pictures, sound). What lists no other price is left out; what lists a price that we don't know, or can't
    read, becomes a row that says that its cost is unknown.
    """
    found = Imported()
    for model in models:
        row: dict[str, Any] = {
            "provider": provider,
            "names": (model.id,),
            "source": f"the catalogue of {provider}",
            "retrieved": retrieved,
            "valid_from": valid_from,
        }
        if len(model.id) > _LONGEST or "*" in model.id:
            found.skipped["has a name that no price can have"] += 1
            continue
        problem, prices = _prices(model.pricing)
        if problem:
            found.unpriced[problem] += 1
            found.prices.append(Price(**row, unpriced=True))
        elif prices:
            found.prices.append(Price(**row, **prices))
        else:
            found.skipped["without a price for tokens"] += 1
    return found


def _prices(pricing: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what is wrong with them, if anything, and pico-dollars by our names of the prices."""
    prices: dict[str, Any] = {}
    for key, value in pricing.items():
        if value is None or key in _NO_CALLS:
            continue
        try:
            pico = pico_per_token(_decimal(value))
        except ValueError:
            return "has a price that is none, or is too fine", {}
        if key in _TOKENS and pico:
            prices[_TOKENS[key]] = pico
        elif pico:
            return "has a price that we don't know", {}
    return "", prices


def _decimal(value: object) -> Decimal | str:
    """Return a price by the shortest digits that stand for the number that was sent. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("no number")
    return str(value)
