"""``demo``: a kill, a resume, a bill, and an audit that would notice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchrunner.cli.audit import Books, Killed, audit
from batchrunner.simulator import Entry
from batchrunner.store.lock import hold
from tests.cli.conftest import run_cli

ROOT = Path(__file__).resolve().parents[2]
GOOD = Books(received=12, ids=12, answered=11, served_tokens=500, lines=10, custom_ids=10, recorded_tokens=500)
KILLED = Killed(answered=4, open=2)


def agrees(books: Books, attempts: int = 12) -> bool:
    return all(agreed for agreed, _ in audit(books, rows=10, attempts=attempts, killed=KILLED))


def test_books_that_agree_agree() -> None:
    assert agrees(GOOD)


def test_what_was_open_at_the_kill_may_never_have_left() -> None:
    assert agrees(GOOD, attempts=14)
    assert not agrees(GOOD, attempts=15)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lines": 9, "custom_ids": 9},
        {"lines": 11},
        {"received": 13, "ids": 13},
        {"ids": 11},
        {"answered": 9},
        {"recorded_tokens": 499},
    ],
    ids=[
        "a row is missing",
        "a row twice",
        "an unknown call",
        "an id twice",
        "an unbilled answer",
        "a token is missing",
    ],
)
def test_whatever_disagrees_is_noticed(wrong: dict[str, int]) -> None:
    assert not agrees(GOOD._replace(**wrong))


def entry(number: int, sha: str, *, billed: bool, method: str = "POST") -> Entry:
    usage = {"prompt_tokens": 3, "completion_tokens": 4} if billed else None
    return Entry(
        number=number, time=0, wall=0, method=method, path="/chat/completions", status=200, request_bytes=1,
        body_sha256=sha, client_request_id=str(number), billed=billed, usage=usage,
    )  # fmt: skip


def line(custom_id: str, usage_from: str) -> str:
    usage = {"input_tokens": 3, "cached_tokens": 0, "output_tokens": 4, "reasoning_tokens": 0}
    return json.dumps({"custom_id": custom_id, "batchrunner": {"usage_from": usage_from, "usage": usage}})


def test_books_are_read_from_both_sides(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("\n".join((line("a", "provider"), line("b", "estimated"))) + "\n")
    entries = [entry(1, "a", billed=True), entry(2, "a", billed=True), entry(3, "b", billed=False),
               entry(4, "", billed=False, method="GET")]  # fmt: skip

    assert Books.read(entries, out) == Books(
        received=3, ids=3, answered=2, served_tokens=7, lines=2, custom_ids=2, recorded_tokens=7
    )


def test_a_folder_that_is_there_is_left_alone(here: Path) -> None:
    (here / "mine").mkdir()

    result = run_cli("demo", "--dir", "mine")

    assert result.exit_code == 2
    assert list((here / "mine").iterdir()) == []


@pytest.mark.slow
def test_the_demo_works_beside_an_earlier_one_and_leaves_its_answers_and_its_bill(here: Path) -> None:
    (here / "batchrunner-demo").mkdir()

    shown = demo(here)

    folder = here / "batchrunner-demo-2"
    assert "kill -9" in shown.stderr
    assert shown.stderr.count("\n  yes  ") == 4
    assert "total" in shown.stdout
    lines = (folder / "out.jsonl").read_bytes().splitlines()
    assert len({json.loads(line)["custom_id"] for line in lines}) == len(lines) == 200
    recorded = shown.stdout.splitlines()[-1].split()[6]
    assert recorded.startswith("$0.005")
    assert f">{recorded}<" in (folder / "bill.html").read_text()
    assert list((here / "batchrunner-demo").iterdir()) == []


@pytest.mark.slow
def test_a_terminated_demo_leaves_no_run_behind(here: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "batchrunner", "demo"], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        assert child.stderr is not None
        while "loaded 200 requests" not in child.stderr.readline():
            assert child.poll() is None
        child.terminate()
        child.stderr.read()  # ends only when the run that holds it has ended too

    assert child.wait() == 143
    with hold(here / "batchrunner-demo" / "batchrunner.db"):
        pass


def demo(cwd: Path) -> "subprocess.CompletedProcess[str]":
    shown = subprocess.run(
        [sys.executable, "-m", "batchrunner", "demo"], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    return shown
