"""LiteLLM's price file (``model_prices_and_context_window.json``) as rows of our price book.

One JSON object by model; prices are USD for a single unit. What has a condition that a row can't hold (tiers by ranges,
a price for each call beside that of tokens) becomes a row that says that its cost is unknown, never a wrong price.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import BATCH, PICO, Price, whole_picos
from batchrunner.core.tariff import TOKEN_PRICES
from batchrunner.core.terms import Tier

OUR_NAMES: Final = {"together_ai": "together"}
"""Providers that LiteLLM calls otherwise than we do."""
BATCHES: Final = "_batches"
"""Ends the names of a batch's prices."""
OTHER_CLASSES: Final = ("_priority", "_flex")
"""End the names of prices of ways of being served that we don't use."""
ON_REQUEST: Final = ("cache_creation_", "search_context_", "file_search_", "code_interpreter_", "computer_use_",
                     "vector_store_", "annotation_", "ocr_")  # fmt: skip
"""Prices of what a call costs extra only where it asks for it by itself."""
_TOKENS: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "image_output": "output_cost_per_image_token",
    "reasoning": "output_cost_per_reasoning_token",
}
_UNITS: Final = {
    "image": (("output_cost_per_image", "input_cost_per_image"), 1),
    "megapixel": (("output_cost_per_pixel", "input_cost_per_pixel"), 1_000_000),
    "hour": (("output_cost_per_second", "input_cost_per_second", "output_cost_per_video_per_second"), 3_600),
    "character": (("input_cost_per_character", "output_cost_per_character"), 1),
    "search": (("input_cost_per_query", "input_cost_per_request"), 1),
}
"""Our price; LiteLLM's names of it, several of which may be filled in for one charge; how much larger our unit is."""
_MADE_BY_TOKEN: Final = ("output", "audio_output", "image_output")
_TRUE_DIGITS: Final = Context(prec=12)
"""What was computed with floats has digits beyond these that nobody meant."""
_ABOVE: Final = re.compile(r"(.+)_above_([1-9][0-9]{0,6})(k?)_tokens", re.ASCII)
_PAINTS: Final = ("image_generation", "image_edit")


@dataclass(slots=True)
class Imported:
    """What was read of a price file."""

    prices: list[Price] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Entries that were left out, by reason."""
    unpriced: Counter[str] = field(default_factory=Counter)
    """Rows whose cost is unknown, by reason."""
    once: int = 0
    """Rows whose price was listed more than once for the same thing, and is charged once."""


class _Unpriceable(Exception):  # noqa: N818 - always caught here and told as a reason
    """An entry with a condition that a row can't hold."""


def read_litellm(content: bytes, providers: Collection[str], *, retrieved: str, valid_from: int = 0) -> Imported:
    """Read the rows of these providers (in our names; none: of all).

    Raises ConfigurationError for what is not LiteLLM's file.
    """
    try:
        found = json.loads(content, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is not JSON: {error}", hint="download LiteLLM's price file anew") from error
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ConfigurationError("it is not LiteLLM's price file: an object of objects", hint="give that file")
    imported = Imported()
    for name, entry in found.items():
        if name != "sample_spec":
            _add(imported, name, entry, providers, {"retrieved": retrieved, "valid_from": valid_from})
    return imported


def _add(
    imported: Imported, name: str, entry: Mapping[str, Any], providers: Collection[str], facts: Mapping[str, Any]
) -> None:
    theirs = entry.get("litellm_provider")
    if not isinstance(theirs, str) or not theirs:
        imported.skipped["names no provider"] += 1
        return
    ours = OUR_NAMES.get(theirs, theirs)
    if providers and ours not in providers:
        imported.skipped["of other providers"] += 1
        return
    model = name.removeprefix(f"{theirs}/")
    if "-x-" in name or (theirs == "together_ai" and model == name):
        imported.skipped["priced by size class, not by model"] += 1
        return
    row = {"provider": ours, "names": (model,), "source": f"LiteLLM's price file, {name}", **facts}
    try:
        listed = _listed(entry)
    except ValueError as problem:
        _say_unknown(imported, row, problem)
        return
    _add_row(imported, entry, listed[""], row)
    if listed[BATCHES]:
        _add_row(imported, {"mode": entry.get("mode")}, listed[BATCHES], {**row, "processing": BATCH})


def _add_row(imported: Imported, entry: Mapping[str, Any], listed: dict[str, Decimal], row: Mapping[str, Any]) -> None:
    """Add the prices of one class of calls, or that they are not known."""
    try:
        prices = _prices(entry, listed, imported)
        if not prices:
            imported.skipped["without a price"] += 1
            return
        imported.prices.append(Price(**row, **prices))
    except (_Unpriceable, ValueError) as problem:
        _say_unknown(imported, row, problem)


def _say_unknown(imported: Imported, row: Mapping[str, Any], problem: Exception) -> None:
    reason = str(problem) if isinstance(problem, _Unpriceable) else "has a price that is none, or is too fine"
    imported.unpriced[reason] += 1
    imported.prices.append(Price(**row, unpriced=True))


def _listed(entry: Mapping[str, Any]) -> dict[str, dict[str, Decimal]]:
    """Return what costs anything by its name, of ordinary calls and of batches. Raises ValueError."""
    found: dict[str, dict[str, Decimal]] = {"": {}, BATCHES: {}}
    for key, value in entry.items():
        if "cost" in key and (amount := _dollars(key, value)) and not _is_other(key):
            found[BATCHES if key.endswith(BATCHES) else ""][key.removesuffix(BATCHES)] = amount
    return found


def _prices(entry: Mapping[str, Any], dear: dict[str, Decimal], imported: Imported) -> dict[str, Any]:
    """Return pico-dollars by our names of the prices, and tiers. Raises _Unpriceable; ValueError for what is none."""
    if entry.get("tiered_pricing"):
        raise _Unpriceable("dearer by ranges of tokens")
    tiers = _take_tiers(dear)
    prices = {ours: whole_picos(dear.pop(name), PICO, "token") for ours, name in _TOKENS.items() if name in dear}
    if prices.get("reasoning") == prices.get("output"):
        prices.pop("reasoning", None)
    _take_units(entry, dear, prices, imported)
    if dear:
        raise _Unpriceable(f"has a price that we don't know: {min(dear)}")
    if any(not tier.own().keys() <= prices.keys() for tier in tiers):
        raise _Unpriceable("has a price for long prompts, and none for others")
    if not prices and any("cost" in key and value is not None for key, value in entry.items()):
        raise _Unpriceable("listed as free, which there may mean unknown")
    return {**_with_zeros(entry, prices), "tiers": tiers} if tiers else _with_zeros(entry, prices)


def _take_tiers(dear: dict[str, Decimal]) -> tuple[Tier, ...]:
    """Take the prices of long prompts; raise _Unpriceable for one of anything but tokens."""
    ours = {name: price for price, name in _TOKENS.items()}
    found: dict[int, dict[str, int]] = {}
    for key in [key for key in dear if "_above_" in key]:
        parts = _ABOVE.fullmatch(key)
        if parts is None or parts[1] not in ours:
            raise _Unpriceable("dearer beyond so much of something else than tokens")
        above = int(parts[2]) * (1_000 if parts[3] else 1)
        found.setdefault(above, {})[ours[parts[1]]] = whole_picos(dear.pop(key), PICO, "token")
    return tuple(Tier(above_tokens=above, **prices) for above, prices in sorted(found.items()))


def _take_units(entry: Mapping[str, Any], dear: dict[str, Decimal], prices: dict[str, int], imported: Imported) -> None:
    """Take the prices of other units; what is sold by token is not sold by them once more."""
    by_token = any(name in prices for name in _MADE_BY_TOKEN)
    paints = entry.get("mode") in _PAINTS
    for ours, (names, times) in _UNITS.items():
        listed = [amount for name in names if (amount := dear.pop(name, None)) is not None]
        if not listed:
            continue
        if ours == "search" and entry.get("mode") != "rerank":
            raise _Unpriceable("has a price for each call beside that of tokens")
        if by_token or (ours == "character" and "input" in prices):
            imported.once += 1
            continue
        if ours in ("image", "megapixel") and not paints:
            raise _Unpriceable("has a price for pictures that it is shown")
        if len(set(listed)) > 1:
            raise _Unpriceable("has different prices for what goes in and what comes out")
        imported.once += len(listed) > 1
        if ours == "megapixel" and "image" in prices:
            continue
        prices[ours] = whole_picos(listed[0] * times, PICO, ours)


def _with_zeros(entry: Mapping[str, Any], prices: dict[str, int]) -> dict[str, int]:
    """Add the token prices that are listed as nothing, where something else has a price: those tokens are free."""
    if prices and not any(name in prices for name in ("image", "megapixel", "hour", "character", "search")):
        for name in TOKEN_PRICES:
            if name not in prices and _dollars(_TOKENS[name], entry.get(_TOKENS[name])) == 0:
                prices[name] = 0
    if "image_output" in prices and "output" not in prices:
        prices["output"] = prices["image_output"]
    return prices


def _dollars(key: str, value: Any) -> Decimal | None:
    """Return a price, also one that is written as text; None where there is none. Raises ValueError."""
    if value is None or isinstance(value, dict | list | bool):
        return None
    try:
        return _TRUE_DIGITS.plus(Decimal(value))
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"`{key}` is no number") from None


def _is_other(key: str) -> bool:
    return key.startswith(ON_REQUEST) or key.endswith(OTHER_CLASSES)
