"""LiteLLM's price file: what is sold is priced, once; what a row can't hold is unpriced, never wrong."""

import json
import re

import pytest

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import PriceBook
from batchrunner.core.tariff import PRICES
from batchrunner.core.usage import Usage
from batchrunner.formats.litellm import read_litellm


def imported(entries, *providers, **options):
    content = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return read_litellm(content, providers, retrieved="2026-11-21", **options)


def one(**entry):
    found = imported({"m": {"litellm_provider": "openai", "mode": "chat", **entry}})
    (price,) = found.prices or [None]
    return found, price


def prices_of(price):
    return {name: getattr(price, name) for name in PRICES if getattr(price, name) is not None}


TOKENS = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
BY_TOKEN = {"input": 2_500_000, "output": 10_000_000}


@pytest.mark.parametrize(
    ("entry", "prices"),
    [
        (TOKENS, BY_TOKEN),
        ({**TOKENS, "cache_read_input_token_cost": 1.25e-06}, {**BY_TOKEN, "cached": 1_250_000}),
        ({**TOKENS, "input_cost_per_token_priority": 1e-06, "output_cost_per_token_flex": 1e-06}, BY_TOKEN),
        ({**TOKENS, "search_context_cost_per_query": {"search_context_size_low": 0.03}}, BY_TOKEN),
        ({**TOKENS, "output_cost_per_reasoning_token": 1e-05}, BY_TOKEN),
        ({**TOKENS, "output_cost_per_reasoning_token": 3e-05}, {**BY_TOKEN, "reasoning": 30_000_000}),
        ({**TOKENS, "input_cost_per_audio_token": 4e-05}, {**BY_TOKEN, "audio_input": 40_000_000}),
        ({"input_cost_per_token": "2e-08", "output_cost_per_token": 0.0}, {"input": 20_000, "output": 0}),
        ({"input_cost_per_token": 1.5000000000000002e-07}, {"input": 150_000}),
        ({"mode": "audio_speech", "input_cost_per_character": 1.5e-05}, {"character": 15_000_000}),
        ({"mode": "image_generation", "output_cost_per_image": 0.04}, {"image": 40_000_000_000}),
        (
            {"mode": "image_generation", "input_cost_per_pixel": 1.9e-08, "output_cost_per_pixel": 0.0},
            {"megapixel": 19_000_000_000},
        ),
        (
            {"mode": "image_generation", "input_cost_per_token": 5e-06, "input_cost_per_image_token": 1e-05,
             "output_cost_per_image_token": 4e-05},
            {"input": 5_000_000, "output": 40_000_000, "image_input": 10_000_000, "image_output": 40_000_000},
        ),
        (
            {"mode": "rerank", "input_cost_per_token": 0.0, "output_cost_per_token": 0, "input_cost_per_query": 0.002},
            {"search": 2_000_000_000},
        ),
        ({"mode": "video_generation", "output_cost_per_video_per_second": 0.1}, {"hour": 360_000_000_000_000}),
    ],
)  # fmt: skip
def test_a_price_for_a_single_unit_becomes_one_of_ours(entry, prices):
    found, price = one(**entry)
    assert prices_of(price) == prices
    assert not price.unpriced
    assert found.once == 0


@pytest.mark.parametrize(
    ("entry", "prices"),
    [
        (
            {"mode": "audio_transcription", "input_cost_per_second": 1e-04, "output_cost_per_second": 1e-04},
            {"hour": 360_000_000_000},
        ),
        (
            {"mode": "audio_speech", "input_cost_per_token": 2.5e-06, "output_cost_per_audio_token": 1.2e-05,
             "output_cost_per_second": 0.00025, "output_cost_per_token": 1e-05},
            {"input": 2_500_000, "output": 10_000_000, "audio_output": 12_000_000},
        ),
        ({**TOKENS, "output_cost_per_image": 0.039}, BY_TOKEN),
    ],
)  # fmt: skip
def test_what_is_listed_twice_for_one_thing_is_charged_once(entry, prices):
    found, price = one(**entry)
    assert prices_of(price) == prices
    assert found.once == 1


def test_a_minute_of_whisper_costs_its_seconds_once():
    found, _ = one(mode="audio_transcription", input_cost_per_second=1e-04, output_cost_per_second=1e-04)
    card = PriceBook(found.prices).card("openai", "m", 0)
    assert card.cost(Usage(milliseconds=60_000)) == 6_000_000_000


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({**TOKENS, "input_cost_per_image_above_128k_tokens": 5e-06}, "dearer beyond so much of something else"),
        ({**TOKENS, "input_cost_per_token_above_some_tokens": 5e-06}, "dearer beyond so much of something else"),
        ({"input_cost_per_token_above_128k_tokens": 5e-06}, "has a price for long prompts, and none for others"),
        ({**TOKENS, "tiered_pricing": [{"range": [0, 1]}]}, "dearer by ranges of tokens"),
        ({**TOKENS, "input_cost_per_request": 0.005}, "has a price for each call beside that of tokens"),
        ({**TOKENS, "output_cost_per_smile": 1}, "has a price that we don't know: output_cost_per_smile"),
        ({"input_cost_per_token": 0.0, "output_cost_per_token": 0}, "listed as free, which there may mean unknown"),
        ({"input_cost_per_second": 1, "output_cost_per_second": 2}, "has different prices"),
        ({"input_cost_per_token": 1e-06, "input_cost_per_image": 0.1}, "has a price for pictures that it is shown"),
        ({"input_cost_per_token": 1.5e-13}, "has a price that is none, or is too fine"),
        ({"input_cost_per_token": "free"}, "has a price that is none, or is too fine"),
        ({"input_cost_per_token": -1e-06}, "has a price that is none, or is too fine"),
    ],
)
def test_what_a_row_can_not_hold_is_unpriced_and_said(entry, reason):
    found, price = one(**entry)
    assert price.unpriced
    assert PriceBook([price]).card("openai", "m", 0) is None
    (said,) = found.unpriced
    assert said.startswith(reason)


def test_long_prompts_have_their_own_prices_and_what_is_not_listed_for_them_stays():
    long = {
        "input_cost_per_token_above_200k_tokens": 5e-06,
        "cache_read_input_token_cost_above_272k_tokens": 2e-06,
        "input_cost_per_token_above_272k_tokens": 6e-06,
        "input_cost_per_token_above_200k_tokens_priority": 9e-06,
    }
    _, price = one(**TOKENS, cache_read_input_token_cost=1e-06, **long)
    card = PriceBook([price]).card("openai", "m", 0)
    assert card.cost(Usage(200_000, 0, 10)) == 200_000 * 2_500_000 + 10 * 10_000_000
    assert card.cost(Usage(200_001, 1, 10)) == 200_000 * 5_000_000 + 1_000_000 + 10 * 10_000_000
    assert card.cost(Usage(272_001, 1, 10)) == 272_000 * 6_000_000 + 2_000_000 + 10 * 10_000_000


def test_prices_of_batches_are_rows_of_their_own_and_none_is_assumed():
    found = imported({
        "both": {"litellm_provider": "openai", **TOKENS, "input_cost_per_token_batches": 1.25e-06,
                 "output_cost_per_token_batches": 5e-06, "input_cost_per_token_above_9k_tokens": 5e-06,
                 "input_cost_per_token_above_9k_tokens_batches": 2e-06},
        "live": {"litellm_provider": "openai", **TOKENS},
        "odd": {"litellm_provider": "openai", **TOKENS, "output_cost_per_smile_batches": 1},
    })  # fmt: skip
    book = PriceBook(found.prices)
    batch = book.card("openai", "both", 0, "batch")
    assert batch.cost(Usage(9_000, 0, 1)) == 9_000 * 1_250_000 + 5_000_000
    assert batch.cost(Usage(9_001, 0, 1)) == 9_001 * 2_000_000 + 5_000_000
    assert book.card("openai", "live", 0, "batch") is None, "LiteLLM would take half the price"
    assert book.card("openai", "odd", 0, "batch") is None
    assert found.unpriced == {"has a price that we don't know: output_cost_per_smile": 1}
    assert all(prices_of(book.card("openai", name, 0)) == BY_TOKEN for name in ("both", "live", "odd"))


def test_names_and_providers_are_ours():
    entries = {
        "sample_spec": {"input_cost_per_token": 1},
        "together_ai/openai/gpt-oss-20b": {"litellm_provider": "together_ai", **TOKENS},
        "together-ai-up-to-4b": {"litellm_provider": "together_ai", **TOKENS},
        "1024-x-1024/dall-e-3": {
            "litellm_provider": "openai",
            "mode": "image_generation",
            "input_cost_per_pixel": 1e-8,
        },
        "groq/llama": {"litellm_provider": "groq", **TOKENS},
        "nobody": TOKENS,
        "quiet": {"litellm_provider": "openai"},
    }
    found = imported(entries, "together", "openai", valid_from=5)
    (price,) = found.prices
    assert (price.provider, price.names, price.valid_from) == ("together", ("openai/gpt-oss-20b",), 5)
    assert price.dated_source == "LiteLLM's price file, together_ai/openai/gpt-oss-20b, 2026-11-21"
    assert found.skipped == {
        "priced by size class, not by model": 2, "of other providers": 1, "names no provider": 1, "without a price": 1,
    }  # fmt: skip
    assert {price.provider for price in imported(entries).prices} == {"together", "groq"}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_another_file_is_refused(content):
    with pytest.raises(ConfigurationError, match=re.escape("it is not ")):
        imported(content)
