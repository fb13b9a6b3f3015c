"""What is opened ahead follows the pace of landings and the length of commits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.ahead import Ahead


def after(seconds, pace, commit, wave=0.05):
    """Landings at a pace, in waves that repeat; a commit begins when something has landed and the last one is over."""
    one, now, owed = Ahead(), 0.0, 0.0
    while now < seconds:
        owed += pace * wave
        for _ in range(int(owed)):
            one.landed()
        if owed >= 1:
            one.committed(commit, now + commit)
        owed -= int(owed)
        now += wave
    return one.now_allowed


@pytest.mark.parametrize(
    ("pace", "commit", "allowed"),
    [(4_000, 0.005, 60), (1_000, 0.010, 30), (250, 0.005, 3), (40, 0.005, 0), (10, 0.020, 0), (100_000, 0.010, 64)],
)
def test_as_many_as_land_in_three_commits_and_never_more_than_64(pace, commit, allowed):
    assert abs(after(5.0, pace, commit) - allowed) <= 1 + allowed // 20


def test_a_single_wave_is_no_pace():
    one = Ahead()
    for second in range(20):
        for _ in range(16):
            one.landed()
        for _ in range(3):
            one.committed(0.005, second + 0.01)
    assert one.now_allowed == 0


def test_nothing_is_opened_ahead_before_there_is_a_pace():
    one = Ahead()
    for _ in range(1_000):
        one.landed()
    one.committed(0.1, 0.1)
    one.committed(0.1, 0.2)
    assert one.now_allowed == 0


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 10), st.floats(0, 10))))
def test_it_stays_within_its_bounds(steps):
    one, now = Ahead(), 0.0
    for landings, commit, wait in steps:
        for _ in range(landings):
            one.landed()
        now += commit + wait
        one.committed(commit, now)
        assert 0 <= one.now_allowed <= 64
