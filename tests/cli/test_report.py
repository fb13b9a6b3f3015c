"""``report``: the page holds what ``costs`` says, and goes nowhere but into a file of its own."""

import json
import shutil
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTILE, run_cli
from tests.formats.pages import Page

SUMS = {"Recorded": "recorded", "Estimated": "estimated", "Possibly billed": "possibly_billed", "Wasted": "wasted"}


def report(*words: str) -> Page:
    result = run_cli("report", *words)
    assert result.exit_code == 0, result.stderr
    return Page(Path("report.html").read_text(encoding="utf-8"))


def costs(*words: str) -> dict:
    result = run_cli("costs", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("table", "head", "by"),
    [("models", "Model", "model"), ("jobs", "Job", "job"), ("endpoints", "Endpoint", "endpoint")],
)
def test_the_page_holds_what_costs_says(worked: Path, table: str, head: str, by: str) -> None:
    told = {row[by]: row for row in costs("--by", by)["rows"]}
    whole = costs()["total"]

    *rows, foot = report().table(table)

    assert {cells[head].text for cells in rows} == set(told)
    for cells, facts in [(foot, whole), *((cells, told[cells[head].text]) for cells in rows)]:
        assert int(cells["Calls"].value or "") == facts["calls"]
        assert cells["Recorded"].text == "unpriced" or all(
            Decimal(cells[column].value or "") == Decimal(facts["usd"][name]) for column, name in SUMS.items()
        )


def test_the_key_figures_are_the_sums_of_costs(worked: Path) -> None:
    usd, shown = costs()["total"]["usd"], report().key_figures()

    assert {name: Decimal(shown[name.replace("_", "-")]) for name in SUMS.values()} == {
        name: Decimal(usd[name]) for name in SUMS.values()
    }
    assert Decimal(usd["recorded"]) > 0


def test_what_a_server_said_stays_text(worked: Path) -> None:
    shown = report()

    assert "\x1b" not in shown.text
    assert HOSTILE not in shown.text
    assert {tag.name for tag in shown.tags} & {"img", "iframe", "object", "link", "base", "form", "input"} == set()


def test_a_tag_has_a_table_and_what_has_no_tag_is_in_the_box(worked: Path) -> None:
    assert "all of it is unallocated" in report().text
    assert run_cli("retag", "mixed", "--tag", "team=<b>").exit_code == 0

    shown = report()

    assert [cells["team"].text for cells in shown.table("tag-0")] == ["<b>", "Total"]
    assert shown.table("tag-0")[0]["Recorded"] == shown.table("models")[-1]["Recorded"]


def test_budgets_are_those_of_the_list_of_budgets(worked: Path) -> None:
    for words in (("200", "--month"), ("0.000001", "--job", "mixed"), ("5", "--tag", "team=<b>", "--day")):
        assert run_cli("budget", "set", *words).exit_code == 0
    told = json.loads(run_cli("budget", "list", "--json").stdout)["budgets"]

    rows = report().table("budgets")

    names = {
        "Cap": "cap",
        "Committed": "committed",
        "Spent": "spent",
        "Possibly billed": "possibly_billed",
        "Left": "left",
    }
    assert sorted([Decimal(cells[name].value or "") for name in names] for cells in rows) == sorted(
        [Decimal(one[key]) for key in names.values()] for one in told
    )
    assert rows[0]["Budget"].text == "job 1 (mixed) used up"
    assert "Budgets as they stood on " in report("--until", "2020-01").text


def test_several_databases_are_read_as_one(worked: Path) -> None:
    shutil.copy("batchrunner.db", "copy.db")
    one = report().key_figures()

    both = report("--db", "batchrunner.db", "--db", "copy.db")

    assert Decimal(both.key_figures()["recorded"]) == 2 * Decimal(one["recorded"])
    assert {cells["Database"].text for cells in both.table("jobs")} == {"batchrunner.db", "copy.db", "Total"}
    assert report("--db", "batchrunner.db", "--db", "batchrunner.db").key_figures() == one


def test_a_period_without_calls_is_an_empty_page(worked: Path) -> None:
    shown = report("--until", "2020-01")

    assert "No call has ended yet." in shown.text
    assert shown.key_figures()["calls"] == "0"


def test_sums_of_another_zone_are_those_of_costs_there(worked: Path) -> None:
    words = ("--tz", "Pacific/Kiritimati")
    told = [(row["day"], Decimal(row["usd"]["recorded"])) for row in costs("--by", "day", *words)["rows"]]

    (day, _) = report(*words).table("daily-recorded-table")

    shown = datetime.strptime(day["Day"].text, "%d %b %Y").strftime("%Y-%m-%d")  # noqa: DTZ007 - a day has no zone
    assert [(shown, Decimal(day["Total"].value or ""))] == told


def test_times_are_those_of_the_zone_that_is_asked_for(worked: Path) -> None:
    assert "days in Asia/Tokyo" in report("--tz", "Asia/Tokyo").text
    assert run_cli("report", "--tz", "Mars/Olympus").exit_code == 2


def test_a_report_goes_to_stdout_where_that_is_asked_for(worked: Path) -> None:
    result = run_cli("report", "-o", "-")

    assert Page(result.stdout).key_figures()["recorded"] == report().key_figures()["recorded"]


@pytest.mark.parametrize(
    "words", [("-o", "report.txt"), ("-o", "no/such/report.html"), ("--since", "yore"), ("--db", "none.db")]
)
def test_what_can_not_be_written_or_read_is_said_and_nothing_is_written(worked: Path, words: tuple[str, ...]) -> None:
    before = sorted(path.name for path in worked.iterdir())

    result = run_cli("report", *words)

    assert result.exit_code in (2, 74)
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in worked.iterdir()) == before


def test_a_database_called_like_a_page_is_never_replaced_by_its_report(worked: Path) -> None:
    Path("batchrunner.db").rename("queue.html")

    result = run_cli("report", "--db", "queue.html", "-o", "./queue.html", "--force")

    assert result.exit_code == 2
    assert "database itself" in result.stderr
    assert run_cli("costs", "--db", "queue.html").exit_code == 0
