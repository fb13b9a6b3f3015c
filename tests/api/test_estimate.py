"""What a run says before it spends: known units are priced, and what nobody can know is said to be unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.api.estimate import estimate
from batchrunner.api.lanecost import Known
from batchrunner.api.shortfall import Shortfall, shortfalls
from batchrunner.cli.confirm import describe
from batchrunner.core.budget import Sheet
from batchrunner.core.estimate import Calibration
from batchrunner.core.pricing import Price, PriceBook
from batchrunner.core.request import Lane
from batchrunner.core.terms import Tier
from batchrunner.core.usage import Usage
from batchrunner.store.base import LongPrompts, Workload

PICTURES = Usage(images=10, pixels=10_000_000, pixel_steps=80_000_000)


def work(*, requests=10, est_in=0, max_out=0, unbounded=0, units=(), counted=None, model="m", **more):
    counted = (requests if units else 0) if counted is None else counted
    return Workload(Lane(1, "p", model), requests, est_in, max_out, unbounded, counted, tuple(units), **more)


def estimated(*works, **prices):
    return estimate(list(works), PriceBook([Price(provider="p", names=("m",), **prices)]), 0)


def test_pictures_are_priced_by_size_and_steps_before_they_are_bought():
    found = estimated(work(units=[PICTURES]), megapixel=2_700_000_000, steps=4)
    assert (found.likely, found.high, found.unpriced) == (54_000_000_000, 54_000_000_000, ())
    assert found.units == PICTURES


def test_speech_is_priced_by_its_characters_and_searches_by_the_one():
    found = estimated(work(units=[Usage(characters=2_000)]), character=15_000_000)
    assert found.likely == found.high == 30_000_000_000
    found = estimated(work(est_in=500, units=[Usage(searches=10)]), search=2_000_000_000)
    assert found.likely == found.high == 20_000_000_000


def test_a_ranking_that_is_billed_by_tokens_is_priced_by_tokens():
    found = estimated(work(est_in=500, units=[Usage(searches=10)]), input=100_000)
    assert (found.low, found.likely, found.high, found.unpriced) == (25_000_000, 50_000_000, 200_000_000, ())


def test_a_discount_is_taken_off_every_end():
    plain = estimated(work(est_in=500, max_out=8), input=100, output=400)
    half = estimated(work(est_in=500, max_out=8), input=100, output=400, discount=500_000)
    assert (half.low, half.likely, half.high) == (plain.low / 2, plain.likely / 2, plain.high / 2)
    assert plain.low == 250 * 100


def test_sound_of_unknown_length_has_no_upper_bound_and_no_price_out_of_thin_air():
    found = estimated(work(unbounded=10), hour=90_000_000_000)
    assert (found.likely, found.high, found.unpriced) == (0, None, ())
    some = estimated(work(units=[Usage(milliseconds=3_600_000)], counted=4), hour=90_000_000_000)
    assert (some.likely, some.high) == (90_000_000_000, None)


def test_pictures_that_are_billed_by_tokens_have_no_upper_bound():
    found = estimated(work(est_in=100, units=[PICTURES]), input=5, output=40)
    assert (found.likely, found.high) == (500, None)


def test_a_unit_without_a_price_makes_its_model_unpriced():
    found = estimated(work(units=[Usage(characters=9)]), image=7)
    assert (found.likely, found.high, found.unpriced) == (0, 0, ("m",))


def test_the_units_of_all_lanes_are_added_up():
    found = estimated(work(units=[PICTURES, Usage(characters=5)]), work(units=[Usage(images=1)], model="n"), image=7)
    assert (found.units.images, found.units.characters) == (11, 5)
    assert found.unpriced == ("n",)


def taught(*, answers=20, real_in=30, real_out=10, bound=40):
    lane = Calibration()
    for _ in range(answers):
        lane.observe(20, bound, Usage(input=real_in, output=real_out))
    return {1: lane.learned()}


def test_what_answers_used_corrects_the_estimate_and_the_cost():
    book = PriceBook([Price(provider="p", names=("m",), input=2, output=100)])
    found = estimate([work(est_in=2_000, max_out=400)], book, 0, Known(taught()))
    assert (found.input_tokens, found.output_tokens) == (3_000, 100)
    assert (found.low, found.likely, found.calibrated) == (2 * 2_250, 2 * 3_000 + 100 * 100, ("m",))
    assert found.high == 2 * 3_750 + 100 * 400
    assert estimate([work(unbounded=3)], book, 0, Known(taught(bound=None))).output_tokens == 30


def test_a_guess_is_never_above_what_it_says_at_most():
    """No text has more tokens than bytes, and no answer more than its bound."""
    found = estimated(work(est_in=2_000, max_out=400), input=2, output=100)
    assert found.cost == (2 * 1_000, 2 * 2_000 + 100 * 100, 2 * 4 * 2_000 + 100 * 400)
    assert (found.input, found.output) == ((1_000, 2_000, 8_000), (0, 100, 400))


def test_a_cache_makes_the_low_end_cheaper_and_one_that_costs_more_the_high_end_dearer():
    found = estimated(work(est_in=100), input=10, cached=1, output=7)
    assert (found.low, found.high) == (50, 4_000)
    assert estimated(work(est_in=100), input=10, cached=12, output=7).high == 4_800


def test_what_a_tokenizer_counted_has_no_range():
    book = PriceBook([Price(provider="p", names=("m",), input=2, output=100)])
    found = estimate([work(est_in=2_000)], book, 0, Known(counted=True))
    assert found.cost == (4_000, 4_000, 4_000)


@given(
    sums=st.tuples(*[st.integers(0, 10**6)] * 2),
    unbounded=st.integers(0, 9),
    units=st.sampled_from([(), (PICTURES,)]),
    answers=st.sampled_from([0, 20]),
)
def test_what_is_expected_of_the_rows_adds_up_to_what_is_likely(sums, unbounded, units, answers):
    given_work = work(requests=10, est_in=sums[0], max_out=sums[1], unbounded=unbounded, units=units)
    prices = [Price(provider="p", names=("m",), input=7, output=100, megapixel=2_700_000_000)]
    (lane,) = estimate([given_work], PriceBook(prices), 0, Known(taught(answers=answers))).lanes
    assert lane.expected.of(10, *sums, unbounded) == pytest.approx(lane.cost.likely, rel=1e-3, abs=200)


def test_too_few_answers_and_those_of_other_models_correct_nothing():
    book = PriceBook([])
    for learned in (taught(answers=19), {2: taught()[1]}, {}):
        found = estimate([work(est_in=2_000, max_out=400)], book, 0, Known(learned))
        assert (found.input_tokens, found.output_tokens, found.calibrated) == (2_000, 100, ())


def test_what_a_tokenizer_counted_is_not_corrected():
    found = estimate([work(est_in=2_000, max_out=400)], PriceBook([]), 0, Known(taught(), counted=True))
    assert (found.input_tokens, found.output_tokens) == (2_000, 100)


def test_it_is_said_that_an_estimate_is_by_what_answers_used():
    book = PriceBook([])
    assert "by what answers used so far" in describe(estimate([work(est_in=9)], book, 0, Known(taught())))
    assert "answers" not in describe(estimate([work(est_in=9)], book, 0))


def test_a_contract_is_taken_off_what_is_likely_and_off_the_worst_case():
    full = estimated(work(est_in=1_000, max_out=400), input=100, output=400)
    less = estimated(work(est_in=1_000, max_out=400), input=100, output=400, discount=125_000)
    assert (less.likely * 8, less.high * 8) == (full.likely * 7, full.high * 7)


def test_the_worst_case_fears_the_price_of_long_prompts_where_there_may_be_one():
    tiers = (Tier(above_tokens=2_000, input=300, output=500),)
    short, long = (estimated(work(est_in=n, max_out=10), input=100, output=400, tiers=tiers) for n in (500, 501))
    assert (short.likely, short.high) == (500 * 100 + 2 * 400, 2_000 * 100 + 10 * 400)
    assert (long.likely, long.high) == (501 * 100 + 2 * 400, 2_004 * 300 + 10 * 500)


LONG = (Tier(above_tokens=200_000, input=300, output=500),)


def test_many_short_prompts_are_not_taken_for_a_long_one():
    many = work(requests=10_000, est_in=10_000_000, max_out=400)
    found = estimated(many, input=100, output=400, tiers=LONG)
    assert found.cost == (5_000_000 * 100, 10_000_000 * 100 + 100 * 400, 40_000_000 * 100 + 400 * 400)


def test_each_end_takes_the_prices_of_the_prompts_that_it_tells_of():
    """Of long prompts of 300,000 tokens the low end is below the tier, of those of 500,000 it is not."""
    long = (LongPrompts(2, 600_000, 40, 0, 310_000), LongPrompts(1, 500_000, 0, 1, 500_000))
    found = estimated(
        work(requests=13, est_in=1_101_000, max_out=240, unbounded=1, long=long), input=100, output=400, tiers=LONG
    )
    assert found.low == 300_000 * 100 + 250_000 * 300 + 500 * 100
    assert found.likely == (1_000 * 100 + 50 * 400) + (600_000 * 300 + 10 * 500) + (500_000 * 300 + 512 * 500)
    (lane,) = found.lanes
    assert lane.expected.of(13, 1_101_000, 240, 1) == pytest.approx(found.likely, rel=1e-9)
    bounded = estimated(work(requests=2, est_in=600_000, max_out=40, long=long[:1]), input=100, output=400, tiers=LONG)
    assert bounded.high == 4 * 600_000 * 300 + 40 * 500


def test_a_long_prompt_that_is_cheaper_keeps_the_ends_in_order():
    cheaper = (Tier(above_tokens=200_000, input=10),)
    found = estimated(
        work(requests=1, est_in=300_000, long=(LongPrompts(1, 300_000, 0, 0, 300_000),)), input=100, tiers=cheaper
    )
    assert found.cost == (300_000 * 10, 300_000 * 10, 4 * 300_000 * 100)


def test_the_worst_case_fears_the_dearest_kind_of_token():
    found = estimated(work(est_in=100, max_out=10), input=10, output=40, reasoning=90, image_input=15)
    assert (found.likely, found.high) == (100 * 10 + 2 * 40, 400 * 15 + 10 * 90)


def test_an_answer_without_a_bound_ends_at_what_its_model_can_hold():
    book = PriceBook([Price(provider="p", names=("m",), input=2, output=100)])
    found = estimate([work(est_in=2_000, max_out=400, unbounded=3)], book, 0, Known(most_out={1: 4_096}))
    assert found.output == (0, 100 + 3 * 512, 400 + 3 * 4_096)
    assert found.high == 2 * 8_000 + 100 * (400 + 3 * 4_096)
    assert estimate([work(unbounded=3)], book, 0, Known(most_out={1: None})).high is None


def test_pictures_and_sound_are_no_answers_in_tokens():
    pictures = estimated(work(unbounded=10, units=[PICTURES]), megapixel=2_700_000_000)
    assert pictures.output == (0, 0, 0)
    sound = estimated(work(unbounded=10), hour=90_000_000_000)
    assert (sound.output, sound.high, sound.untold) == ((0, 0, 0), None, ("m",))
    assert estimated(work(unbounded=3, est_in=9), input=5, output=40).untold == ()


def test_what_was_bought_before_and_goes_on_costs_nothing_more():
    one = Usage(milliseconds=3_600_000)
    found = estimated(work(requests=10, units=[one], counted=4, going_on=6), hour=90_000_000_000)
    assert (found.requests, found.going_on, found.cost) == (10, 6, (90_000_000_000,) * 3)
    assert found.untold == ()


def test_a_prompt_for_a_picture_has_a_price_and_no_answer_without_a_bound():
    found = estimated(work(unbounded=10, est_in=100, units=[PICTURES]), megapixel=2_700_000_000, input=5, output=40)
    assert (found.likely, found.high) == (27_000_000_000 + 500, 27_000_000_000 + 2_000)


def test_a_budget_suffices_that_holds_the_high_end_and_probably_does_not_below_the_likely_one():
    found = estimated(work(requests=1, est_in=100), input=1)
    assert (found.likely, found.high) == (100, 400)
    said = {cap: shortfalls(found, Sheet(), (), cap) for cap in (400, 399, 100, 99)}
    assert said == {
        400: (),
        399: (Shortfall("--max-cost", 399, 399, likely=False),),
        100: (Shortfall("--max-cost", 100, 100, likely=False),),
        99: (Shortfall("--max-cost", 99, 99, likely=True),),
    }
    endless = estimated(work(requests=2, unbounded=1, going_on=1), input=1, output=1)
    assert [each.likely for each in shortfalls(endless, Sheet(), (), 10**12)] == [False]
    bought = estimated(work(requests=2, unbounded=1, going_on=2), input=1, output=1)
    assert shortfalls(bought, Sheet(), (), 1) == ()
