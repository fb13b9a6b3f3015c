"""``pause``, ``resume``, ``cancel`` and ``tune`` where no run is going on."""

import json
from pathlib import Path
from typing import Any

import pytest

import batchrunner
from tests.cli.conftest import CHAT, EMBED, HOSTILE, provider, run_cli


def status() -> Any:
    return json.loads(run_cli("status", "mixed", "--json").stdout)["jobs"][0]


def test_a_paused_job_says_so_why_and_how_to_go_on(queued: Path) -> None:
    facts = json.loads(run_cli("pause", "mixed", "--reason", "wrong prompts", "--json").stdout)
    assert facts["schema"] == "batchrunner.pause/1"
    assert (facts["paused"][0]["scope"], facts["paused"][0]["ref"], facts["in_flight"]) == ("job", "1", 0)
    assert status()["state"] == "paused"
    said = run_cli("status", "mixed").stderr
    assert "job 1 (mixed) is paused by hand since" in said
    assert "wrong prompts" in said
    assert "go on: batchrunner resume 1" in said
    assert "paused already" in run_cli("pause", "mixed").stderr

    facts = json.loads(run_cli("resume", "mixed", "--json").stdout)
    assert [pause["evidence"] for pause in facts["resumed"]] == ["wrong prompts"]
    assert (status()["state"], status()["pauses"]) == ("queued", [])
    assert "nothing of it was paused" in run_cli("resume", "mixed").stderr


def test_a_paused_model_is_left_out_and_the_others_are_run(queued: Path) -> None:
    run_cli("pause", "--model", EMBED)
    run_cli("pause", "--model", CHAT)
    with provider() as env:
        result = run_cli("run", "--yes", "--progress", "none", env=env)
    assert result.exit_code == 0, result.stderr
    assert f"model together {EMBED} is paused by hand" in result.stderr
    assert f"resume --provider together --model {EMBED}" in result.stderr
    assert (status()["counts"]["succeeded"], status()["counts"]["queued"]) == (1, 5)


def test_without_arguments_everything_is_paused_and_resumed(queued: Path) -> None:
    run_cli("pause")
    with provider() as env:
        assert "0 calls" in run_cli("run", "--yes", "--progress", "none", env=env).stderr
    run_cli("resume")
    assert status()["state"] == "queued"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "nobody"), "there is no job"),
        (("pause", "mixed", "--model", CHAT), "give JOB alone"),
        (("pause", "--model", "no/such"), CHAT),
        (("pause", "--provider", "openai"), "there are: together"),
        (("resume", "--model", "no/such"), "there are: together"),
        (("cancel", "nobody"), "there is no job"),
        (("tune", "--rpm", "600"), "no run is going on"),
        (("tune",), "name a limit"),
        (("tune", "--concurrency", "many"), "many"),
        (("retry", "mixed", "--cancelled", "--id", "x"), "leave --kind and --id out"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(queued: Path, words: tuple[str, ...], said: str) -> None:
    result = run_cli(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_reason_can_not_steer_the_terminal(queued: Path) -> None:
    run_cli("pause", "mixed", "--reason", HOSTILE)
    said = run_cli("status", "mixed")
    assert "\x1b" not in said.stdout + said.stderr
    assert "owned" in said.stderr


def test_a_cancelled_job_is_not_run_loaded_or_retried_and_says_the_way_back(queued: Path) -> None:
    facts = json.loads(run_cli("cancel", "mixed", "--json").stdout)
    assert (facts["cancelled"], facts["in_flight"]) == (6, 0)
    assert (status()["state"], status()["counts"]["cancelled"]) == ("cancelled", 6)
    for words in (("run", "mixed"), ("run", "mixed.jsonl"), ("load", "mixed.jsonl"), ("retry", "mixed")):
        result = run_cli(*words, "--yes")
        assert result.exit_code == 2, words
        assert "batchrunner retry mixed --cancelled" in result.stderr
    assert json.loads(run_cli("retry", "mixed", "--cancelled", "--json").stdout)["queued"] == 6
    with provider() as env:
        assert run_cli("run", "mixed", "--yes", "--progress", "none", env=env).exit_code == 0
    assert status()["counts"]["succeeded"] == 6


def test_cancelled_rows_are_exported_as_never_sent(queued: Path) -> None:
    run_cli("cancel", "mixed")
    result = run_cli("results", "mixed", "-o", "out.jsonl")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in Path("out.errors.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert {line["response"] is None for line in lines} == {True}


def test_the_python_face_has_the_same_verbs(queued: Path) -> None:
    with batchrunner.open_blocking("batchrunner.db") as queue:
        queue.pause("mixed", reason="by a program")
        assert queue.status("mixed").state == "paused"
        queue.resume()
        assert queue.status("mixed").state == "queued"
        assert queue.cancel("mixed") == 6
        with pytest.raises(batchrunner.ConfigurationError, match="cancelled"):
            queue.run("mixed")
