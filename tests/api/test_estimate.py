"""What a run says before it spends: known units are priced, and what nobody can know is said to be unknown."""

from batchrunner.api.estimate import estimate
from batchrunner.cli.confirm import describe
from batchrunner.core.estimate import Calibration
from batchrunner.core.pricing import Price, PriceBook
from batchrunner.core.request import Lane
from batchrunner.core.usage import Usage
from batchrunner.store.base import Workload

PICTURES = Usage(images=10, pixels=10_000_000, pixel_steps=80_000_000)


def work(*, requests=10, est_in=0, max_out=0, unbounded=0, units=(), counted=None, model="m"):
    counted = (requests if units else 0) if counted is None else counted
    return Workload(Lane(1, "p", model), requests, est_in, max_out, unbounded, counted, tuple(units))


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
    assert (found.likely, found.high, found.unpriced) == (50_000_000, 50_000_000, ())


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
    found = estimate([work(est_in=2_000, max_out=400)], book, 0, taught())
    assert (found.input_tokens, found.output_tokens) == (3_000, 100)
    assert (found.likely, found.high, found.calibrated) == (2 * 3_000 + 100 * 100, 2 * 3_000 + 100 * 400, ("m",))
    assert estimate([work(unbounded=3)], book, 0, taught(bound=None)).output_tokens == 30


def test_too_few_answers_and_those_of_other_models_correct_nothing():
    book = PriceBook([])
    for learned in (taught(answers=19), {2: taught()[1]}, {}):
        found = estimate([work(est_in=2_000, max_out=400)], book, 0, learned)
        assert (found.input_tokens, found.output_tokens, found.calibrated) == (2_000, 100, ())


def test_what_a_tokenizer_counted_is_not_corrected():
    found = estimate([work(est_in=2_000, max_out=400)], PriceBook([]), 0, taught(), counted=True)
    assert (found.input_tokens, found.output_tokens) == (2_000, 100)


def test_it_is_said_that_an_estimate_is_by_what_answers_used():
    book = PriceBook([])
    assert "by what answers used so far" in describe(estimate([work(est_in=9)], book, 0, taught()))
    assert "answers" not in describe(estimate([work(est_in=9)], book, 0))
