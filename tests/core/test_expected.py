"""What a run will have cost at its end, told from what is done of it, whatever the order of its rows is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.expected import Done, Expected, at_the_end


def lane(requests: int, est_in: int, max_out: int = 0, unbounded: int = 0) -> Expected:
    """A lane at 3 a token in, and 15 a token out of which a fourth of a bound, or 512, is expected."""
    plain = Expected(requests, 0.0, 3.0, 15 / 4, 15 * 512.0, 0.0)
    return plain._replace(total=plain.of(requests, est_in, max_out, unbounded))


def done(requests: int, est_in: int, max_out: int = 0, unbounded: int = 0, *, billed: int) -> Done:
    part = Done()
    part.requests, part.est_in, part.max_out, part.unbounded, part.billed = requests, est_in, max_out, unbounded, billed
    return part


def test_before_the_first_answer_it_is_what_was_estimated_and_at_the_end_what_it_cost():
    expected = {1: lane(100, 10_000, 40_000)}
    assert at_the_end(expected, {}, 100) == 3 * 10_000 + 15 * 10_000
    assert at_the_end(expected, {1: done(100, 10_000, 40_000, billed=7)}, 100) == 7


def test_long_prompts_that_come_last_are_counted_from_the_beginning():
    expected = {1: lane(1_000, 500 * 100 + 500 * 9_900)}
    half = {1: done(500, 500 * 100, billed=2 * 3 * 500 * 100)}
    assert at_the_end(expected, half, 1_000) == pytest.approx(2 * expected[1].total, rel=0.4)
    by_the_row = 1_000 * half[1].billed / 500
    assert by_the_row < 0.03 * 2 * expected[1].total, "or this would show nothing"


def test_a_cheap_model_that_is_through_first_says_nothing_of_the_dear_one():
    expected = {1: lane(1_000, 100_000), 2: lane(1_000, 100_000, 400_000)}
    cheap_first = {1: done(1_000, 100_000, billed=150_000)}
    assert at_the_end(expected, cheap_first, 2_000) == 150_000 + round(expected[2].total)


def test_a_few_odd_answers_do_not_throw_it_about_and_many_are_believed():
    expected = {1: lane(10_000, 1_000_000)}
    for requests, off in ((1, 1.9), (1_000, 10)):
        part = {1: done(requests, 100 * requests, billed=10 * 300 * requests)}
        found = at_the_end(expected, part, 10_000)
        assert found == pytest.approx(off * expected[1].total, rel=0.1), requests


def test_rows_that_came_or_went_since_the_beginning_count():
    expected = {1: lane(100, 10_000)}
    half = {1: done(50, 5_000, billed=15_000)}
    assert at_the_end(expected, half, 100) == 30_000
    assert at_the_end(expected, half, 150) == 45_000
    assert at_the_end(expected, half, 50) == 15_000


def test_rows_without_a_bound_weigh_as_much_as_is_expected_of_them():
    expected = {1: lane(200, 0, 0, unbounded=100)}
    bounded_first = {1: done(100, 0, billed=0)}
    assert at_the_end(expected, bounded_first, 200) == round(expected[1].total), "none of what costs is done"
    unbounded_first = {1: done(100, 0, unbounded=100, billed=100 * 15 * 512)}
    assert at_the_end(expected, unbounded_first, 200) == unbounded_first[1].billed, "all of what costs is done"


def test_nothing_is_told_where_nothing_is_expected():
    assert at_the_end({}, {1: done(3, 3, billed=9)}, 5) is None
    assert at_the_end({1: Expected(5, *[0.0] * 5)}, {}, 5) is None, "no price"


@given(
    sums=st.tuples(*[st.integers(0, 10**9)] * 3),
    share=st.tuples(*[st.integers(0, 100)] * 4),
    billed=st.integers(0, 10**18),
    total=st.integers(0, 2_000),
)
def test_it_is_never_less_than_what_is_paid_already(sums, share, billed, total):
    expected = {1: lane(100, *sums)}
    part = done(share[0], *(amount * each // 100 for amount, each in zip(sums, share[1:], strict=True)), billed=billed)
    found = at_the_end(expected, {1: part}, total)
    assert found is None or found >= billed
