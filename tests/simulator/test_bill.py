"""The provider's own arithmetic, held against sums done by hand."""

from __future__ import annotations

from decimal import Decimal
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.pricing import cost_of
from batchrunner.core.tariff import Tariff
from batchrunner.core.usage import Usage
from batchrunner.formats.pricefile import load_prices
from batchrunner.simulator.bill import UNIT_PRICES, UnitPrice, Units, bill, charge

NOW = 1_795_000_000_000_000  # November 2026
SCHNELL = "black-forest-labs/FLUX.1-schnell"


@pytest.mark.parametrize(
    ("model", "tokens", "units", "pico"),
    [
        (SCHNELL, (0, 0, 0), Units(images=1, width=1000, height=1000), 2_700_000_000),
        (SCHNELL, (0, 0, 0), Units(images=1, width=1000, height=1000, steps=2), 2_700_000_000),
        (SCHNELL, (0, 0, 0), Units(images=2, width=1000, height=1000, steps=8), 10_800_000_000),
        ("black-forest-labs/FLUX.2-pro", (0, 0, 0), Units(images=1, width=1000, height=1000, steps=50), 30_000_000_000),
        ("openai/whisper-large-v3", (0, 0, 0), Units(milliseconds=90_000), 2_250_000_000),
        ("hexgrad/Kokoro-82M", (0, 0, 0), Units(characters=250), 1_000_000_000),
        ("google/veo-3.0", (0, 0, 0), Units(stated_usd="0.28"), 280_000_000_000),
        ("Salesforce/Llama-Rank-V1", (500, 0, 0), Units(searches=1), 50_000_000),
        ("MiniMaxAI/MiniMax-M3", (1000, 400, 10), None, 600 * 300_000 + 400 * 60_000 + 10 * 1_200_000),
        ("nobody/knows", (500, 0, 500), None, None),
        ("google/veo-3.0", (0, 0, 0), Units(milliseconds=5_000), None),
    ],
)
def test_a_call_costs_what_the_price_page_says(model, tokens, units, pico):
    assert charge(model, tokens, units) == pico


@pytest.mark.parametrize("model", UNIT_PRICES)
def test_both_price_lists_know_the_same_units_at_the_same_prices(model):
    """Two price lists and two arithmetics, written apart: any amount must cost the same by both."""
    units = Units(images=3, width=1024, height=768, steps=7, milliseconds=123_457, characters=4_321)
    pixels = 3 * 1024 * 768
    usage = Usage(images=3, pixels=pixels, pixel_steps=7 * pixels, milliseconds=123_457, characters=4_321)
    cards = [load_prices().card(provider, model, NOW) for provider in ("together", "openai")]
    (card,) = [card for card in cards if card is not None]
    assert cost_of(card, usage) == charge(model, (0, 0, 0), units)


@given(st.integers(0, 10**9), st.integers(1, 10**7), st.integers(1, 4_000), st.integers(0, 60), st.integers(1, 60))
def test_both_arithmetics_round_a_part_of_a_pico_dollar_up(micros, milliseconds, side, steps, paid):
    """Prices in millionths of a dollar, most of which no millisecond and no pixel divides."""
    usd = str(Decimal(micros) / 10**6)
    sound, picture = UnitPrice("minute", usd), UnitPrice("megapixel", usd, steps=paid)
    with mock.patch.dict(UNIT_PRICES, {"sound": sound, "picture": picture}):
        theirs = (
            charge("sound", (0, 0, 0), Units(milliseconds=milliseconds)),
            charge("picture", (0, 0, 0), Units(images=1, width=side, height=side, steps=steps)),
        )
    ours = (
        Tariff(hour=micros * 60 * 10**6).cost(Usage(milliseconds=milliseconds)),
        Tariff(megapixel=micros * 10**6, steps=paid).cost(Usage(pixels=side**2, pixel_steps=side**2 * steps)),
    )
    assert ours == theirs


def test_the_ledger_holds_the_bill_by_path_and_the_units(desk):
    counter = desk()
    counter.chat("x" * 400, model="openai/gpt-oss-20b")
    counter.chat("x", model="nobody/knows")
    body = {"model": "Salesforce/Llama-Rank-V1", "query": "a", "documents": ["b", "c"]}
    counter.post("/v1/rerank", body)
    chat, unknown, ranking = counter.ledger.entries
    assert chat.charge == chat.input_tokens * 50_000 + chat.output_tokens * 200_000 > 0
    assert unknown.charge is None
    assert (ranking.units, ranking.charge) == (Units(searches=1), ranking.input_tokens * 100_000)
    assert bill(counter.ledger.entries) == {
        "/v1/chat/completions": chat.charge,
        "/v1/rerank": ranking.charge,
    }
    stats = counter.ledger.stats()
    assert stats["pico_usd"] == bill(counter.ledger.entries)
    assert (stats["units"], stats["unpriced"]) == ({"searches": 1}, 1)


def test_a_refusal_is_not_on_the_bill(desk):
    counter = desk(faults={"500": 1.0})
    counter.chat("x", model="openai/gpt-oss-20b")
    assert bill(counter.ledger.entries) == {}
    assert counter.ledger.entries[-1].charge is None
