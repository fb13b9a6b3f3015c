"""What verbs say of a corpus: the texts at fault by name, and the room that its vectors will take."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import provider, run_cli

EMBED = "BAAI/bge-base-en-v1.5"


def embed(folder: Path, texts: list[str], *more: str, env: dict[str, str]) -> Result:
    lines = [{"id": f"d{n}", "text": text} for n, text in enumerate(texts)]
    (folder / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ("--model", EMBED, "--id", "id", "--pack", "4", "--yes", "--progress", "none")
    return run_cli("embed", "docs.jsonl", "-o", "out.jsonl", *asked, *more, env=env)


def test_errors_names_the_texts_at_fault_and_retry_takes_them_by_name(here: Path) -> None:
    texts = [f"text {n}" for n in range(12)]
    texts[3], texts[9], texts[6] = "POISON a", "POISON b", ""
    with provider(poison="POISON") as env:
        assert embed(here, texts, env=env).exit_code == 3
    facts = json.loads(run_cli("errors", "out", "--json").stdout)
    named = {group["kind"]: (group["count"], group["texts"]) for group in facts["groups"]}
    assert named == {"invalid_request": (2, ["d3", "d9"]), "empty": (1, ["d6"])}
    shown = run_cli("errors", "out").stdout
    assert "invalid_request: d3, d9" in shown
    assert "pack-" not in shown
    assert "1 request queued again" in run_cli("retry", "out", "--id", "d9").stderr
    with provider() as env:
        assert run_cli("run", "out", "-o", "out.jsonl", "--yes", "--progress", "none", env=env).exit_code == 3
    ids = [json.loads(line)["id"] for line in (here / "out.jsonl").read_text().splitlines()]
    assert ids == [f"d{n}" for n in range(12) if n not in (3, 6)]


@pytest.mark.slow
def test_the_room_for_vectors_is_told_before_anything_is_sent(here: Path) -> None:
    texts = [f"text {n}" for n in range(2_000)]
    with provider() as env:
        done = embed(here, texts, env=env)
    assert "vectors: at most 5 MiB more in the database, 17 MiB in a file of all; " in done.stderr
    assert "GiB free" in done.stderr


@pytest.mark.slow
def test_doctor_tells_of_vectors_that_are_waited_for(here: Path) -> None:
    with provider(poison="text") as env:
        embed(here, [f"text {n}" for n in range(2_000)], env=env)
        run_cli("retry", "out")
        found = json.loads(run_cli("doctor", "--offline", "--json", env=env).stdout)["findings"]
    (told,) = [finding["message"] for finding in found if finding["what"] == "vectors"]
    assert told.startswith("corpus out: at most ")
    assert "5 MiB in a file of all" in told


def test_a_disk_without_room_for_the_export_is_warned_of_and_nothing_is_sent(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchrunner.store.disk.free_at", lambda path: 1 << 20)
    with provider() as env:
        refused = embed(here, [f"text {n}" for n in range(2_000)], "--no-input", env=env)
    assert (refused.exit_code, "MiB will be needed" in refused.stderr) == (2, True)
