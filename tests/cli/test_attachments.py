"""``check``, ``load`` and ``run`` of lines that refer to local files."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import run_cli
from tests.media import png


def vision(name: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": f"file:{name}"}}]
    return {"custom_id": name, "body": {"model": "m", "messages": [{"role": "user", "content": parts}]}}


@pytest.fixture
def job(here: Path) -> Path:
    (here / "files").mkdir()
    (here / "files" / "1.png").write_bytes(png())
    lines = [vision("1.png"), vision("none.png")]
    (here / "job.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return here / "job.jsonl"


@pytest.mark.parametrize("verb", ["check", "load", "run"])
def test_a_missing_file_is_reported_with_line_and_column_before_anything_is_sent(job: Path, verb: str) -> None:
    column = job.read_bytes().split(b"\n")[1].index(b'"file:') + 1
    ended = run_cli(verb, "job.jsonl", "--attachments", "files")
    assert ended.exit_code == 5
    assert f"job.jsonl:2:{column}: file:none.png: there is no such file" in ended.stderr


@pytest.mark.parametrize("verb", ["check", "load", "run"])
def test_without_the_flag_the_message_names_it(job: Path, verb: str) -> None:
    ended = run_cli(verb, "job.jsonl")
    assert ended.exit_code == 5
    assert "file:1.png: local files are off; --attachments DIR" in ended.stderr


@pytest.mark.parametrize("verb", ["check", "load", "run"])
def test_a_folder_that_is_not_there_is_a_mistake_of_the_command_line(job: Path, verb: str) -> None:
    ended = run_cli(verb, "job.jsonl", "--attachments", "nowhere")
    assert ended.exit_code == 2
    assert "--attachments" in ended.stderr
    assert "No such file or directory" in ended.stderr


def test_a_good_file_passes_and_its_pictures_are_estimated_at_their_most(job: Path) -> None:
    (job.parent / "files" / "none.png").write_bytes(png())
    ended = run_cli("check", "job.jsonl", "--attachments", "files", "--json")
    assert ended.exit_code == 0, ended.stderr
    checked = json.loads(ended.stdout)
    assert checked["requests"] == 2
    assert 2 * 6404 <= checked["estimated_input_tokens"] < 2 * 6404 + 100


def test_the_command_that_comes_next_names_the_folder_too(job: Path) -> None:
    (job.parent / "files" / "none.png").write_bytes(png())
    ended = run_cli("check", "job.jsonl", "--attachments", "files")
    (following,) = [line for line in ended.stderr.splitlines() if line.startswith("next: ")]
    assert following.startswith("next: batchrunner run job.jsonl --attachments ")
    assert following.endswith("files -o out.jsonl")


def test_a_project_file_cannot_name_the_folder(job: Path) -> None:
    (job.parent / "batchrunner.toml").write_text('attachments = "/"\n')
    ended = run_cli("check", "job.jsonl")
    assert ended.exit_code == 2
    assert "attachments" in ended.stderr


def test_the_environment_may(job: Path) -> None:
    ended = run_cli("check", "job.jsonl", env={"BATCHRUNNER_ATTACHMENTS": "files"})
    assert "file:none.png: there is no such file" in ended.stderr
