"""The provider's own limits: nothing gets past them in any window, and nothing is refused without need."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.simulator import Provider, Settings, worst_window
from batchrunner.simulator.limits import Bucket

gaps = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 400)), min_size=1, max_size=60)


@given(steps=gaps, rate=st.floats(0.1, 50), capacity=st.floats(1, 100))
def test_a_bucket_holds_its_promise_over_all_windows(steps, rate, capacity):
    now, bucket, taken = 0.0, Bucket(rate, capacity, 0.0), []
    for gap, amount in steps:
        now += gap
        if not bucket.wait(amount, now):
            bucket.take(amount, now)
            taken.append((now, float(amount)))
    largest = max((amount for _, amount in taken), default=0.0)
    assert worst_window(taken, rate, max(capacity, largest)).excess <= 1e-6


@given(amount=st.integers(1, 400), rate=st.floats(0.1, 50), capacity=st.floats(1, 100))
def test_the_wait_that_is_told_is_enough_and_no_more(amount, rate, capacity):
    bucket = Bucket(rate, capacity, 0.0)
    bucket.take(capacity, 0.0)
    wait = bucket.wait(amount, 0.0)
    assert bucket.wait(amount, wait * 0.99) > 0
    assert bucket.wait(amount, wait + 1e-6) == 0


@given(steps=gaps, rpm=st.integers(20, 600), tpm=st.integers(500, 60_000), counted=st.sampled_from(["max", "real"]))
def test_no_window_admits_more_than_the_limits(steps, rpm, tpm, counted):
    now = 0.0
    settings = Settings(requests_per_minute=rpm, tokens_per_minute=tpm, count_tokens=counted)
    provider = Provider(settings, now=lambda: now, wall=lambda: 0.0)
    for number, (gap, most) in enumerate(steps):
        now += gap / 5
        body = {"model": "m", "messages": [{"role": "user", "content": str(number)}], "max_tokens": most}
        provider.handle("POST", "/v1/chat/completions", {"authorization": "Bearer k"}, json.dumps(body).encode())
    ledger = provider.ledger
    assert ledger.worst_excess(rpm / 60, max(1, rpm / 60), admitted_only=True) <= 1e-6
    largest = max((entry.admission_tokens for entry in ledger.entries), default=0)
    assert ledger.worst_excess(tpm / 60, max(tpm / 60, largest), weight="tokens", admitted_only=True) <= 1e-6
    if counted == "real":
        assert all(entry.admission_tokens == entry.input_tokens + entry.output_tokens for entry in ledger.entries)


def test_steady_traffic_at_the_limit_is_never_refused(desk, clock):
    counter = desk(requests_per_minute=600)
    for number in range(200):
        assert counter.chat(str(number)).status == 200
        clock.time += 0.1


def test_each_model_has_buckets_of_its_own(desk):
    counter = desk(requests_per_minute=60, model_limits={"wide": (600, None), "free": (None, None)})
    assert [counter.chat(model="m").status for _ in range(2)] == [200, 429]
    assert [counter.chat(model="wide").status for _ in range(11)] == [200] * 10 + [429]
    assert [counter.chat(model="free").status for _ in range(30)] == [200] * 30


def test_the_token_limit_counts_the_reserve_or_the_real_length(desk):
    reserve, real = (desk(tokens_per_minute=60_000, count_tokens=way) for way in ("max", "real"))
    assert [counter.chat(max_tokens=900).status for counter in (reserve, reserve)] == [200, 429]
    assert [counter.chat(max_tokens=900).status for counter in (real, real)] == [200, 200]


def test_a_call_larger_than_the_bucket_passes_and_leaves_a_debt(desk, clock):
    counter = desk(tokens_per_minute=600)
    assert counter.chat(max_tokens=100).status == 200
    clock.time += 5
    assert counter.chat(max_tokens=100).status == 429
    clock.time += 6
    assert counter.chat(max_tokens=100).status == 200


def test_changed_limits_do_not_fill_a_bucket(desk):
    counter = desk(requests_per_minute=60)
    counter.chat()
    counter.provider.change(counter.provider.settings.patched({"requests_per_minute": 6000}))
    assert counter.chat().status == 429


def test_a_rate_of_zero_admits_the_burst_and_then_nothing(desk, clock):
    counter = desk(requests_per_minute=0)
    assert counter.chat().status == 200
    clock.time += 1e6
    assert counter.chat().headers["Retry-After"] == "3600"


def test_the_worst_window_is_the_same_as_by_looking_at_all_of_them():
    events = [(0.0, 1.0), (0.1, 1.0), (3.0, 2.0), (3.0, 1.0), (3.4, 1.0), (9.0, 1.0)]
    rate, burst = 0.7, 1.0
    by_hand = max(
        sum(amount for time, amount in events if start <= time <= end) - rate * (end - start) - burst
        for start, _ in events
        for end, _ in events
        if end >= start
    )
    found = worst_window(events, rate, burst)
    assert found.excess == pytest.approx(by_hand)
    assert (found.start, found.end, found.amount) == (3.0, 3.4, 4.0)
    assert worst_window([], rate, burst).excess == -burst
