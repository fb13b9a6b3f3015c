"""``results``: answers out, to a file or to stdout."""

import csv
import json
from pathlib import Path

from tests.cli.conftest import run_cli


def ids(text: str) -> list[str]:
    return [json.loads(line)["custom_id"] for line in text.split("\n") if line]


def test_stdout_gets_every_finished_row_in_input_order_and_nothing_else(worked: Path) -> None:
    result = run_cli("results", "mixed")

    assert result.exit_code == 0
    found = ids(result.stdout)
    assert found[:2] + found[3:] == ["good-1", "good-2", "bad-2", "free-1", "vector-1"]
    assert "4 answers" in result.stderr
    assert "2 failures in the same output" in result.stderr


def test_a_file_gets_the_answers_and_its_neighbour_the_failures(worked: Path) -> None:
    result = run_cli("results", "mixed", "-o", "out.jsonl")

    assert result.stdout == ""
    assert ids((worked / "out.jsonl").read_text()) == ["good-1", "good-2", "free-1", "vector-1"]
    assert ids((worked / "out.errors.jsonl").read_text())[1] == "bad-2"
    assert "out.errors.jsonl" in result.stderr


def test_a_csv_by_its_suffix(worked: Path) -> None:
    run_cli("results", "mixed", "-o", "out.csv")

    with (worked / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["succeeded", "succeeded", "failed", "failed", "succeeded", "succeeded"]


def test_an_unknown_suffix_is_a_usage_error(worked: Path) -> None:
    assert run_cli("results", "mixed", "-o", "out.xyz").exit_code == 2


def test_a_file_of_somebody_else_needs_force(worked: Path) -> None:
    (worked / "out.jsonl").write_text("precious\n")

    refused = run_cli("results", "mixed", "-o", "out.jsonl")

    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert (worked / "out.jsonl").read_text() == "precious\n"
    assert run_cli("results", "mixed", "-o", "out.jsonl", "--force").exit_code == 0
    assert run_cli("results", "mixed", "-o", "out.jsonl").exit_code == 0  # now it is ours


def test_what_is_not_finished_is_counted_and_the_way_on_is_shown(queued: Path) -> None:
    result = run_cli("results", "mixed")

    assert result.stdout == ""
    assert "6 requests not finished yet" in result.stderr
    assert "go on: batchrunner run mixed" in result.stderr
