"""The bill from Python: slices, caps, tags and the report, over a real socket."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import batchrunner
from batchrunner.core.pricing import PICO
from tests.api.test_queue import Served, job_file, served

__all__ = ["job_file", "served"]


@pytest.fixture
def queue(served: Served, tmp_path: Path) -> Any:
    with batchrunner.open_blocking(tmp_path / "q.db") as opened:
        yield opened


@pytest.fixture
def bounded(job_file: Path) -> Path:
    text = job_file.read_text()
    job_file.write_text(text.replace('"seed":', '"max_tokens": 9, "seed":'))
    return job_file


def test_costs_are_sliced_by_any_tag_and_day_and_count_only_what_is_asked_for(queue: Any, job_file: Path) -> None:
    job = queue.load(job_file)
    queue.run(job)
    queue.retag(job, {"team": "search"})
    today = datetime.now(UTC).date()

    (total,) = queue.costs()
    (row,) = queue.costs(["tag:team", "day"], job, since=date(2026, 1, 1), until=today, tags={"team": "search"})

    assert (row.key, row.recorded) == (("search", today.isoformat()), total.recorded)
    assert total.recorded > 0
    assert queue.costs(since=today, until=today) == [total], "a period of one day is one"
    assert queue.costs(tags={"team": None})[0].attempts == 0
    assert queue.costs(until="2026-01")[0].attempts == 0
    assert queue.costs(until=today.isoformat()[:7]) == [total], "all of the month counts"


def test_a_cap_ends_a_run_before_it_could_be_passed_and_a_higher_one_lets_it_go_on(queue: Any, bounded: Path) -> None:
    job = queue.load(bounded)
    queue.set_budget("0.00002", job=job)  # the worst case of a row is about a quarter of that

    stopped = queue.run(job)
    (line,) = queue.budgets()

    assert stopped.left > 0
    assert line.budget.cap == 20_000_000
    assert 0 < line.spent.committed <= line.budget.cap

    queue.remove_budget(job=job)
    queue.set_budget(Decimal(2), each="month")
    assert [line.budget.name for line in queue.budgets()] == ["month"]
    assert queue.run(job).left == 0


def test_a_tag_of_lines_gives_way_only_where_that_is_said(queue: Any, job_file: Path) -> None:
    tagged = '{"metadata": {"tags": {"team": "ads"}}, '
    job_file.write_text(job_file.read_text().replace("{", tagged, 1))
    job = queue.load(job_file)
    queue.run(job)

    def calls() -> dict[str, int]:
        return {row.key[0]: row.attempts for row in queue.costs(["tag:team"])}

    queue.retag(job, {"team": "search"})
    assert calls() == {"ads": 1, "search": 19}
    queue.retag(job, {"team": "search"}, lines=True)
    assert calls() == {"search": 20}


@pytest.mark.parametrize("dollars", [0.1, "a lot", -1, "0.0000000000001"])
def test_what_is_no_amount_of_money_caps_nothing(queue: Any, job_file: Path, dollars: Any) -> None:
    queue.load(job_file)

    with pytest.raises(batchrunner.ConfigurationError):
        queue.set_budget(dollars)

    assert queue.budgets() == ()


@pytest.mark.parametrize(
    "asked",
    [{"since": "2026-11", "until": "2026-10"}, {"since": "soon"}, {"tz": "Nowhere/At_all"}],
    ids=["ends before it begins", "no day", "no zone"],
)
def test_a_period_that_is_none_is_refused(queue: Any, job_file: Path, tmp_path: Path, asked: dict[str, str]) -> None:
    queue.load(job_file)

    with pytest.raises(batchrunner.ConfigurationError):
        queue.costs(**asked)
    with pytest.raises(batchrunner.ConfigurationError):
        queue.report(tmp_path / "r.html", **asked)

    assert not (tmp_path / "r.html").exists()


def test_the_report_is_a_page_with_the_same_sum(queue: Any, job_file: Path, tmp_path: Path) -> None:
    job = queue.load(job_file)
    queue.run(job)

    written = queue.report(tmp_path / "r.html")

    (total,) = queue.costs()
    assert written.calls == total.attempts
    assert f'<data value="{Decimal(total.recorded) / PICO:f}">' in (tmp_path / "r.html").read_text()
