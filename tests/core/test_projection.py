"""A few rows tell of all: the interval holds the truth about as often as it says, whatever answers look like."""

import math
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.projection import Drawn, project, student, unseen

ROWS = 5_000
DRAWN = 50
INPUT, OUTPUT = 3, 15
"""Prices of a token."""


class Row(NamedTuple):
    """One request: what is known of it beforehand, and what its answer came to."""

    est_in: int
    max_out: int
    real_in: int
    real_out: int


def lognormal(dice: random.Random, mean: float, sigma: float) -> float:
    return dice.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def prompt(dice: random.Random) -> int:
    return max(10, round(lognormal(dice, 300, 0.8)))


def row(dice: random.Random, est_in: int, bound: int, out: float) -> Row:
    return Row(est_in, bound, max(1, round(est_in * dice.gauss(1.1, 0.05))), min(bound, max(1, round(out))))


def exponential(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 2_048, dice.expovariate(1 / 200))


def skewed(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 4_096, lognormal(dice, 200, 0.8))


def heavy(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 4_096, lognormal(dice, 200, 1.2))


def yes_or_essay(dice: random.Random) -> Row:
    """One in ten runs into its bound, the others say a word."""
    return row(dice, prompt(dice), 1_024, 1_024 if dice.random() < 0.1 else dice.randint(2, 9))


def thinking(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 8_192, lognormal(dice, *((2_500, 0.7) if dice.random() < 0.25 else (150, 0.5))))


def summary(dice: random.Random) -> Row:
    """The longer the text, the longer the answer; and a few texts are very long."""
    text = min(30_000, max(20, round(lognormal(dice, 800, 1.2))))
    return row(dice, text, 4_096, 0.3 * text * lognormal(dice, 1, 0.4))


def share_of_bound(dice: random.Random) -> Row:
    bound = dice.choice([64, 256, 1_024, 4_096])
    return row(dice, prompt(dice), bound, bound * dice.random())


def bounds_that_say_nothing(dice: random.Random) -> Row:
    return row(dice, prompt(dice), dice.choice([256, 1_024, 4_096]), lognormal(dice, 120, 0.6))


def two_kinds(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 4_096, dice.gauss(40, 8) if dice.random() < 0.6 else dice.gauss(900, 120))


def three_models(dice: random.Random) -> Row:
    """Of which the dear ones cost four and twelve times as much."""
    times = dice.choice([1, 4, 12])
    return Row(*(times * each for each in row(dice, prompt(dice), 1_024, lognormal(dice, 150, 0.8))))


def few_long_prompts(dice: random.Random) -> Row:
    return row(dice, 30_000 if dice.random() < 0.02 else prompt(dice), 1_024, lognormal(dice, 100, 0.6))


def heavier(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 4_096, lognormal(dice, 200, 1.5))


def few_long_answers(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 4_096, 4_096 if dice.random() < 0.02 else lognormal(dice, 200, 0.5))


def alike(dice: random.Random) -> Row:
    return row(dice, prompt(dice), 512, dice.gauss(100, 5))


SHAPES = (
    exponential, skewed, heavy, yes_or_essay, thinking, summary, share_of_bound, bounds_that_say_nothing, alike,
    heavier, two_kinds, three_models, few_long_prompts,
)  # fmt: skip


def expected(one: Row) -> float:
    return INPUT * one.est_in + OUTPUT * one.max_out / 4


def cost(one: Row) -> int:
    return INPUT * one.real_in + OUTPUT * one.real_out


def held(shape: Callable[[random.Random], Row], seeds: range, populations: int = 5) -> tuple[int, int]:
    """Return in how many seeds the interval of the cost held the truth, and how often with what may be unseen."""
    count = count_unseen = 0
    for population in range(populations):
        dice = random.Random(f"{shape.__name__} {population}")
        rows = [shape(dice) for _ in range(ROWS)]
        truth, total = sum(map(cost, rows)), sum(map(expected, rows))
        most = sum(INPUT * 4 * one.est_in + OUTPUT * one.max_out for one in rows)
        for seed in seeds[population::populations]:
            drawn = [Drawn(expected(one), cost(one)) for one in random.Random(seed).sample(rows, DRAWN)]
            low, likely, high = project(drawn, ROWS, total, most=most)
            assert high is not None
            assert low <= likely <= high
            count += low <= truth <= high
            count_unseen += low <= truth <= max(high, unseen(likely, DRAWN, most))
    return count, count_unseen


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_the_interval_holds_the_truth_in_85_of_100_seeds_and_more(shape):
    """The aim is 90. Of 2,000 seeds it is 91 to 99; of 500, which take a tenth of a second, no fewer than 88."""
    assert held(shape, range(500))[0] >= 0.88 * 500


@pytest.mark.slow
def test_answers_that_are_too_rare_to_be_drawn_are_in_what_may_be_unseen():
    """A third of the samples draws none of them, and then no interval of what was drawn can hold their cost."""
    inside, with_unseen = held(few_long_answers, range(500))
    assert inside < 0.75 * 500
    assert with_unseen >= 0.97 * 500


def test_what_is_known_of_the_rows_makes_the_interval_narrow():
    """Costs that follow what was expected are told to a few percent, although the rows are very unlike."""
    dice = random.Random(4)
    rows = [summary(dice) for _ in range(ROWS)]
    chosen = dice.sample(rows, DRAWN)
    truth, total = sum(map(cost, rows)), sum(map(expected, rows))
    by_rows = project([Drawn(expected(one), cost(one)) for one in chosen], ROWS, total)
    blind = project([Drawn(1, cost(one)) for one in chosen], ROWS, ROWS)
    assert by_rows.high - by_rows.low < 0.5 * (blind.high - blind.low)
    assert abs(by_rows.likely - truth) < 0.1 * truth


def test_a_sample_of_the_short_rows_is_corrected_by_what_is_known_of_the_long_ones():
    drawn = [Drawn(n, 2 * n) for n in range(1, 21)]
    assert project(drawn, 100, sum(range(1, 101))).likely == 2 * sum(range(1, 101))


def test_all_rows_tell_all_exactly_in_numbers_that_no_float_holds():
    many = 2**60 + 1
    assert project([Drawn(1, many)] * 3, 3, 3) == (3 * many, 3 * many, 3 * many)


def test_more_rows_make_the_interval_narrower_down_to_nothing():
    dice = random.Random(1)
    rows = [skewed(dice) for _ in range(400)]
    total = sum(map(expected, rows))
    widths = []
    for n in (50, 200, 399, 400):
        low, _, high = project([Drawn(expected(one), cost(one)) for one in rows[:n]], 400, total)
        widths.append(high - low)
    assert widths[0] > widths[1] > 10 * widths[2] > 0
    assert widths[3] == 0


def test_one_or_two_rows_tell_no_interval_but_what_is_certain():
    assert project([Drawn(1, 7)], 10, 10) == (7, 70, None)
    assert project([Drawn(1, 7), Drawn(1, 9)], 10, 10, most=200) == (16, 80, 200)


def test_rows_that_are_all_alike_do_not_make_the_rest_certain():
    low, likely, high = project([Drawn(1, 64)] * 50, 5_000, 5_000, most=5_000 * 640)
    assert likely == 64 * 5_000
    assert high == pytest.approx(likely + 0.045 * (5_000 * 640 - likely), rel=0.01)
    assert low < likely
    assert project([Drawn(1, 64)] * 50, 5_000, 5_000, most=64 * 5_000).high == likely, "nothing can cost more"


def test_the_long_tail_lies_above():
    drawn = [Drawn(1, 10)] * 47 + [Drawn(1, 400)] * 3
    low, likely, high = project(drawn, 5_000, 5_000)
    assert high - likely > 1.3 * (likely - low)


def test_nothing_drawn_tells_nothing():
    for drawn, rows in (([], 10), ([Drawn(1, 1)] * 3, 2)):
        with pytest.raises(ValueError, match="can't be drawn"):
            project(drawn, rows, 10)


@given(
    drawn=st.lists(st.builds(Drawn, st.floats(0, 1e12), st.integers(0, 10**15)), min_size=1, max_size=60),
    more=st.integers(0, 10**6),
    expected=st.floats(0, 1e18),
    most=st.none() | st.integers(0, 10**18),
)
def test_whatever_was_drawn_the_ends_are_in_order_and_what_was_measured_is_in_them(drawn, more, expected, most):
    low, likely, high = project(drawn, len(drawn) + more, expected, most=most)
    assert sum(one.real for one in drawn) <= low <= likely
    assert high is None or likely <= high


@pytest.mark.parametrize(("freedom", "quantile"), [(5, 2.015), (8, 1.860), (20, 1.725), (48, 1.677), (1_000, 1.646)])
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student(0.95, freedom) == pytest.approx(quantile, abs=0.001)
