"""Limit headers as Together, OpenAI and Azure send them, and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.hints import LONGEST_STALL, LimitHints
from batchrunner.endpoints.limitheaders import MAX_RESET, read_limits, read_reset

NOW = 1_795_000_000_000_000
REPLY = Reply(200, b"{}", None)


def read(outcome=REPLY, **headers):
    return read_limits({name.replace("_", "-"): value for name, value in headers.items()}, NOW, outcome)


def refused(body=b"{}"):
    return Failure(FailureKind.RATE_LIMITED, "", Billing.NOT_BILLED, 429, body)


# ------------------------------------------------------------------------------------------------------- the providers


def test_together_allows_so_much_a_second():
    found = read(
        x_ratelimit_limit="10", x_ratelimit_remaining="9", x_ratelimit_reset="0.1",
        x_tokenlimit_limit="3000", x_tokenlimit_remaining="2900",
    )  # fmt: skip
    assert found == LimitHints(10.0, 3_000.0)


def test_togethers_dynamic_limits_come_before_the_plain_ones():
    found = read(
        x_ratelimit_limit="10", x_ratelimit_limit_dynamic="4.5",
        x_tokenlimit_limit="3000", x_tokenlimit_limit_dynamic="1200",
    )  # fmt: skip
    assert found == LimitHints(4.5, 1_200.0)
    assert read(x_ratelimit_limit="10", x_ratelimit_limit_dynamic="-1") == LimitHints(10.0)


def test_togethers_odd_token_header_is_taken_by_the_second_so_that_a_mistake_only_allows_more():
    assert read(x_ratelimit_limit_tokens="3000", x_ratelimit_remaining_tokens="2000") == LimitHints(None, 3_000.0)
    assert read(x_ratelimit_limit="10", x_ratelimit_limit_tokens="3000") == LimitHints(10.0, 3_000.0)


def test_openai_allows_so_much_a_minute():
    found = read(
        x_ratelimit_limit_requests="60", x_ratelimit_limit_tokens="150000",
        x_ratelimit_remaining_requests="59", x_ratelimit_remaining_tokens="149984",
        x_ratelimit_reset_requests="1s", x_ratelimit_reset_tokens="6m0s",
    )  # fmt: skip
    assert found.requests == pytest.approx(1.0)


def test_a_limit_that_comes_back_far_slower_than_in_a_minute_is_a_days_and_no_rate():
    day = {"x_ratelimit_limit_requests": "10000", "x_ratelimit_remaining_requests": "9000"}
    assert read(**day, x_ratelimit_reset_requests="2h24m0s") is None
    minute = {"x_ratelimit_limit_requests": "600", "x_ratelimit_remaining_requests": "0"}
    assert read(**minute, x_ratelimit_reset_requests="1m0s").requests == pytest.approx(10)


@pytest.mark.parametrize("sentinel", ["-1", "0", "", "unlimited", "NaN", "inf", "1e999", "99999999999999999999"])
def test_sentinels_and_junk_say_nothing(sentinel):
    assert read(x_ratelimit_limit=sentinel, x_ratelimit_remaining=sentinel) is None
    assert read(x_ratelimit_limit_requests=sentinel, x_ratelimit_limit_tokens=sentinel) is None


def test_no_headers_say_nothing():
    assert read() is None
    assert read_limits({}, NOW, refused()) is None


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_refusal_is_ready_when_the_next_call_would_pass():
    openai = {"x_ratelimit_limit_requests": "60", "x_ratelimit_remaining_requests": "0"}
    assert read(refused(), **openai, x_ratelimit_reset_requests="1m0s").ready_in == pytest.approx(1.0)
    together = {"x_ratelimit_limit": "10", "x_ratelimit_remaining": "0"}
    assert read(refused(), **together, x_ratelimit_reset="1").ready_in == pytest.approx(0.1)
    assert read(refused(), x_ratelimit_reset="2.5").ready_in == pytest.approx(2.5)
    assert read(REPLY, x_ratelimit_reset="2.5") is None


@pytest.mark.parametrize("reset", ["-5", "86400", "0", "1970-01-01T00:00:00Z", "1e999", "NaN", "soon", "1000000000"])
def test_no_reset_keeps_a_lane_waiting_for_more_than_a_minute(reset):
    for headers in (
        {"x_ratelimit_reset": reset},
        {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": reset},
    ):
        found = read(refused(), **headers)
        assert found is None or found.ready_in is None or 0 <= found.ready_in <= LONGEST_STALL


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"error":{"type":"dynamic_token_limited"}}', True),
        (b'{"error":{"type":"dynamic_request_limited"}}', False),
        (b'{"error":{"type":"tokens","message":"Limit reached on tokens per min (TPM): 30000"}}', True),
        (b'{"error":{"type":"requests","message":"Limit reached on requests per min (RPM)"}}', False),
        (b'{"error":{"message":"reached the rate limit, 60 queries (and 60000 tokens) per minute"}}', False),
        (b"too many requests", False),
    ],
)
def test_a_refusal_says_what_it_is_short_of(body, tokens):
    found = read(refused(body), x_ratelimit_limit="10")
    assert found.short_of_tokens is tokens


def test_a_refusal_that_is_silent_is_short_of_what_none_is_left_of():
    left = {"x_ratelimit_limit": "10", "x_ratelimit_remaining": "7", "x_tokenlimit_remaining": "0"}
    assert read(refused(), **left).short_of_tokens
    assert not read(refused(), **(left | {"x_ratelimit_remaining": "0"})).short_of_tokens


# -------------------------------------------------------------------------------------------------------------- resets


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12ms", 0.012), ("120ms", 0.12), ("1s", 1), ("18.642s", 18.642), ("6m0s", 360), ("1h2m3s", 3_600),
        ("59m59s", 3_599), ("250us", 0.000_25), ("250µs", 0.000_25), ("5ns", 5e-9), ("1m30.5s", 90.5),
        ("0", 0), ("7", 7), ("0.25", 0.25), ("999999999", MAX_RESET),
        (str(NOW // 1_000_000 + 30), 30), (str(NOW // 1_000 + 1_500), 1.5), (str(10**9), 0),
        ("2026-11-18T11:07:30Z", None), ("-1", None), ("1h-2m", None), ("", None), ("soon", None), ("m", None),
        ("1e999", None), ("NaN", None), ("2026-99-99T00:00:00Z", None),
    ],
)  # fmt: skip
def test_a_reset_is_read_in_every_spelling(text, seconds):
    found = read_reset(text, NOW)
    if text.startswith("2026-11"):
        assert found is not None
    else:
        assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


def test_a_time_of_day_is_read_against_the_moment_of_the_reply():
    received = 1_700_000_000 * 1_000_000  # 2023-11-14T22:13:20Z
    assert read_reset("2023-11-14T22:13:50Z", received) == pytest.approx(30)
    assert read_reset("2023-11-14T23:13:20+01:00", received) == 0


NAMES = [
    f"x-ratelimit-{what}{of}"
    for what in ("limit", "remaining", "reset")
    for of in ("", "-requests", "-tokens", "-dynamic")
] + ["x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-limit-dynamic"]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30) | st.floats().map(str) | st.integers().map(str)),
    st.binary(max_size=60),
)
def test_whatever_the_headers_are_what_comes_out_is_sane(headers, body):
    for outcome in (REPLY, refused(body)):
        found = read_limits(headers, NOW, outcome)
        if found is not None:
            assert found.requests is None or 0 < found.requests < 1e12
            assert found.tokens is None or 0 < found.tokens < 1e12
            assert found.ready_in is None or 0 <= found.ready_in <= LONGEST_STALL
