"""``costs`` as finance asks it: whose, when, against last month, against the invoice, and into its own tools."""

import csv
import io
import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchrunner.cli import render
from tests.cli.conftest import CHAT, EMBED, HOSTILE, NO_PRICE, run_cli

FORMULA = '=HYPERLINK("http://evil.example","x")'


def ran(*words: str) -> str:
    ended = run_cli("costs", *words)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout


def facts(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(*words, "--json"))
    return found


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def change(place: Path, statement: str, *values: Any) -> None:
    """What a run of another day would have written."""
    with closing(sqlite3.connect(place / "batchrunner.db")) as connection, connection:
        connection.execute(statement, values)


@pytest.fixture
def tagged(worked: Path) -> Path:
    """The job with a tag that one half of its calls has of its own."""
    change(worked, "UPDATE jobs SET tags = ?", json.dumps({"team": "core"}))
    change(worked, "INSERT INTO tag_sets (id, digest, tags) VALUES (1, x'01', ?)", json.dumps({"team": FORMULA}))
    change(worked, "UPDATE totals SET tag_set_id = 1 WHERE endpoint = '/v1/embeddings'")
    return worked


def test_what_nobody_has_a_tag_for_is_a_row_of_its_own(worked: Path) -> None:
    shown = ran("--by", "tag:team")
    assert shown.splitlines()[2].startswith("(unallocated)")
    (row,) = facts("--by", "tag:team")["rows"]
    assert row["tag:team"] is None
    assert row["usd"] == facts()["total"]["usd"]


def test_a_lines_tag_wins_over_its_jobs_until_retag_says_otherwise(tagged: Path) -> None:
    assert [row["tag:team"] for row in facts("--by", "tag:team")["rows"]] == [FORMULA, "core"]
    assert run_cli("retag", "mixed", "--tag", "team=ads").exit_code == 0
    assert [row["tag:team"] for row in facts("--by", "tag:team")["rows"]] == [FORMULA, "ads"]
    assert run_cli("retag", "mixed", "--tag", "team=ads", "--lines").exit_code == 0
    assert [row["tag:team"] for row in facts("--by", "tag:team")["rows"]] == ["ads"]
    assert run_cli("retag", "mixed", "--untag", "team", "--lines").exit_code == 0
    assert [row["tag:team"] for row in facts("--by", "tag:team")["rows"]] == [None]
    with closing(sqlite3.connect(tagged / "batchrunner.db")) as connection:
        kept = connection.execute("SELECT change, lines FROM retags ORDER BY id").fetchall()
    assert kept == [('{"team":"ads"}', 0), ('{"team":"ads"}', 1), ('{"team":null}', 1)]


@pytest.mark.parametrize("words", [(), ("--tag", "team=a", "--untag", "team")])
def test_a_retag_that_says_nothing_or_both_is_a_usage_error(worked: Path, words: tuple[str, ...]) -> None:
    assert run_cli("retag", "mixed", *words).exit_code == 2


def test_only_what_has_a_tag_or_has_none_can_be_counted(tagged: Path) -> None:
    whole = facts()["total"]["calls"]
    ours, none = facts("--tag", "team=core")["total"]["calls"], facts("--tag", "team=")["total"]["calls"]
    assert (0 < ours < whole, none) == (True, 0)
    assert run_cli("costs", "--tag", "team").exit_code == 2


def test_a_period_counts_its_days_and_no_others(worked: Path) -> None:
    change(worked, "UPDATE totals SET day = 20_757 WHERE endpoint = '/v1/embeddings'".replace("_", ""))  # 2026-10-31
    change(worked, "UPDATE totals SET day = 20758 WHERE endpoint <> '/v1/embeddings'")  # 2026-11-01
    assert [row["month"] for row in facts("--by", "month")["rows"]] == ["2026-10", "2026-11"]
    october = facts("--month", "2026-10", "--by", "endpoint")
    assert [row["endpoint"] for row in october["rows"]] == ["/v1/embeddings"]
    assert (october["since"], october["until"]) == ("2026-10-01", "2026-10-31")
    later = facts("--since", "2026-11-01")["total"]["calls"]
    assert later + october["total"]["calls"] == facts()["total"]["calls"]
    assert facts("--until", "2026-10-30")["total"]["calls"] == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--since", "2026-11", "--until", "2026-10"), "ends before it begins"),
        (("--month", "2026-11", "--until", "2026-10"), "period of its own"),
        (("--month", "November"), "2026-11-05"),
        (("--tz", "Mars/Olympus"), "Europe/Berlin"),
        (("--compare", "previous"), "two ends"),
        (("--csv", "--json"), "one format"),
        (("--format", "focus", "--tz", "Asia/Tokyo"), "UTC"),
        (("--by", "tag:"), "tag:KEY"),
        (("--db", "batchrunner.db", "--db", "nowhere.db"), "nowhere.db"),
    ],
)
def test_what_can_not_be_asked_is_refused_in_words(worked: Path, words: tuple[str, ...], why: str) -> None:
    ended = run_cli("costs", *words)
    assert ended.exit_code in (2, 74)
    assert why in ended.stderr


def test_two_periods_stand_beside_each_other_and_their_change_is_traffic_and_price(worked: Path) -> None:
    change(worked, "DELETE FROM totals WHERE endpoint <> '/v1/chat/completions' OR cost = 0")
    change(worked, "UPDATE totals SET day = 20750, n = 10, cost = 1000")  # 2026-10-24
    columns = "job_id, model_id, endpoint, tag_set_id, rate_id, account, class, billing, use, usage_from, outcome"
    sums = "tin, tcached, tout, treason, hold, unpriced"
    change(
        worked,
        f"INSERT INTO totals (day, n, cost, {columns}, {sums}) SELECT 20780, 15, 2100, {columns}, {sums} FROM totals",
    )
    found = facts("--month", "2026-11", "--compare", "previous", "--by", "model")
    (row,) = found["rows"]
    assert (row["now"]["succeeded"], row["before"]["succeeded"]) == (15, 10)
    assert row["change_usd"] == {"recorded": "0.0000000011", "by_traffic": "0.0000000005", "by_price": "0.0000000006"}
    assert found["total"]["change_usd"] == row["change_usd"]
    same = facts("--month", "2026-11", "--compare", "2026-10-01..2026-10-31", "--by", "model")
    assert same["rows"] == found["rows"]
    (line,) = table(ran("--month", "2026-11", "--compare", "2026-10", "--by", "model", "--csv"))
    assert (line["recorded_usd"], line["before_recorded_usd"]) == ("0.0000000021", "0.000000001")
    assert line["change_by_price_usd"] == "0.0000000006"
    shown = ran("--month", "2026-10", "--compare", "2026-11", "--by", "model")
    assert "answers before" in shown.splitlines()[0]


def test_csv_has_every_digit_and_no_formula(tagged: Path) -> None:
    lines = table(ran("--by", "tag:team,model", "--csv"))
    whole = facts()["total"]
    for name in ("recorded", "estimated", "possibly_billed", "wasted"):
        assert sum(Decimal(line[f"{name}_usd"]) for line in lines) == Decimal(whole["usd"][name])
    assert sum(int(line["unpriced_calls"]) for line in lines) == whole["unpriced_calls"] == 1
    assert "'" + FORMULA in {line["tag:team"] for line in lines}


def test_parquet_has_the_same_rows_exactly(tagged: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    ended = run_cli("costs", "--by", "tag:team,model", "--parquet", "-o", "costs.parquet")
    assert ended.exit_code == 0, ended.stderr
    rows = parquet.read_table(tagged / "costs.parquet").to_pylist()
    lines = table(ran("--by", "tag:team,model", "--csv"))
    assert [row["recorded_usd"] for row in rows] == [Decimal(line["recorded_usd"]) for line in lines]
    assert FORMULA in {row["tag:team"] for row in rows}
    assert run_cli("costs", "--parquet", "-o", "costs.parquet").exit_code == 2, "what is there is not replaced"
    assert run_cli("costs", "--parquet", "-o", "costs.parquet", "--force").exit_code == 0
    refused = run_cli("costs", "--csv", "-o", "batchrunner.db", "--force")
    assert (refused.exit_code, "database's own" in refused.stderr) == (2, True)


def test_several_databases_are_read_as_one(worked: Path) -> None:
    alone = facts()["total"]
    with closing(sqlite3.connect(worked / "batchrunner.db")) as connection:
        connection.execute("VACUUM INTO 'other.db'")
    two = ("--db", "batchrunner.db", "--db", "other.db")
    together = facts(*two, "--by", "db,job")
    assert [(row["db"], row["job"]) for row in together["rows"]] == [("batchrunner.db", "mixed"), ("other.db", "mixed")]
    assert together["total"]["calls"] == 2 * alone["calls"]
    assert Decimal(together["total"]["usd"]["recorded"]) == 2 * Decimal(alone["usd"]["recorded"])
    assert facts(*two, "--by", "model")["total"] == together["total"]
    assert facts("mixed", *two)["total"] == together["total"]
    assert facts("--db", "other.db", "--db", "./other.db")["total"] == alone, "named twice, read once"


def test_a_hostile_tag_stays_text_on_the_terminal(tagged: Path) -> None:
    change(tagged, "UPDATE tag_sets SET tags = ?", json.dumps({"team": HOSTILE}))
    shown = run_cli("costs", "--by", "tag:team").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown


# ---- the invoice


def reconciled(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran("reconcile", *words, "--json"))
    return found


def on_days_of(place: Path, day: int) -> None:
    change(place, "UPDATE totals SET day = ?", day)


@pytest.mark.parametrize(
    ("invoice", "verdict", "kind"),
    [("0.30", "agrees", None), ("0.24", "below", "discount"), ("0.45", "explained", None), ("0.90", "above", "others")],
)
def test_an_invoice_is_held_against_the_books(worked: Path, invoice: str, verdict: str, kind: str | None) -> None:
    change(worked, "DELETE FROM totals WHERE endpoint <> '/v1/chat/completions' OR cost = 0")
    change(worked, "UPDATE totals SET day = 20770, cost = 300000000000")  # $0.30 on 2026-11-13
    columns = "job_id, model_id, endpoint, tag_set_id, rate_id, account, class, use, usage_from, outcome"
    sums = "tin, tcached, tout, treason, cost, unpriced"
    change(
        worked,
        f"INSERT INTO totals (day, n, billing, hold, {columns}, {sums})"
        f" SELECT 20770, 3, 'unknown', 200000000000, {columns}, {sums} FROM totals",
    )
    found = reconciled("--invoice", invoice, "--month", "2026-11")
    assert found["verdict"] == verdict
    assert found["usd"]["recorded"] == "0.3"
    assert found["usd"]["possibly_billed"] == "0.2"
    assert Decimal(found["usd"]["difference"]) == Decimal(invoice) - Decimal("0.3")
    kinds = [part["kind"] for part in found["parts"]]
    assert "possibly_billed" in kinds
    if kind is not None:
        assert kind in kinds
    if verdict == "below":
        assert "20.0 %" in next(part["words"] for part in found["parts"] if part["kind"] == "discount")


def test_the_days_at_both_ends_and_calls_of_unknown_cost_are_named(worked: Path) -> None:
    on_days_of(worked, 20_757)  # 2026-10-31: in another time zone it is November
    found = reconciled("--invoice", "1", "--month", "2026-11")
    assert found["usd"]["recorded"] == "0"
    (days,) = [part for part in found["parts"] if part["kind"] == "days"]
    known = facts()["total"]["usd"]
    assert Decimal(days["to"]) == Decimal(known["recorded"]) + Decimal(known["estimated"])
    on_days_of(worked, 20_770)
    assert "unpriced" in {part["kind"] for part in reconciled("--invoice", "1", "--month", "2026-11")["parts"]}
    shown = run_cli("costs", "reconcile", "--invoice", "1", "--month", "2026-11", "--of", "together")
    assert shown.exit_code == 0
    assert "no known cost" in shown.stdout


# ---- FOCUS


def test_focus_holds_what_was_billed_by_day_job_model_and_meter(worked: Path) -> None:
    ended = run_cli("costs", "--format", "focus")
    assert ended.exit_code == 0, ended.stderr
    assert "1 call of unknown cost" in ended.stderr
    rows = table(ended.stdout)
    usd = facts()["total"]["usd"]
    assert sum(Decimal(row["BilledCost"]) for row in rows) == sum(
        Decimal(usd[name]) for name in ("recorded", "estimated", "wasted")
    )
    assert {row["x_CostBasis"] for row in rows} == {"recorded", "estimated"}
    meters = {(row["SkuId"].partition("/")[2], row["SkuMeter"]) for row in rows}
    assert meters >= {(CHAT, "Input Tokens"), (CHAT, "Output Tokens"), (EMBED, "Input Tokens")}
    assert not any(NO_PRICE in row["SkuId"] for row in rows)


def test_focus_has_tags_of_whoever_they_are(tagged: Path) -> None:
    rows = table(ran("--format", "focus"))
    assert {json.loads(row["Tags"])["team"] for row in rows} == {"core", FORMULA}


def test_a_terminal_that_is_too_narrow_gets_a_block_for_each_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("one", "1", "$0.10"), ("total", "", "$0.20")]

    def shown(columns: int, right: Sequence[int]) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        render.table(("name", "calls", "recorded"), rows, right=right)
        return capsys.readouterr().out.splitlines()

    assert shown(22, (1, 2))[0] == "name   calls  recorded"
    blocks = ["name      one", "calls     1", "recorded  $0.10", "", "name      total", "recorded  $0.20"]
    assert shown(21, (1, 2)) == blocks
    assert shown(12, (1,))[0] == "name   calls  recorded", "a text at the end of a line may be broken"
    assert shown(11, (1,)) == blocks
