"""For how long a provider asks us to stay away."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.retryafter import retry_after

RECEIVED = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
RECEIVED_US = int(RECEIVED.timestamp()) * 1_000_000
SENT = "Sun, 06 Nov 1994 08:49:07 GMT"  # half a minute before we received it, by the server's clock


def read(value=None, *, ms=None, date=None):
    headers = {"retry-after": value, "retry-after-ms": ms, "date": date}
    return retry_after({name: text for name, text in headers.items() if text is not None}, RECEIVED_US)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        ("0", 0),
        ("0.5", 0.5),
        (" 12 ", 12),
        ("007", 7),
        ("5.", 5),
        ("1e2", 100),
        ("3600", 3_600),
        ("3601", 3_600),
        ("999999999", 3_600),
    ],
)
def test_seconds_are_read_and_clamped_to_an_hour(value, seconds):
    assert read(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-1",
        "-0.5",
        "+5",
        "nan",
        "NaN",
        "inf",
        "Infinity",
        "1e999",
        "9" * 400,
        "9" * 5_000,
        "5 s",
        "5s",
        "1_000",
        "0x10",
        "\u0665",
        ",",
        "Fri",
        "Sunday",
        "Friday, 13",
        "Fri, 99 Foo 9999 99:99:99 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "2026-11-06T08:49:37Z",
    ],
)
def test_h7_what_can_not_be_read_says_nothing(value):
    assert read(value) is None
    assert read(ms=value) is None


def test_no_header_says_nothing():
    assert read() is None


@pytest.mark.parametrize(
    ("value", "seconds"), [("250", 0.25), ("0", 0), ("1500.5", 1.5005), ("3600001", 3_600), ("99999999999", 3_600)]
)
def test_milliseconds_are_read(value, seconds):
    assert read(ms=value) == seconds


def test_milliseconds_come_before_seconds_unless_they_can_not_be_read():
    assert read("9", ms="250") == 0.25
    assert read("9", ms="soon") == 9


@pytest.mark.parametrize(
    "value", ["Sun, 06 Nov 1994 08:51:07 GMT", "Sunday, 06-Nov-94 08:51:07 GMT", "Sun Nov  6 08:51:07 1994"]
)
def test_all_three_forms_of_a_date_are_read(value):
    assert read(value) == 90


def test_t3_a_date_is_read_against_the_servers_own_clock():
    assert read("Sun, 06 Nov 1994 08:51:07 GMT", date=SENT) == 120
    assert read("Sun, 06 Nov 1994 08:51:07 GMT", date="yesterday") == 90
    assert read("Sun, 06 Nov 1994 08:51:07 GMT", date="") == 90


def test_t3_a_date_far_ahead_is_clamped_and_a_date_in_the_past_is_now():
    assert read("Mon, 06 Nov 2094 08:51:07 GMT") == 3_600
    assert read("Sun, 06 Nov 1994 08:49:36 GMT") == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5, 7", 5),
        ("soon, 7", 7),
        ("-1,0.5", 0.5),
        ("Sun, 06 Nov 1994 08:51:07 GMT, 7", 90),
        ("nan, Sun, 06 Nov 1994 08:51:07 GMT", 90),
    ],
)
def test_h7_of_several_values_the_first_readable_one_counts(value, seconds):
    assert read(value) == seconds


@given(st.integers(0, 3_600), st.integers(0, 10**9))
def test_t3_every_date_that_is_written_right_is_read_right(ahead, since):
    sent = RECEIVED + timedelta(seconds=since)
    value = format_datetime(sent + timedelta(seconds=ahead), usegmt=True)
    assert read(value, date=format_datetime(sent, usegmt=True)) == ahead


@given(st.floats(0, 3_600))
def test_every_number_of_seconds_comes_back(seconds):
    assert read(repr(seconds)) == seconds


pieces = st.text(max_size=40) | st.sampled_from(
    [
        "Sun, 06 Nov 1994 08:51:07 GMT",
        "Sun",
        "06-Nov-94",
        "1e400",
        "-",
        ":",
        "GMT",
        "+2400",
        "-99999999",
        "5",
        "Nov  6 08:",
    ]
)
junk = st.lists(pieces, max_size=8).map("".join) | st.lists(pieces, max_size=8).map(" ".join)


@given(st.none() | junk, st.none() | junk, st.none() | junk, st.integers())
def test_no_header_makes_it_raise_or_wait_longer_than_an_hour(value, ms, date, received):
    headers = {"retry-after": value, "retry-after-ms": ms, "date": date}
    seconds = retry_after({name: text for name, text in headers.items() if text is not None}, received)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= 3_600)
