"""The learned concurrency: slow start, growth by use, one cut for an episode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.concurrency import COOLDOWN, Concurrency


def rounds(one, number, now=0.0, air=None, seconds=2.0):
    """Let whole rounds of good answers come in; return the limit after each."""
    limits = []
    for _ in range(number):
        in_air = one.limit if air is None else air
        for _ in range(one.limit):
            one.answered(in_air, seconds, now)
        limits.append(one.limit)
    return limits


def refuse(one, at, now=None, per_second=0.0, paced=False, pause=0.0):
    one.refused(at, at if now is None else now, per_second=per_second, paced=paced, pause=pause)
    return one.limit


def test_it_starts_small_and_doubles_each_saturated_round():
    one = Concurrency(200)
    assert one.limit == 8
    assert rounds(one, 6) == [16, 32, 64, 128, 200, 200]
    assert Concurrency(3).limit == 3


def test_who_does_not_use_the_limit_learns_nothing_about_it():
    one = Concurrency(200)
    assert rounds(one, 5, air=6) == [8] * 5
    assert rounds(one, 1, air=7) == [16]


def test_after_the_first_refusal_it_grows_by_a_twentieth_and_one_at_least():
    one = Concurrency(500, learned=400)
    assert one.limit == 200
    assert refuse(one, 1.0) == 160
    assert rounds(one, 3, now=1.0 + COOLDOWN) == [168, 177, 186]
    small = Concurrency(10)
    refuse(small, 1.0)
    assert rounds(small, 2, now=17.0) == [7, 8]


def test_one_episode_makes_one_cut_however_many_calls_are_refused():
    one = Concurrency(100, learned=200)
    assert [refuse(one, at) for at in (10.0, 10.1, 10.2, 20.0)] == [80] * 4
    assert refuse(one, 9.0, now=30.0) == 80, "it was sent before the cut"
    assert refuse(one, 40.0) == 64


def test_answers_do_not_count_while_it_cools_down_or_the_provider_wants_peace():
    one = Concurrency(100, learned=200)
    refuse(one, 0.0, pause=60.0)
    assert rounds(one, 3, now=59.0) == [80] * 3
    assert rounds(one, 1, now=60.0) == [84]


def test_a_cut_goes_to_what_the_accepted_calls_keep_in_the_air():
    one = Concurrency(100, learned=200)
    rounds(one, 1, seconds=2.0)
    assert refuse(one, 1.0, per_second=30.0) == 60
    assert refuse(one, 20.0, per_second=1.0) == 30, "to a half at the most"
    assert refuse(one, 40.0, per_second=29.0) == 24, "by a fifth at the least"


def test_a_paced_lane_keeps_room_for_slower_answers():
    one = Concurrency(100, learned=200)
    rounds(one, 1, seconds=2.0)
    assert refuse(one, 1.0, per_second=5.0, paced=True) == 80
    assert [refuse(one, at, per_second=5.0, paced=True) for at in (20.0, 40.0, 60.0, 80.0)] == [64, 51, 40, 32]
    assert [refuse(one, at, per_second=15.0, paced=True) for at in (100.0, 120.0)] == [32, 32]


def test_what_strays_cut_comes_back_and_grows_as_before():
    one = Concurrency(200)
    rounds(one, 2)
    assert [refuse(one, at) for at in (1.0, 17.0)] == [25, 20]
    one.strayed(18.0)
    assert one.limit == 32
    assert rounds(one, 1, now=18.0) == [64]


def test_strays_bring_nothing_back_that_a_timeout_cut_or_that_has_grown_since():
    one = Concurrency(100, learned=200)
    refuse(one, 1.0)
    one.timed_out(17.0, 17.0)
    one.strayed(18.0)
    assert one.limit == 64
    assert rounds(one, 1, now=40.0) == [68]
    refuse(one, 41.0)
    rounds(one, 1, now=60.0)
    grown = one.limit
    one.strayed(60.0)
    assert one.limit == grown < 68


def test_a_timeout_cuts_by_a_fifth_once_for_an_episode():
    one = Concurrency(100, learned=200)
    for at in (1.0, 1.5, 10.0):
        one.timed_out(at, at)
    assert one.limit == 80


def test_server_errors_stop_the_growth_and_cut_nothing():
    one = Concurrency(100)
    for _ in range(20):
        for _ in range(7):
            one.answered(8, 2.0, 0.0)
        one.troubled()
    assert one.limit == 8


@pytest.mark.parametrize("learned", [-1.0, 0.0, 1e300])
def test_a_kept_figure_that_makes_no_sense_does_no_harm(learned):
    assert 1 <= Concurrency(50, learned=learned).limit <= 50


@given(
    st.integers(1, 300), st.lists(st.tuples(st.floats(0, 20), st.sampled_from("arste"), st.floats(0, 1e3)), max_size=80)
)
def test_it_never_leaves_its_bounds(ceiling, story):
    one, now = Concurrency(ceiling), 0.0
    for passed, what, amount in story:
        now += passed
        if what == "a":
            rounds(one, 1, now, seconds=amount)
        elif what == "r":
            refuse(one, now, per_second=amount, paced=amount > 500, pause=amount)
        elif what == "t":
            one.timed_out(now, now)
        elif what == "e":
            one.strayed(now)
        else:
            one.troubled()
        assert 1 <= one.limit <= ceiling
