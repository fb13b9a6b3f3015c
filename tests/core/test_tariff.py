"""What every unit costs, to the last pico-dollar; and that what has no price is never free."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.pricing import PICO, Price
from batchrunner.core.tariff import PRICES, TOKEN_PRICES, Tariff
from batchrunner.core.usage import OTHERS, Usage, units_text, units_value

picos = st.none() | st.integers(0, 10**12)
amounts = st.integers(0, 10**9)
SCHNELL = Tariff(megapixel=2_700_000_000, steps=4)
"""Together's FLUX.1 [schnell]: $0.0027 a megapixel for up to four steps."""


@st.composite
def tariffs(draw):
    prices = {name: draw(picos) for name in PRICES}
    if prices["image"] is not None:
        prices["megapixel"] = None
    steps = draw(st.none() | st.integers(1, 60)) if prices["megapixel"] is not None else None
    return Tariff(**prices, steps=steps)


@st.composite
def usages(draw):
    given, made = draw(amounts), draw(amounts)
    heard = draw(st.integers(0, given))
    said = draw(st.integers(0, made))
    pixels = draw(amounts)
    return Usage(
        input=given,
        cached=draw(st.integers(0, given)),
        output=made,
        audio_input=heard,
        image_input=draw(st.integers(0, given - heard)),
        audio_output=said,
        image_output=draw(st.integers(0, made - said)),
        images=draw(st.integers(0, 10)),
        pixels=pixels,
        pixel_steps=pixels * draw(st.integers(0, 60)),
        milliseconds=draw(amounts),
        characters=draw(amounts),
        searches=draw(st.integers(0, 10)),
    )


# ------------------------------------------------------------------------------------------------- one unit at a time


@pytest.mark.parametrize(
    ("tariff", "usage", "usd"),
    [
        (Tariff(character=15_000_000), Usage(characters=12_345), "0.185175"),
        (Tariff(hour=90_000_000_000), Usage(milliseconds=90_000), "0.00225"),
        (Tariff(image=40_000_000_000), Usage(images=3, pixels=3 * 1024 * 1024), "0.12"),
        (Tariff(search=2_000_000_000), Usage(input=500, searches=1), "0.002"),
        (Tariff(input=100_000), Usage(input=500, searches=1), "0.00005"),
        (SCHNELL, Usage(images=1, pixels=1024 * 1024), "0.0028311552"),
        (SCHNELL, Usage(images=1, pixels=1_000_000, pixel_steps=4_000_000), "0.0027"),
        (SCHNELL, Usage(images=2, pixels=2_000_000, pixel_steps=16_000_000), "0.0108"),
    ],
)
def test_a_unit_costs_its_price_times_its_amount(tariff, usage, usd):
    assert tariff.cost(usage) == Fraction(usd) * PICO


def test_fewer_steps_than_the_price_pays_for_cost_no_less():
    assert SCHNELL.cost(Usage(pixels=10**6, pixel_steps=10**6)) == SCHNELL.cost(Usage(pixels=10**6))


def test_steps_cost_nothing_where_the_price_knows_of_none():
    assert Tariff(megapixel=30).cost(Usage(pixels=10**6, pixel_steps=50 * 10**6)) == 30


def test_a_part_of_a_pico_dollar_counts_as_one():
    assert Tariff(hour=1).cost(Usage(milliseconds=1)) == 1
    assert Tariff(megapixel=1, steps=28).cost(Usage(pixels=1, pixel_steps=50)) == 1
    assert Tariff(hour=3_600_001).cost(Usage(milliseconds=3_600_000)) == 3_600_001


def test_sound_and_pictures_are_priced_as_the_parts_of_the_tokens_that_they_are():
    tariff = Tariff(input=2, output=10, cached=1, audio_input=40, audio_output=80, image_input=5)
    usage = Usage(100, 30, 50, 0, audio_input=20, image_input=10, audio_output=15)
    assert tariff.cost(usage) == 40 * 2 + 30 * 1 + 20 * 40 + 10 * 5 + 35 * 10 + 15 * 80


def test_pictures_are_seen_at_the_price_of_text_where_they_have_none_of_their_own():
    assert Tariff(input=2, cached=1).cost(Usage(100, 60, image_input=80)) == 40 * 2 + 60 * 1


def test_sound_is_never_taken_for_text():
    assert Tariff(input=2, output=3).cost(Usage(100, 0, 5, audio_input=20)) is None
    assert Tariff(input=2, output=3).cost(Usage(100, 0, 5, audio_output=1)) is None
    assert Tariff(input=2, output=3, audio_input=0).cost(Usage(100, 0, 5, audio_input=20)) == 80 * 2 + 15


def test_what_the_provider_states_wins_over_every_price():
    assert SCHNELL.cost(Usage(input=7, pixels=10**9, cost=280_000_000_000)) == 280_000_000_000
    assert SCHNELL.cost(Usage(pixels=10**6, cost=0)) == 0
    assert SCHNELL.cost(Usage(pixels=10**6, cost=-5)) == 0


# ------------------------------------------------------------------------------------------- unknown is never zero


@pytest.mark.parametrize(
    ("tariff", "usage"),
    [
        (Tariff(input=1), Usage(5, 0, 5)),
        (Tariff(output=1), Usage(5, 0, 5)),
        (Tariff(input=1, output=1), Usage(characters=5)),
        (Tariff(input=1, output=1), Usage(images=1, pixels=10)),
        (Tariff(character=1), Usage(5, 0, 5)),
        (Tariff(hour=1), Usage(characters=5)),
        (Tariff(), Usage(5)),
    ],
)
def test_a_unit_that_was_used_and_has_no_price_makes_the_cost_unknown(tariff, usage):
    assert tariff.cost(usage) is None


def test_a_price_of_nothing_is_a_price():
    assert Tariff(input=0, output=0).cost(Usage(5, 0, 5)) == 0
    assert Tariff(search=0).cost(Usage(5, searches=1)) == 0


@given(tariffs(), usages())
def test_a_cost_is_whole_never_negative_and_zero_only_where_what_was_used_is_free(tariff, usage):
    cost = tariff.cost(usage)
    if cost is None:
        return
    assert type(cost) is int
    assert cost >= 0
    used = any(usage[:3]) or any(usage[4:-1])
    if cost == 0 and used:
        assert 0 in [getattr(tariff, name) for name in PRICES]


@given(tariffs(), usages())
def test_a_tariff_without_a_price_for_anything_used_knows_no_cost(tariff, usage):
    if not any(usage[:-1]):
        return
    kinds = {
        "image": usage.images, "megapixel": usage.pixels or usage.pixel_steps, "hour": usage.milliseconds,
        "character": usage.characters, "search": usage.searches,
    }  # fmt: skip
    without = {name: None for name, amount in kinds.items() if amount} | dict.fromkeys(TOKEN_PRICES)
    kept = {name: getattr(tariff, name) for name in PRICES if name not in without}
    assert Tariff(**kept, steps=tariff.steps if kept.get("megapixel") is not None else None).cost(usage) is None


# ------------------------------------------------------------------------------------------------------ billed once


def test_a_thing_that_is_measured_in_several_ways_is_billed_by_the_one_that_has_a_price():
    picture = Usage(100, 0, 4_000, image_input=90, images=1, pixels=1024 * 1024)
    assert Tariff(input=5, output=40).cost(picture) == 100 * 5 + 4_000 * 40
    assert Tariff(image=7).cost(picture) == 7
    speech = Usage(characters=50, milliseconds=9_000)
    assert Tariff(character=3).cost(speech) == 150
    assert Tariff(hour=3_600_000).cost(speech) == 9_000


def test_tokens_and_another_unit_are_both_billed_where_both_have_a_price():
    """OpenAI's speech by tokens lists the text that goes in by token and what is heard by the second."""
    assert Tariff(input=2, hour=3_600_000).cost(Usage(10, 0, 500, milliseconds=4)) == 20 + 4


def test_a_picture_can_not_be_priced_twice():
    with pytest.raises(ValueError, match="billed once"):
        Tariff(image=1, megapixel=1)
    with pytest.raises(ValueError, match="billed once"):
        Price(provider="p", names=("m",), image=1, megapixel=1)


@pytest.mark.parametrize("given", [{"steps": 4}, {"megapixel": 1, "steps": 0}, {"image": 1, "steps": 4}])
def test_steps_belong_to_a_price_per_megapixel(given):
    with pytest.raises(ValueError, match="steps"):
        Tariff(**given)


@pytest.mark.parametrize("name", PRICES)
def test_no_price_is_negative(name):
    with pytest.raises(ValueError, match="never negative"):
        Tariff(**{name: -1})


def test_a_row_of_the_price_book_without_a_price_is_refused():
    with pytest.raises(ValueError, match="has no price"):
        Price(provider="p", names=("m",))
    assert Price(provider="p", names=("m",), unpriced=True).unpriced


# ----------------------------------------------------------------------------------------------------------- holds


@given(tariffs(), usages(), st.integers(0, 1_000))
def test_a_hold_is_never_below_the_cost_of_a_call_within_its_bounds(tariff, usage, spare):
    """What is known before the call are the bounds of its tokens, and the other units where the body tells them."""
    units = usage._replace(**dict.fromkeys(("input", "cached", "output", "reasoning"), 0))
    units = units._replace(audio_input=0, audio_output=0, image_input=0, image_output=0)
    hold = tariff.hold(usage.input + spare, usage.output + spare, units if any(units[4:-1]) else None)
    cost = tariff.cost(usage)
    if hold is not None and cost is not None:
        assert hold >= cost


def test_the_worst_case_of_a_picture_is_known_from_its_size_and_steps():
    asked = Usage(images=2, pixels=2_000_000, pixel_steps=16_000_000)
    assert SCHNELL.hold(0, 0, asked) == SCHNELL.cost(asked) == 10_800_000_000


@pytest.mark.parametrize(
    ("tariff", "est_in", "max_out", "units"),
    [
        (Tariff(hour=1), 0, 0, None),
        (Tariff(hour=1), 0, None, None),
        (Tariff(input=1, output=1), 10, None, None),
        (Tariff(input=1), 10, 5, None),
        (Tariff(output=1), 10, 5, None),
        (Tariff(input=5, output=40), 10, 0, Usage(images=1, pixels=10)),
        (Tariff(), 0, 0, None),
    ],
)
def test_a_worst_case_that_nothing_tells_is_unknown_and_not_zero(tariff, est_in, max_out, units):
    assert tariff.hold(est_in, max_out, units) is None


def test_an_upper_bound_fears_the_dearest_kind_of_token():
    assert Tariff(input=2, output=3, audio_output=80).hold(10, 5) == 20 + 400
    assert Tariff(input=2, output=3, cached=9).hold(10, 5) == 90 + 15
    assert Tariff(input=100).hold(10, 0, Usage(searches=1)) == 1_000


# ------------------------------------------------------------------------------------------------- units of a body


@given(usages())
def test_what_a_body_tells_of_its_units_comes_back_as_it_was(usage):
    back = units_value(units_text(usage))
    assert back == (usage if any(usage[:-1]) else None)


def test_units_that_were_tampered_with_are_unknown():
    for text in (None, "", "7", '{"images":"2"}', '{"images":1.5}', '{"images":true}', "[" * 9_999):
        assert units_value(text) is None
    assert units_text(None) is units_text(Usage()) is None
    assert set(OTHERS) < set(Usage._fields)
