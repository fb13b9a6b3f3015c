"""What a provider's catalogue lists: its prices per token, and nothing made up of the rest."""

import pytest

from batchrunner.formats.listed import ListedModel, read_listed


def listed(pricing, name="m"):
    return read_listed([ListedModel(name, pricing)], "together", retrieved="2026-11-21", valid_from=5)


@pytest.mark.parametrize(
    ("pricing", "prices"),
    [
        ({"hourly": 0, "input": 1.04, "output": 1.04, "base": 0, "finetune": 3}, (1_040_000, None, 1_040_000)),
        ({"input": 0.3, "output": 1.2, "cached_input": 0.06}, (300_000, 60_000, 1_200_000)),
        ({"input": "0.30", "output": "1.20", "cachedInput": "0.06"}, (300_000, 60_000, 1_200_000)),
        ({"input": 0.008, "output": 0, "cached_input": None}, (8_000, None, None)),
    ],
)
def test_prices_are_dollars_per_million_tokens_to_the_digit(pricing, prices):
    (price,) = listed(pricing).prices
    assert (price.input, price.cached, price.output) == prices
    assert (price.valid_from, price.dated_source) == (5, "the catalogue of together, 2026-11-21")
    assert not price.unpriced


@pytest.mark.parametrize("pricing", [{}, {"input": 0, "output": 0, "hourly": 2.5}, {"input": None}])
def test_what_is_not_sold_by_the_token_is_left_out_and_not_made_free(pricing):
    found = listed(pricing)
    assert found.prices == []
    assert found.skipped == {"without a price for tokens": 1}


@pytest.mark.parametrize(
    "pricing",
    [
        {"input": 1, "output": 1, "per_image": 0.04},
        {"input": 1, "output": 1, "above_200k": {"input": 2}},
        {"input": "cheap"},
        {"input": -1},
        {"input": 0.0000001},
        {"input": True},
        {"input": float("nan")},
    ],
)
def test_a_condition_that_is_not_known_makes_the_cost_unknown(pricing):
    found = listed(pricing)
    (price,) = found.prices
    assert price.unpriced
    assert sum(found.unpriced.values()) == 1


@pytest.mark.parametrize("name", ["*", "meta/*", "x" * 201])
def test_a_name_that_would_fit_other_models_is_no_name(name):
    assert listed({"input": 1}, name).prices == []
