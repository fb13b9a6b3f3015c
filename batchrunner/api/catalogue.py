"""The provider's live catalogue, beside what our price book says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchrunner.api.pricing import whole_book
from batchrunner.config import Loaded
from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.http import HttpReply
from batchrunner.core.pricing import PriceBook, RateCard, pico_per_token
from batchrunner.formats.listed import ListedModel, read_listed
from batchrunner.formats.litellm import Imported
from batchrunner.transport.models import fetch_models
from batchrunner.wiring import Access, make_classifier, make_transport

_LENGTHS = ("context_length", "max_model_len", "contextLength")
"""How Together, vLLM and Together's newer catalogue (there it is text) call the context; OpenAI does not tell."""
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model on offer. Prices are pico-dollars per token; None: not told."""

    id: str
    type: str | None
    context: int | None
    """Tokens."""
    listed: tuple[int | None, int | None, int | None]
    """Input, cached and output price as the provider lists them."""
    pricing: Mapping[str, Any]
    """All that the provider lists as prices, as it was sent."""
    card: RateCard | None
    """What our price book prices its calls by today; None: their cost would be unknown."""


async def catalogue(loaded: Loaded, provider: str, *, clock: Clock | None = None) -> list[Model] | Failure:
    """Ask a provider for its models, sorted by id; a refusal or a broken connection is a Failure.

    Raises ConfigurationError where the key is missing or the provider is not configured.
    """
    settings = loaded.settings
    keys = Access(keys={provider: loaded.key_for(provider)})
    transport = make_transport(settings, keys, provider, concurrency=1, clock=clock)
    async with transport:
        found = await fetch_models(transport)
    if isinstance(found, HttpReply):
        return make_classifier(settings, provider)(found)
    if isinstance(found, Failure):
        return found
    book, now = whole_book(loaded), (clock or SystemClock()).now()
    models = [model for entry in found if (model := _model(entry, provider, book, now)) is not None]
    if found and not models:
        return Failure(FailureKind.BAD_REPLY, "none of the models listed has an id", Billing.NOT_BILLED, 200)
    return sorted(models, key=lambda model: model.id)


async def listed_prices(
    loaded: Loaded, provider: str, *, retrieved: str, valid_from: int, clock: Clock | None = None
) -> Imported | Failure:
    """Ask a provider for its models, and return what it lists as their prices; a refusal is a Failure.

    Raises ConfigurationError where the key is missing or the provider is not configured.
    """
    found = await catalogue(loaded, provider, clock=clock)
    if isinstance(found, Failure):
        return found
    models = [ListedModel(model.id, model.pricing) for model in found]
    return read_listed(models, provider, retrieved=retrieved, valid_from=valid_from)


def _model(entry: Mapping[str, Any], provider: str, book: PriceBook, now: int) -> Model | None:
    newer = "displayType" in entry or "contextLength" in entry
    name = entry.get("name" if newer else "id")  # the newer catalogue's ids are its own: requests go by name
    if not isinstance(name, str) or not name:
        return None
    kind = entry.get("displayType" if newer else "type")
    lengths = (_length(entry.get(field)) for field in _LENGTHS)
    pricing = entry.get("pricing")
    prices = pricing if isinstance(pricing, dict) else {}
    return Model(
        id=name,
        type=kind if isinstance(kind, str) else None,
        context=next((length for length in lengths if length), None),
        listed=(
            _pico(prices.get("input")),
            _pico(prices.get("cachedInput" if newer else "cached_input")),
            _pico(prices.get("output")),
        ),
        pricing=prices,
        card=book.card(provider, name, now),
    )


def _length(told: object) -> int | None:
    """Read a number of tokens, as a number or as text; None: none that can be true."""
    if type(told) is str and told.isascii() and told.isdecimal() and len(told) <= _MOST_DIGITS:
        told = int(told)
    return told if type(told) is int and told > 0 else None


def _pico(price: object) -> int | None:
    """Read USD per million tokens, by the shortest digits that stand for the number that was sent; None: unreadable."""
    if type(price) not in (int, float, str):
        return None
    try:
        return pico_per_token(str(price))
    except ValueError:
        return None
