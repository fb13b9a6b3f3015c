"""Periods as people write them, and where days begin."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.clock import DAY, SECOND
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.slices import Within, before, checked_slices, day_text, offsets, period

TODAY = 20_778  # 2026-11-21


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-11", "2026-11-01", "2026-11-30"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2026-12", "2026-12-01", "2026-12-31"),
        ("2026-11-05", "2026-11-05", "2026-11-05"),
        (" today ", "2026-11-21", "2026-11-21"),
        ("yesterday", "2026-11-20", "2026-11-20"),
    ],
)
def test_a_period_is_read_as_its_first_and_last_day(text: str, first: str, last: str) -> None:
    since, until = period(text, TODAY)
    assert (day_text(since), day_text(until)) == (first, last)


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-02-30", "11/2026", "", "2026-1", "٢٠٢٦-١١", "0000-01"])
def test_what_is_no_period_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="day or month"):
        period(text, TODAY)


@pytest.mark.parametrize(
    ("period_", "earlier"),
    [
        (("2026-11", "2026-11"), ("2026-10-01", "2026-10-31")),
        (("2026-01", "2026-01"), ("2025-12-01", "2025-12-31")),
        (("2026-01", "2026-03"), ("2025-10-01", "2025-12-31")),
        (("2026-11-09", "2026-11-15"), ("2026-11-02", "2026-11-08")),
        (("2026-03-01", "2026-03-30"), ("2026-01-30", "2026-02-28")),
    ],
)
def test_before_whole_months_are_as_many_months_and_before_days_as_many_days(
    period_: tuple[str, str], earlier: tuple[str, str]
) -> None:
    now = Within(period(period_[0], TODAY)[0], period(period_[1], TODAY)[1])
    then = before(now)
    assert then.since is not None
    assert then.until is not None
    assert (day_text(then.since), day_text(then.until)) == earlier


def test_an_open_period_has_none_before_it() -> None:
    with pytest.raises(ConfigurationError, match="two ends"):
        before(Within(since=TODAY))


def test_a_slice_is_named_once_and_an_unknown_one_is_refused() -> None:
    assert checked_slices(["day", "tag:a", "day"]) == ("day", "tag:a")
    with pytest.raises(ConfigurationError, match="moon"):
        checked_slices(["moon"])


@given(
    st.sampled_from(
        ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]
    ),
    st.integers(1_500_000_000, 1_800_000_000),
    st.integers(0, 700 * 86_400),
    st.data(),
)
def test_the_offset_that_holds_is_the_one_of_the_time_zone(
    zone: str, start: int, length: int, data: st.DataObject
) -> None:
    known = ZoneInfo(zone)
    found = offsets(known, start * SECOND, (start + length) * SECOND)
    at = start + data.draw(st.integers(0, length))
    (_, holds), *later = found
    for since, offset in later:
        if at * SECOND >= since:
            holds = offset
    assert timedelta(microseconds=holds) == datetime.fromtimestamp(at, UTC).astimezone(known).utcoffset()
    assert len(found) <= 2 + 4 * (length * SECOND // (365 * DAY) + 1)
