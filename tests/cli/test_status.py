"""``status``: where jobs stand, also beside a live run."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from batchrunner.cli import facts
from batchrunner.store.base import RunnerRow
from tests.cli.conftest import chat, provider, run_cli, write


def test_without_a_database_it_says_so_and_what_to_do(here: Path) -> None:
    result = run_cli("status")

    assert result.exit_code != 0
    assert "there is no database" in result.stderr
    assert "try: load a job file" in result.stderr


def test_all_jobs_are_listed_with_their_counts(worked: Path) -> None:
    write(worked / "other.jsonl", [chat("a", "b")])
    run_cli("load", "other.jsonl")

    rows = run_cli("status").stdout.splitlines()[2:]

    assert rows[0].split()[:5] == ["1", "mixed", "finished", "6/6", "2"]
    assert rows[1].split()[:5] == ["2", "other", "queued", "0/1", "0"]


def test_json_has_counts_that_add_up_and_money_as_text(worked: Path) -> None:
    facts = json.loads(run_cli("status", "mixed", "--json").stdout)

    (job,) = facts["jobs"]
    counts = dict(job["counts"])
    assert facts["schema"] == "batchrunner.status/1"
    assert job["state"] == "finished"
    assert (counts["succeeded"], counts["failed"], counts["queued"]) == (4, 2, 0)
    assert counts.pop("total") == sum(counts.values()) - counts["waiting"] - counts["flagged"]
    assert all(isinstance(amount, str) for amount in job["costs"]["usd"].values())
    assert job["costs"]["unpriced_calls"] == 1
    assert (facts["runner"]["alive"], facts["runner"]["run"]) == (False, None)


def test_a_job_with_failures_shows_the_next_commands(worked: Path) -> None:
    result = run_cli("status", "mixed")

    assert "batchrunner errors mixed" in result.stderr
    assert "batchrunner retry mixed" in result.stderr
    assert "batchrunner run mixed" not in result.stderr


def test_a_queued_job_shows_how_to_go_on(queued: Path) -> None:
    assert "batchrunner run mixed" in run_cli("status", "mixed").stderr


def test_quiet_leaves_the_data_alone(worked: Path) -> None:
    loud, quiet = run_cli("status", "mixed"), run_cli("status", "mixed", "-q")

    assert quiet.stdout == loud.stdout
    assert quiet.stderr == ""


def test_an_unknown_job_is_a_usage_error_that_lists_the_jobs(worked: Path) -> None:
    result = run_cli("status", "nothing-like-it")

    assert result.exit_code == 2
    assert "1 mixed" in result.stderr


def test_calls_that_a_dead_runner_left_open_are_not_called_running(worked: Path) -> None:
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("DELETE FROM counts WHERE state = 'running'")
        other.execute("UPDATE counts SET state = 'running' WHERE state = 'failed'")

    (job,) = json.loads(run_cli("status", "--json").stdout)["jobs"]

    assert (job["state"], job["counts"]["running"]) == ("interrupted", 2)
    assert "go on: batchrunner run mixed" in run_cli("status", "mixed").stderr


@pytest.mark.parametrize(
    ("ended", "age", "alive"), [(None, 1, True), (None, 3600, False), (5, 1, False)], ids=["fresh", "stale", "ended"]
)
def test_a_runner_is_alive_while_it_is_heard_of(ended: int | None, age: int, alive: bool) -> None:
    now = 10_000_000_000
    row = RunnerRow(1, "host", 7, 0, now - age * 1_000_000, ended, None, None)

    assert facts.alive(row, now) is alive


def test_a_snapshot_of_another_version_is_no_snapshot() -> None:
    assert facts.snapshot_of(RunnerRow(1, "host", 7, 0, 0, None, None, b'{"elapsed": "long"}')) is None


@pytest.mark.slow
def test_a_live_run_is_seen_from_another_process(here: Path) -> None:
    write(here / "long.jsonl", [chat(f"row-{number}", f"text {number}") for number in range(400)])
    words = [sys.executable, "-m", "batchrunner", "run", "long.jsonl", "--yes", "-q", "--concurrency", "4"]
    with provider(latency=0.3) as env:
        child = subprocess.Popen(words, env=_environment(env))
        try:
            live = _wait_for_a_run()
            shown = run_cli("status", "long").stdout
        finally:
            child.kill()
            child.wait()
    assert live["pid"] == child.pid
    assert live["run"]["concurrency"] == 4
    assert {"eta", "bottleneck", "calls_per_second", "lanes", "usd"} <= set(live["run"])
    assert f"running: pid {child.pid}" in shown
    assert "concurrency 4 (you)" in shown
    assert "no limit" not in shown
    assert run_cli("results", "long", "-o", "-").exit_code == 0


def _environment(env: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **env, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _wait_for_a_run() -> dict:
    for _ in range(150):
        result = run_cli("status", "--json")
        live = json.loads(result.stdout)["runner"] if result.exit_code == 0 else None
        if live and live["run"] and live["run"]["air"]:
            return live
        time.sleep(0.1)
    pytest.fail("no live run was seen")
