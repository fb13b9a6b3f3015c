"""The promise of the token bucket, over random schedules and against a replay of all that ever happened."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.ratelimit import LastMinute, Silence, TokenBucket
from tests.core.window import most_in_any_window, replayed

EPSILON = 1e-6

rates = st.floats(0.01, 1e6)
shares = st.floats(0, 1)


@st.composite
def schedules(draw):
    """Calls as (idle seconds before it, reserve as a part of rate, part of it that is real, seconds in the air)."""
    call = st.tuples(st.floats(0, 3), st.floats(0.001, 3), shares, st.floats(0, 20))
    return draw(st.lists(call, min_size=1, max_size=80))


def take_in_turn(bucket, rate, schedule, *, settle):
    """Let the calls through as soon as the bucket allows; return (time, real cost) of each."""
    now, taken, in_air = 0.0, [], []
    for idle, part, share, seconds in schedule:
        now += idle
        for due, reservation, real in [call for call in in_air if call[0] <= now]:
            bucket.settle(reservation, real)
            in_air.remove((due, reservation, real))
        cost = part * rate
        now += bucket.wait(now, cost)
        assert bucket.wait(now, cost) == 0.0
        reservation = bucket.take(now, cost)
        real = cost * share if settle else cost
        taken.append((now, real))
        if settle:
            in_air.append((now + seconds, reservation, real))
    return taken


@given(rates, schedules(), st.booleans())
def test_no_window_holds_more_than_its_rate_and_one_burst(rate, schedule, settle):
    bucket = TokenBucket(rate, 0.0)
    taken = take_in_turn(bucket, rate, schedule, settle=settle)
    bound = max(bucket.burst, *(cost for _, cost in taken))
    assert most_in_any_window(taken, rate) <= bound * (1 + EPSILON)


@given(rates, schedules(), st.lists(st.tuples(st.integers(1, 20), st.floats(-50, 50)), max_size=8))
def test_restarts_grant_nothing_whatever_the_clock_does(rate, schedule, restarts):
    """Each part runs on a new bucket whose monotonic clock starts anew; the wall clock may have been set back."""
    now, taken, bucket, born, calls = 0.0, [], TokenBucket(rate, 0.0), 0.0, iter(schedule)
    for length, down in [*restarts, (80, 0.0)]:
        for _, (idle, part, share, _) in zip(range(length), calls, strict=False):
            now += idle
            now += bucket.wait(now - born, part * rate)
            reservation = bucket.take(now - born, part * rate)
            taken.append((now, part * rate * share))
            bucket.settle(reservation, part * rate * share)
        level = bucket.level(now - born)
        now += max(0.0, down)
        bucket, born = TokenBucket(rate, 0.0), now
        bucket.restore(level, down)
    bound = max(bucket.burst, *(cost for _, cost in taken))
    assert most_in_any_window(taken, rate) <= bound * (1 + EPSILON)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_air", [1, 5, 300])
def test_settling_is_a_replay_of_the_past_however_long_that_is(seed, in_air):
    dice = random.Random(seed)
    rate = 100.0
    bucket = TokenBucket(rate, 0.0)
    bucket.restore(0.0, 0.0)
    now, steps, open_calls = 0.0, [], []
    for _ in range(1_200):
        now += dice.expovariate(5) * dice.choice([0, 1, 1, 10])
        cost = dice.uniform(0, 60)
        steps.append([now, cost])
        if dice.random() < 0.2:
            bucket.spend(now, cost)
        else:
            open_calls.append((len(steps) - 1, bucket.take(now, cost)))
        while len(open_calls) > in_air:
            place, reservation = open_calls.pop(dice.randrange(len(open_calls)))
            steps[place][1] = dice.choice([0.0, dice.uniform(0, 60), dice.uniform(0, 300)])
            bucket.settle(reservation, steps[place][1])
        if dice.random() < 0.1:
            later = now + dice.uniform(0, 2)
            assert bucket.level(later) == pytest.approx(replayed(steps, rate, rate, later), abs=1e-5)


def test_what_is_kept_follows_the_calls_in_flight_and_not_the_calls_made():
    bucket = TokenBucket(1e6, 0.0)
    straggler = bucket.take(0.0, 5.0)
    for second in range(20_000):
        bucket.settle(bucket.take(float(second), 5.0), 1.0)
    assert len(bucket._cap) <= 256
    bucket.settle(straggler, 1.0)


def test_settling_stays_cheap_with_thousands_in_flight():
    """Measured against few in flight on the same machine, so that a slow machine does not fail it."""

    def seconds(in_flight):
        bucket = TokenBucket(1e6, 0.0)
        calls = [bucket.take(0.0, 5.0) for _ in range(in_flight)]
        best = float("inf")
        for _ in range(5):
            begin = time.perf_counter()
            for place in range(0, in_flight, max(1, in_flight // 100)):
                bucket.settle(calls[place], 1.0)
                calls[place] = bucket.take(1.0, 5.0)
            best = min(best, time.perf_counter() - begin)
        return best / 100

    assert seconds(20_000) < 15 * seconds(100)


def test_a_refund_is_worth_no_more_than_the_bucket_could_have_held_since():
    bucket = TokenBucket(10.0, 0.0)
    bucket.restore(10.0, 0.0)
    call = bucket.take(0.0, 10.0)
    assert bucket.level(30.0) == pytest.approx(10.0)
    bucket.settle(call, 1.0)
    assert bucket.level(30.0) == pytest.approx(10.0)


def test_a_refund_helps_those_who_came_after():
    bucket = TokenBucket(10.0, 0.0)
    bucket.restore(10.0, 0.0)
    call = bucket.take(0.0, 10.0)
    assert bucket.wait(0.0, 5.0) == pytest.approx(0.5, abs=1e-5)
    bucket.settle(call, 4.0)
    assert bucket.wait(0.0, 5.0) == 0.0


def test_a_reserve_that_was_too_low_becomes_a_debt():
    bucket = TokenBucket(10.0, 0.0)
    call = bucket.take(0.0, 5.0)
    bucket.settle(call, 105.0)
    assert bucket.level(0.0) == pytest.approx(-100.0)
    assert bucket.wait(0.0, 10.0) == pytest.approx(11.0, abs=1e-5)


def test_settling_twice_changes_nothing():
    bucket = TokenBucket(10.0, 0.0)
    call = bucket.take(0.0, 5.0)
    bucket.settle(call, 3.0)
    level = bucket.level(0.0)
    bucket.settle(call, 0.0)
    assert bucket.level(0.0) == level


def test_a_bucket_that_was_never_used_lets_exactly_one_call_through_at_once():
    for cost in (0.5, 10.0, 500.0):
        bucket = TokenBucket(10.0, 0.0)
        assert bucket.wait(0.0, cost) == 0.0
        bucket.take(0.0, cost)
        assert bucket.level(0.0) == pytest.approx(min(0.0, 10.0 - cost))
        assert bucket.wait(0.0, 0.5) > 0.0


def test_a_request_larger_than_the_burst_passes_a_full_bucket_and_leaves_a_debt():
    bucket = TokenBucket(10.0, 0.0)
    bucket.restore(0.0, 0.0)
    assert bucket.wait(0.0, 50.0) == pytest.approx(1.0, abs=1e-5)
    bucket.take(1.0, 50.0)
    assert bucket.level(1.0) == pytest.approx(-40.0)


def test_a_slow_rate_can_still_hold_one_request():
    bucket = TokenBucket(0.3 / 60, 0.0)
    bucket.spend(0.0, 1.0)
    assert bucket.wait(0.0, 1.0) == pytest.approx(200.0, abs=1e-3)


@pytest.mark.parametrize(
    ("level", "age", "expected"),
    [(-20, 1, -10), (3, 0, 3), (3, -999, 3), (3, 1e18, 10), (99, 0, 10), (float("nan"), 0, 0), (3, float("nan"), 3)],
)
def test_a_kept_level_goes_on_and_never_beyond_full(level, age, expected):
    bucket = TokenBucket(10.0, 5.0)
    bucket.restore(level, age)
    assert bucket.level(5.0) == pytest.approx(expected)
    assert bucket.wait(5.0, 10.0) == pytest.approx((10 - expected) / 10, abs=1e-5)


def test_a_clock_that_goes_back_neither_gives_nor_takes():
    bucket = TokenBucket(10.0, 100.0)
    bucket.restore(5.0, 0.0)
    bucket.spend(50.0, 1.0)
    assert bucket.level(40.0) == bucket.level(100.0) == pytest.approx(4.0)


def test_a_new_rate_holds_from_now_on():
    bucket = TokenBucket(10.0, 0.0)
    bucket.restore(0.0, 0.0)
    bucket.retune(0.5, 100.0)
    assert (bucket.rate, bucket.burst) == (100.0, 100.0)
    assert bucket.level(0.5) == pytest.approx(5.0)
    assert bucket.level(1.0) == pytest.approx(55.0)


def test_a_lower_rate_empties_what_no_longer_fits_also_under_calls_in_flight():
    bucket = TokenBucket(100.0, 0.0)
    bucket.restore(100.0, 0.0)
    call = bucket.take(0.0, 10.0)
    bucket.retune(0.0, 20.0)
    assert bucket.level(0.0) == pytest.approx(20.0)
    bucket.settle(call, 95.0)
    assert bucket.level(0.0) == pytest.approx(5.0)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(rate, 0.0)
    bucket = TokenBucket(1.0, 0.0)
    with pytest.raises(ValueError, match="rate"):
        bucket.retune(0.0, rate)


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(-5, 9)), max_size=60), st.floats(0, 200))
def test_the_meter_adds_up_the_last_sixty_seconds(happened, idle):
    meter, now, events = LastMinute(), 0.0, []
    for passed, amount in happened:
        now += passed
        meter.add(now, amount)
        events.append((int(now), amount))
    now += idle
    assert meter.total(now) == sum(amount for second, amount in events if second > int(now) - 60)


def test_the_meter_takes_corrections_of_the_past_while_it_shows():
    meter = LastMinute()
    meter.add(100.0, 50)
    meter.add(130.0, 5)
    meter.add(100.0, -20)
    meter.add(60.0, 1_000)
    assert meter.total(130.0) == 35
    assert meter.total(165.0) == 5


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), max_size=600),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_silence_between_two_times_is_what_lies_between_them(gaps, back, length):
    silence, silent, end = Silence(), set(), 0
    for gap, lasts in gaps:
        begin, end = end + gap, end + gap + lasts
        silence.add(float(begin), float(end))
        silent |= set(range(begin, end))
    to = max(0, end + 3 - back)
    since = max(0, to - length)
    assert silence.within(float(since), float(to)) == sum(since <= second < to for second in silent)


def test_of_silence_only_the_latest_stretches_are_kept():
    silence = Silence()
    for second in range(10_000):
        silence.add(second, second + 0.5)
    assert silence.within(9_900.0, 10_000.0) == 50.0
    assert len(silence._stretches) <= 512
