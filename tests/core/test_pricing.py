"""Exact prices, and which of them applies."""

import hashlib
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.pricing import PICO, Price, PriceBook, RateCard, cost_of, dollars, pico_per_token, whole_picos
from batchrunner.core.usage import Usage

DAY = 86_400_000_000

prices = st.integers(0, 10**9)
counts = st.integers(0, 10**12)


@st.composite
def cards(draw):
    return RateCard(
        provider="p",
        model="m",
        valid_from=0,
        input=draw(prices),
        output=draw(prices),
        cached=draw(st.none() | prices),
    )


@st.composite
def usages(draw):
    tokens, output = draw(counts), draw(counts)
    return Usage(tokens, draw(st.integers(0, tokens)), output, draw(st.integers(0, output)))


def card(**more):
    return RateCard(**{"provider": "p", "model": "m", "valid_from": 0, "input": 300, "output": 1_200, **more})


def test_a_call_costs_its_fresh_input_its_cached_input_and_its_output():
    assert card(cached=60).cost(Usage(1_000, 400, 50, 20)) == 600 * 300 + 400 * 60 + 50 * 1_200


def test_without_a_cached_price_cached_input_costs_what_fresh_input_costs():
    assert card().cost(Usage(1_000, 400, 50)) == card().cost(Usage(1_000, 0, 50))
    assert card(cached=0).cost(Usage(1_000, 1_000, 0)) == 0


def test_more_cached_than_there_is_input_is_all_of_it_and_less_than_none_is_none():
    assert card(cached=60).cost(Usage(1_000, 9_999)) == 1_000 * 60
    assert card(cached=60).cost(Usage(1_000, -5)) == 1_000 * 300


@given(cards(), usages(), usages())
def test_costs_add_up(rate, one, two):
    both = Usage(*(a + b for a, b in zip(one[:4], two[:4], strict=True)))
    assert rate.cost(one) + rate.cost(two) == rate.cost(both)


@given(cards(), st.tuples(*[st.integers()] * 4).map(lambda four: Usage(*four)))
def test_a_cost_is_a_whole_number_and_never_negative(rate, usage):
    cost = rate.cost(usage)
    assert type(cost) is int
    assert cost >= 0


@given(cards(), usages(), st.integers(0, 10**6))
def test_a_hold_is_never_below_the_cost_of_a_call_within_its_bounds(rate, usage, spare):
    assert rate.hold(usage.input + spare, usage.output + spare) >= rate.cost(usage)


def test_without_an_output_bound_the_worst_case_is_unknown():
    assert card().hold(1_000, None) is None
    assert card().hold(1_000, 0) == 300_000


def test_a_negative_price_is_refused():
    for name in ("input", "output", "cached"):
        with pytest.raises(ValueError, match="never negative"):
            card(**{name: -1})
        with pytest.raises(ValueError, match="never negative"):
            Price(provider="p", names=("m",), **{"input": 1, "output": 1, name: -1})


def test_the_digest_is_the_same_in_every_process_and_different_for_every_other_card():
    code = (
        "from batchrunner.core.pricing import RateCard\n"
        "print(RateCard(provider='p', model='m', valid_from=0, input=300, output=1200).digest().hex())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert bytes.fromhex(other.stdout.strip()) == card().digest()
    assert len(card().digest()) == 16
    changed = [
        card(provider="q"),
        card(model="n"),
        card(valid_from=1),
        card(input=301),
        card(output=1_201),
        card(cached=300),
        card(cached=0),
        card(source="a letter"),
        card(provider="pm", model=""),
        *(card(**{name: 7}) for name in ("audio_input", "audio_output", "image_input", "image_output", "image")),
        *(card(**{name: 7}) for name in ("megapixel", "hour", "character", "search")),
        card(input=None),
        card(output=None),
        card(megapixel=7, steps=4),
    ]
    assert len({one.digest() for one in [card(), *changed]}) == len(changed) + 1


def test_a_card_of_tokens_has_the_digest_that_it_had_before_there_were_other_units():
    parts = b'["p","m",0,300,1200,null,""]'
    assert card().digest() == hashlib.sha256(parts).digest()[:16]


# ------------------------------------------------------------------------------------------------------------- the book


def price(*names, at=0, pico=1, **more):
    return Price(provider="together", names=names, input=pico, valid_from=at, **more)


def found(book, model, at=10 * DAY, provider="together"):
    rate = PriceBook(book).card(provider, model, at)
    return None if rate is None else rate.input


def test_a_name_is_found_whatever_its_case_and_the_card_says_which_name_it_was():
    book = PriceBook([price("Meta/Llama-3", "llama*", pico=7, source="price page", retrieved="2026-09-01")])
    rate = book.card("Together", "meta/LLAMA-3", 0)
    assert (rate.provider, rate.model, rate.input) == ("together", "Meta/Llama-3", 7)
    assert rate.source == "price page, 2026-09-01"
    assert book.card("together", "Llama-4", 0).model == "llama*"


def test_another_provider_or_model_has_no_price():
    assert found([price("m")], "n") is None
    assert found([price("m")], "m", provider="openai") is None
    assert PriceBook().card("together", "m", 0) is None


def test_the_newest_price_of_the_day_applies():
    book = [price("m", at=0, pico=1), price("m", at=5 * DAY, pico=2), price("m", at=3 * DAY, pico=3)]
    assert [found(book, "m", day * DAY) for day in (0, 2, 3, 4, 5, 9)] == [1, 1, 3, 3, 2, 2]
    assert found(book, "m", 5 * DAY - 1) == 3
    assert found([price("m", at=5 * DAY)], "m", 5 * DAY - 1) is None


def test_an_exact_name_beats_a_pattern_and_a_longer_pattern_a_shorter_one():
    book = [price("*", at=9 * DAY, pico=1), price("meta/*", at=8 * DAY, pico=2)]
    book += [price("meta/llama-3*", at=1, pico=4), price("meta/llama-3", pico=3)]
    assert found(book, "meta/llama-3") == 3
    assert found(book, "meta/llama-3.1") == 4
    assert found(book, "meta/llama-4") == 2
    assert found(book, "qwen") == 1


def test_a_persons_row_beats_all_that_came_with_the_program():
    assert found([price("m", at=9 * DAY, pico=1), price("*", pico=2, priority=1)], "m") == 2


def test_of_equal_rows_the_last_one_applies():
    assert found([price("m", pico=1), price("m", pico=2)], "m") == 2


def test_an_unpriced_row_makes_the_cost_unknown_although_a_wider_row_has_a_price():
    book = [price("*", pico=1), price("long-*", pico=2, unpriced=True)]
    assert found(book, "long-one") is None
    assert found(book, "short-one") == 1


@pytest.mark.parametrize(
    ("pattern", "model", "fits"),
    [
        ("*", "", True),
        ("a*", "a", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*b*", "abc", True),
        ("*b*b*", "abc", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*bc*bc", "abc", False),
        ("a?c", "abc", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_stands_for_any(pattern, model, fits):
    assert (found([price(pattern)], model) is not None) is fits


def test_a_hostile_pattern_is_matched_in_no_time():
    assert found([price("*a" * 500 + "*b")], "a" * 20_000) is None


def test_a_row_that_names_no_model_is_refused():
    for names in ((), ("",)):
        with pytest.raises(ValueError, match="names no model"):
            price(*names)


def test_a_million_different_models_are_not_remembered():
    book = PriceBook([price("*")])
    for number in range(3_000):
        assert book.card("together", f"m{number}", 0) is not None
    assert len(book._fitting) <= 1_024
    assert book.card("together", "m2999", 0) == book.card("together", "m2999", 1)


# ------------------------------------------------------------------------------------------------------- text and money


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("0.88", 880_000),
        ("0", 0),
        ("-0", 0),
        ("3.50", 3_500_000),
        ("0.000001", 1),
        ("1e-6", 1),
        (Decimal("0.008"), 8_000),
    ],
)
def test_dollars_per_million_tokens_become_whole_picos_per_token(text, pico):
    assert pico_per_token(text) == pico


NO_PRICES = ["", "free", "-1", "-0.000001", "NaN", "sNaN", "Infinity", "1e999999999", "1000001", "0.0000001", "1,5"]


@pytest.mark.parametrize("text", [*NO_PRICES, "1e-999999999", "0." + "1" * 5_000, 0.1, 0.5])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(ValueError, match="a price"):
        pico_per_token(text)


@given(st.integers(0, 10**12))
def test_every_pico_can_be_written(pico):
    assert pico_per_token(Decimal(pico).scaleb(-6)) == pico


def test_a_price_of_one_thing_may_have_twelve_decimals_and_no_more():
    assert whole_picos("0.0027", PICO, "megapixel") == 2_700_000_000
    assert whole_picos("0.000000000001", PICO, "picture") == 1
    with pytest.raises(ValueError, match="at most twelve decimals per picture"):
        whole_picos("0.0000000000001", PICO, "picture")


def test_what_a_provider_states_needs_no_card_and_wins_over_one():
    assert cost_of(None, Usage(1_000, cost=280_000_000_000)) == 280_000_000_000
    assert cost_of(card(), Usage(1_000, cost=5)) == 5
    assert cost_of(card(), Usage(1_000)) == 300_000
    assert cost_of(None, Usage(1_000)) is None


@pytest.mark.parametrize(
    ("pico", "shown"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "<$0.0001"),
        (PICO // 20_000 - 1, "<$0.0001"),
        (PICO // 20_000, "$0.0001"),
        (PICO // 2, "$0.5000"),
        (PICO, "$1.00"),
        (1_234_565 * PICO // 1_000, "$1,234.57"),
        (-5 * PICO, "-$5.00"),
        (-1, "-<$0.0001"),
    ],
)
def test_money_is_rounded_for_people_and_never_to_nothing(pico, shown):
    assert dollars(pico) == shown


def test_the_places_can_be_chosen():
    assert dollars(PICO // 8, 2) == "$0.13"
    assert dollars(PICO // 8, 0) == "<$1"
    assert dollars(7 * PICO // 2, 0) == "$4"
    assert dollars(3, 12) == "$0.000000000003"
