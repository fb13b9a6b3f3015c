"""Patience: which causes are waited for, what a quota of the day looks like, and when 06:30 is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.pauses import Patience, next_time, probe_interval, quota_wait

HOUR = 3_600_000_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]


def at(text, zone="UTC"):
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


def limited(message="slow down", retry_after=None):
    return Failure(FailureKind.RATE_LIMITED, message, Billing.NOT_BILLED, 429, retry_after=retry_after)


@pytest.mark.parametrize("kind", ["auth", "no_credit", "model_unavailable", "misconfigured"])
def test_what_a_person_has_to_act_on_ends_a_run_unless_it_is_told_to_wait(kind):
    assert not Patience().waits(FailureKind(kind))
    assert Patience(on_pause="wait").waits(FailureKind(kind))


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "connection", "timeout", "server_error"])
def test_outages_and_quotas_are_waited_for_unless_the_run_is_told_to_end(kind):
    assert Patience().waits(FailureKind(kind))
    assert not Patience(on_pause="exit").waits(FailureKind(kind))


def test_probes_come_after_1_2_4_8_and_then_every_15_minutes():
    assert [probe_interval(n) / 60 for n in range(6)] == [1, 2, 4, 8, 15, 15]
    assert probe_interval(10**9) == 900


def test_a_429_that_asks_for_long_or_names_the_day_is_a_quota():
    assert quota_wait(limited(retry_after=3600.0)) == 3600.0
    assert quota_wait(limited("Rate limit reached on requests per day (RPD): Limit 200", 7.0)) == 60.0
    assert quota_wait(limited("You used up your 1000 requests per day")) == 60.0
    assert quota_wait(limited("the daily quota is used up", 600.0)) == 600.0


@pytest.mark.parametrize(
    "failure",
    [
        limited(),
        limited(retry_after=30.0),
        limited("60 requests per minute; have a nice day", 60.0),
        limited(retry_after=3600.0)._replace(kind=FailureKind.OVERLOADED),
    ],
    ids=["plain", "short", "minute", "503"],
)
def test_every_other_refusal_is_none(failure):
    assert quota_wait(failure) is None


def test_a_time_that_has_passed_today_means_tomorrow():
    assert next_time("06:30", at("2026-03-01T22:00"), UTC) == at("2026-03-02T06:30")
    assert next_time("23:59:30", at("2026-03-01T22:00"), UTC) == at("2026-03-01T23:59:30")
    assert next_time("6:30", at("2026-03-01T06:30"), UTC) == at("2026-03-02T06:30")


def test_a_date_time_is_taken_as_it_is():
    assert next_time("2026-03-05T06:30", 0, UTC) == at("2026-03-05T06:30")
    assert next_time("2026-03-05 06:30+02:00", 0, ZoneInfo("Asia/Tokyo")) == at("2026-03-05T04:30")


def test_t4_on_the_night_when_the_clocks_change_no_time_is_lost_or_comes_late():
    berlin = ZoneInfo("Europe/Berlin")
    before_spring = at("2026-03-29T00:30", "Europe/Berlin")
    assert next_time("02:30", before_spring, berlin) - before_spring == 2 * HOUR, "it does not exist: 03:30 is meant"
    before_autumn = at("2026-10-25T00:30", "Europe/Berlin")
    first = next_time("02:30", before_autumn, berlin)
    assert first - before_autumn == 2 * HOUR
    assert next_time("02:30", first, berlin) - first == HOUR, "it comes twice"


@given(
    st.integers(946_684_800, 2_840_140_800),
    st.times(),
    st.sampled_from(ZONES),
)
def test_t4_the_next_time_lies_ahead_within_a_day_and_two_hours_and_reads_as_asked(second, time, zone):
    now = second * 1_000_000
    then = next_time(f"{time:%H:%M}", now, ZoneInfo(zone))
    assert then - now > 0
    if zone != "Pacific/Apia" or not at("2011-12-27T00:00") < now < at("2012-01-01T00:00"):  # it skipped a whole day
        assert then - now <= 26 * HOUR
        local = datetime.fromtimestamp(then / 1e6, ZoneInfo(zone))
        off = abs(timedelta(hours=local.hour - time.hour, minutes=local.minute - time.minute))
        assert min(off, timedelta(days=1) - off) <= timedelta(hours=1)


@pytest.mark.parametrize("text", ["", "25:00", "06:60", "half past six", "06:30pm", "2026-13-01", "06.30"])
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="06:30"):
        next_time(text, 0, UTC)


def test_the_earlier_of_two_deadlines_counts():
    now = at("2026-03-01T22:00:00")
    assert Patience().seconds(now) is None
    assert Patience(run_for=60.0).seconds(now) == 60.0
    assert Patience(run_for=60.0, until="2026-03-01T22:00:30+00:00").seconds(now) == 30.0
    assert Patience(until="2026-03-01T21:00:00+00:00").seconds(now) == 0.0, "it has passed"
