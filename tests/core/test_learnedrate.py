"""The learned rate: nothing at first, nine tenths of what was accepted after a refusal, then a cubic search."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.learnedrate import LearnedRate


def sent(one, at):
    one.seen.add(at, 1.0)
    one.sent += 1.0


class Sender:
    """Sends as fast as the rate allows, or ``most`` a second; each call over ``limit`` a second is refused at once."""

    def __init__(self, one, *, most=100.0, limit=math.inf, now=0.0):
        self.one, self.most, self.limit, self.now = one, most, limit, now
        self.level, self.accepted, self.refused = limit, 0, 0

    def go(self, seconds):
        until = self.now + seconds
        accepted = self.accepted
        while self.now < until:
            bucket = self.one.bucket
            wait = bucket.wait(self.now, 1.0) if bucket is not None else 0.0
            if not wait:
                self._send(bucket)
            passed = max(wait, 1 / self.most)
            self.now += passed
            self.level = min(max(1.0, self.limit), self.level + self.limit * passed)
        return (self.accepted - accepted) / seconds

    def _send(self, bucket):
        if bucket is not None:
            bucket.spend(self.now, 1.0)
        sent(self.one, self.now)
        if self.now >= self.one.tick_at:
            self.one.tick(self.now)
        if self.level >= 1:
            self.level -= 1
            self.accepted += 1
        else:
            self.refused += 1
            self.one.refused(self.now, 1.0, self.now)


def refuse(one, now):
    """As many refusals as are no stray any more."""
    for _ in range(3):
        one.refused(now, 1.0, now)


def auto(learned=0.0):
    return LearnedRate("auto", 0.0, learned=learned)


def test_nothing_is_limited_before_anything_was_refused():
    one = auto()
    assert Sender(one).go(10) == pytest.approx(100, rel=0.02)
    assert (one.bucket, one.per_minute, one.who, one.learned) == (None, None, "", 0.0)


def test_the_first_refusals_set_nine_tenths_of_what_was_accepted_lately():
    one = auto()
    for call in range(100):
        sent(one, call / 20)
    refuse(one, 5.0)
    assert one.bucket.rate == pytest.approx(0.9 * 20, rel=0.07)
    assert one.who == "learned"
    assert one.bucket.level(5.0) == 0.0


def test_before_the_first_cut_it_takes_some_refusals_within_ten_seconds_and_more_than_two_percent():
    lone, slow, few = auto(), auto(), auto()
    for call in range(2_000):
        sent(few, call / 100)
        sent(slow, call / 100)
        if call % 500 == 0:
            sent(lone, call / 100)
    assert not lone.refused(20.0, 1.0, 20.0), "of a few calls only, but the only one"
    assert not any(slow.refused(at, 1.0, at) for at in (1.0, 5.0, 12.0, 20.0))
    assert not any(few.refused(20.0, 1.0, 20.0) for _ in range(20))
    assert [one.bucket for one in (lone, slow, few)] == [None] * 3
    assert few.refused(20.0, 1.0, 20.0)
    assert few.bucket is not None


def test_a_pause_does_not_count_as_time_in_which_little_was_accepted():
    one = auto()
    for second in range(0, 40, 4):
        for call in range(20):
            sent(one, second + call / 20)
        one.silence.add(second + 1.0, second + 4.0)
    for _ in range(5):
        one.refused(36.5, 1.0, 40.0)
    assert one.bucket.rate == pytest.approx(0.9 * 20, rel=0.1)


@pytest.mark.parametrize("later", [0.1, 20.0, 55.0, 90.0])
def test_refusals_that_come_late_are_no_strays_for_that(later):
    one = auto()
    for call in range(1_000):
        sent(one, call / 10)
    for call in range(200):
        one.refused(80.0 + call / 10, 1.0, 99.9 + later)
    assert one.bucket is not None


def test_refusals_of_the_same_episode_cut_once():
    one = auto()
    for call in range(100):
        sent(one, call / 20)
    refuse(one, 5.0)
    rate = one.bucket.rate
    for _ in range(10):
        one.refused(4.9, 1.0, 6.5)  # it was sent before the cut
        one.refused(5.5, 1.0, 5.6)  # too soon after it to show anything
    assert one.bucket.rate == rate


@pytest.mark.parametrize("limit", [2.0, 10.0, 50.0])
def test_a_limit_is_found_and_kept_with_few_refusals(limit):
    one = auto()
    sender = Sender(one, limit=limit)
    sender.go(60)
    refused = sender.refused
    assert sender.go(600) >= 0.93 * limit
    assert sender.refused - refused <= 0.02 * limit * 600 + 2


def test_a_limit_that_fell_is_obeyed_within_seconds_and_one_that_rose_found_within_a_minute_or_two():
    one = auto()
    sender = Sender(one, limit=20.0)
    sender.go(120)
    sender.limit = 4.0
    sender.go(8)
    assert one.bucket.rate <= 4.5
    sender.go(120)
    sender.limit = 12.0
    sender.go(75)
    assert sender.go(20) >= 0.85 * 12


def test_it_grows_only_while_it_is_used_up():
    one = auto(learned=10.0)
    sender = Sender(one, most=2.0)
    sender.go(300)
    assert one.bucket.rate <= 10.0


def test_an_overload_stops_the_growth_and_cuts_nothing():
    held, free = auto(learned=10.0), auto(learned=10.0)
    for one in (held, free):
        sender = Sender(one)
        for _ in range(60):
            sender.go(1)
            if one is held:
                one.overloaded(sender.now)
    assert held.bucket.rate == pytest.approx(9.0, rel=0.05)
    assert free.bucket.rate > 20


def test_refusals_at_the_same_share_whatever_is_sent_are_taken_for_noise():
    one, calls, now = auto(), 0, 0.0
    while now < 300:
        bucket = one.bucket
        now += max(bucket.wait(now, 1.0) if bucket is not None else 0.0, 0.01)
        if bucket is not None:
            bucket.spend(now, 1.0)
        sent(one, now)
        if now >= one.tick_at:
            one.tick(now)
        calls += 1
        if calls % 50 == 0:
            one.refused(now, 1.0, now)
    assert calls >= 0.9 * 100 * 300
    assert one.bucket is None, "what strays have cut comes back whole"


# -------------------------------------------------------------------------------------------------------------- headers


def test_a_header_sets_the_rate_at_once_and_bounds_it():
    one = auto()
    one.follow(20.0, 0.0, 1.0, 0.0)
    assert one.bucket.rate == pytest.approx(0.98 * 20)
    assert one.who == "provider's header"
    Sender(one).go(120)
    assert one.bucket.rate == pytest.approx(0.98 * 20)
    assert one.learned == 0.0, "what a header says is not kept: it is said again"


def test_of_two_headers_the_one_of_the_call_that_was_sent_later_counts():
    one = auto()
    one.follow(5.0, 2.0, 1.0, 2.1)
    one.follow(20.0, 1.0, 1.0, 3.0)
    assert one.bucket.rate == pytest.approx(0.98 * 5)
    one.follow(20.0, 3.0, 1.0, 5.0)
    assert one.bucket.rate == pytest.approx(0.98 * 20)


def test_a_refusal_cuts_below_the_header_and_the_rate_comes_back_to_it():
    one = auto()
    one.follow(20.0, 0.0, 1.0, 0.0)
    sender = Sender(one)
    sender.go(10)
    one.refused(sender.now, 1.0, sender.now)
    assert one.bucket.rate < 0.95 * 20
    assert one.who == "learned"
    sender.go(30)
    assert one.bucket.rate == pytest.approx(0.98 * 20)


@given(st.floats(allow_nan=True), st.floats(1, 1e6))
def test_h21_no_header_stalls_a_lane_for_more_than_a_minute(rate, amount):
    one = auto()
    one.follow(rate, 0.0, amount, 0.0)
    if one.bucket is not None:
        one.bucket.spend(0.0, amount)
        assert one.bucket.wait(0.0, amount) <= 120.1
        assert amount / one.bucket.rate <= 60 * (1 + 1e-9)


def test_what_a_person_set_moves_for_nobody():
    one = LearnedRate(600.0, 0.0)
    one.follow(1.0, 0.0, 1.0, 0.0)
    one.refused(1.0, 1.0, 1.0)
    one.overloaded(1.0)
    assert (one.per_minute, one.who) == (600.0, "you")
    assert one.tick_at == math.inf


# ------------------------------------------------------------------------------------------------------------ lifetime


def test_what_was_learned_is_where_the_next_run_begins():
    one = auto(learned=20.0)
    assert one.bucket.rate == pytest.approx(18.0)
    Sender(one).go(16)
    assert one.bucket.rate >= 19.9
    assert LearnedRate(600.0, 0.0, learned=5.0).per_minute == 600.0


@pytest.mark.parametrize("junk", [-1.0, 0.0, 1e300])
def test_a_kept_rate_that_makes_no_sense_is_forgotten(junk):
    assert auto(learned=junk).bucket is None


def test_a_rate_can_be_set_and_set_free_while_calls_are_in_the_air():
    one = LearnedRate(600.0, 0.0)
    reservation = one.bucket.take(0.0, 5.0)
    one.tune("auto", 1.0)
    assert one.bucket is None
    one.settle(reservation, 3.0, 60.0)
    one.tune(60.0, 2.0)
    assert (one.per_minute, one.who) == (60.0, "you")
    assert one.bucket.level(2.0) <= 1.0


def test_where_everything_is_refused_one_call_in_ten_seconds_still_tries():
    one, now = auto(), 0.0
    for _ in range(300):
        bucket = one.bucket
        now += bucket.wait(now, 1.0) if bucket is not None else 0.0
        if bucket is not None:
            bucket.spend(now, 1.0)
        sent(one, now)
        one.refused(now, 1.0, now)
        if one.bucket is not None:
            assert one.bucket.rate >= 0.09
