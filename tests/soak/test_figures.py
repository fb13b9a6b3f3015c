"""The soak's own arithmetic, and where its report goes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak import report
from tests.soak.__main__ import between, cycles
from tests.soak.era import lines
from tests.soak.figures import Slope, look


@given(
    st.floats(-1e6, 1e6), st.floats(-1e5, 1e5),
    st.lists(st.integers(0, 10**5), min_size=3, max_size=60, unique=True), st.floats(0, 1e6),
)  # fmt: skip
def test_a_straight_line_has_its_own_slope_wherever_it_begins(
    height: float, per_second: float, seconds: list[int], since: float
) -> None:
    slope = Slope()
    for second in seconds:
        slope.add(since + second, height + per_second * second)
    assert slope.per_hour == pytest.approx(per_second * 3600, rel=1e-3, abs=1e-1 * max(1.0, abs(height)))


def test_two_samples_are_no_line() -> None:
    slope = Slope()
    slope.add(0, 1)
    slope.add(1, 2)
    assert slope.per_hour is None


def test_a_process_is_looked_at_by_the_kernels_account() -> None:
    seen = look(os.getpid())
    assert seen is not None
    assert seen.peak >= seen.rss > 10 << 20
    assert seen.files >= 3
    assert seen.threads >= 1
    assert look(2**22 + 1) is None


def test_an_hour_has_two_hundred_kills_in_quick_succession_and_a_short_soak_some() -> None:
    assert (cycles(3_600), cycles(1_800), cycles(180)) == (200, 200, 12)
    assert (between(3_600), between(30_000), between(60)) == (120, 240, 8)


def test_the_same_seed_makes_the_same_rows_and_no_two_alike() -> None:
    rows = list(lines(500, 3))
    assert rows == list(lines(500, 3))
    assert rows != list(lines(500, 4))
    assert len({row["custom_id"] for row in rows}) == len({str(row["body"]) for row in rows}) == 500


def test_a_report_replaces_the_last_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "page.md"
    monkeypatch.setattr(report, "PAGE", written)
    written.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.page("new\n")
    assert written.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    written.write_text("no markers")
    with pytest.raises(SystemExit):
        report.page("new\n")
    assert written.read_text() == "no markers"
