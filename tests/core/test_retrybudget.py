"""The retry budget: retries are a tenth of the load, and one a second; who finds it empty waits."""

import pytest

from batchrunner.core.retrybudget import RetryBudget


def test_a_few_retries_are_free_and_the_next_ones_wait_for_a_second_each():
    one = RetryBudget(0.0)
    assert [one.take(0, 0.0) for _ in range(13)] == [0.0] * 10 + [1.0, 2.0, 3.0]


def test_calls_earn_a_tenth_of_a_retry_each_up_to_a_hundred():
    one = RetryBudget(0.0)
    for _ in range(10):
        one.take(0, 0.0)
    assert [one.take(30, 0.0) for _ in range(4)] == [0.0] * 3 + [1.0]
    rich = RetryBudget(0.0)
    assert [rich.take(1e6, 0.0) for _ in range(101)][-2:] == [0.0, 1.0]


def test_a_busy_lane_earns_faster_so_its_rows_wait_for_less():
    one, waits = RetryBudget(0.0), []
    for second in range(1, 31):
        waits += [one.take(100.0 * second, float(second)) for _ in range(50)]
    assert waits[0] == 0.0
    assert 0 < waits[-1] <= (50 - 11) * 30 / 11 + 1


def test_over_a_long_brown_out_retries_stay_near_a_tenth_of_the_calls():
    """Half of all calls fail: what is due is sent, so a second's calls are those that were first and the due ones."""
    one, calls, retries, due = RetryBudget(0.0), 0.0, 0, [0] * 3_000
    for second in range(600):
        calls += 100 + due[second]
        retries += due[second]
        for _ in range((100 + due[second]) // 2):
            due[second + 1 + int(one.take(calls, float(second)))] += 1
    assert retries / (100 * 600) <= 0.2


def test_nobody_waits_for_ever():
    one = RetryBudget(0.0)
    assert max(one.take(0, 0.0) for _ in range(10_000)) == pytest.approx(900)
    assert one.take(0, 2_000.0) == 0.0
