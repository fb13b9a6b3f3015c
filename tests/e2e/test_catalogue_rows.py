"""Rows of the fault catalogue that have no room of their own: T4, O2, O4, O5, X3 to X5, through the real program."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchrunner.store.database import open_reader
from tests.cli.conftest import run_cli
from tests.e2e.conftest import Start
from tests.e2e.place import ROOT, chats, quiet

pytestmark = pytest.mark.slow


COSTS = ("costs", "--by", "day")
STATUS = ("status",)


def test_t4_an_odd_time_zone_changes_nothing_that_is_stored_or_told(at: Start) -> None:
    place = at()
    place.file(chats(3))
    assert place.run(*place.job(), env={"TZ": ":nonsense"}).code == 0
    told = {
        (words, zone): place.run(*words, "--db", "q.db", "--json", env={"TZ": zone} if zone else None)
        for words, zone in (
            (COSTS, ""),
            (COSTS, "Pacific/Kiritimati"),
            (STATUS, "Europe/Berlin"),
            (STATUS, ":nonsense"),
        )
    }
    for words in (COSTS, STATUS):
        assert len({ended.out for (asked, _), ended in told.items() if asked == words}) == 1
    assert {ended.code for ended in told.values()} == {0}


def test_o2_an_export_beside_a_live_run_is_a_snapshot_without_gap_or_double(at: Start) -> None:
    place = at(latency=0.02)
    place.file(chats(400))
    child = place.start(*place.job("--concurrency", "8"))
    place.box.await_calls(60)
    seen = []
    for number in range(3):
        ended = place.run("results", "job", "-o", f"snap{number}.jsonl", "--db", "q.db")
        assert ended.code == 0, ended.err
        ids = [line["custom_id"] for line in place.lines(f"snap{number}.jsonl")]
        assert len(ids) == len(set(ids))
        told = re.search(r"([\d,]+) answers?", ended.err)
        assert told is not None
        assert int(told[1].replace(",", "")) == len(ids), "it says how much it holds"
        if len(ids) < 400:
            assert "not finished yet: not in there" in ended.err
        seen.append(set(ids))
    assert seen[0] <= seen[1] <= seen[2], "what was there once is there ever after"
    assert child.end().code == 0
    assert [line["custom_id"] for line in place.lines()] == [f"r-{at}" for at in range(400)]


def test_o4_a_reader_that_stalls_does_not_keep_the_journal_from_shrinking(at: Start) -> None:
    place = at()
    place.file(chats(2_500))
    assert place.run(*place.job("--limit", "1500", "--concurrency", "64")).code == 0
    reader = open_reader(place.db)
    try:
        (job,) = reader.jobs()
        rows = reader.results(job.id)
        next(rows)  # and now it stalls, with a page in its hands
        assert place.run(*place.job("--concurrency", "64", out="all.jsonl")).code == 0
        journal = place.folder / "q.db-wal"
        assert not journal.exists() or journal.stat().st_size < 64 << 20
        assert sum(1 for _ in rows) >= 1_499
    finally:
        reader.close()


def test_o5_every_line_of_the_input_has_one_outcome_and_the_counts_prove_it(at: Start) -> None:
    place = at(poison="poisoned")
    rows = [*chats(7), *chats(4, prefix="poisoned")]
    place.file(rows)
    ended = place.run(*place.job())
    assert ended.code == 3, ended.err
    answers, failures = place.lines(), place.lines("out.errors.jsonl")
    assert [line["custom_id"] for line in answers] == [f"r-{at}" for at in range(7)]
    assert [line["custom_id"] for line in failures] == [f"poisoned-{at}" for at in range(4)]
    assert "results: out.jsonl (7 lines)" in ended.err
    assert "failures: out.errors.jsonl (4 lines)" in ended.err


def test_o1_what_a_killed_export_left_is_swept_by_the_next_one_and_told(at: Start) -> None:
    place = at()
    place.file(chats(2))
    assert place.run(*place.job()).code == 0
    (place.folder / ".out.jsonl.00112233aabb.part").write_bytes(b"half")
    ended = place.run("results", "job", "-o", "out.jsonl", "--db", "q.db")
    assert ended.code == 0, ended.err
    assert "removed 1 unfinished file of an export that was killed" in ended.err
    assert not [path for path in place.folder.iterdir() if path.suffix == ".part"]


@pytest.mark.parametrize(
    ("flag", "value", "word"),
    [
        ("--concurrency", "0", "from 1 to"), ("--concurrency", "1e9", "whole number"), ("--concurrency", "-1", "from"),
        ("--rpm", "NaN", "number per minute"), ("--rpm", "0", "greater than 0"), ("--tpm", "inf", "number per minute"),
        ("--max-response", "0", "from 1KiB to 1GiB"), ("--max-response", "2TiB", "8MiB"), ("--limit", "0", "from 1"),
    ],
)  # fmt: skip
def test_x3_an_option_out_of_range_is_a_usage_error_that_names_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, value: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = run_cli("run", f"{flag}={value}")
    assert refused.exit_code == 2, refused.output
    assert word in refused.output


SURROUNDINGS: dict[str, dict[str, str | None]] = {
    "X4 no HOME, a dumb terminal": {"HOME": None, "TERM": "dumb", "NO_COLOR": "1"},
    "X4 LANG=C": {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "X5 -O -W error tr_TR": {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "LANG": "tr_TR.UTF-8"},
}


@pytest.mark.parametrize("kind", list(SURROUNDINGS))
def test_x4_x5_it_works_in_odd_surroundings(at: Start, kind: str) -> None:
    place = at(poison="poisoned")
    place.file([*chats(2, prefix="größe-İı"), *chats(1, prefix="poisoned")])
    env = {
        "PATH": os.environ["PATH"], "HOME": str(place.talk), "PYTHONPATH": str(ROOT), "TOGETHER_API_KEY": "any-key",
        "TOGETHER_BASE_URL": f"{place.box.url}/v1", **SURROUNDINGS[kind],
    }  # fmt: skip
    env = {name: value for name, value in env.items() if value is not None}
    for words, code in (
        (place.job(), 3),
        (("results", "job", "--db", "q.db"), 0),
        (("errors", "job", "--json", "--db", "q.db"), 0),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "batchrunner", *words], cwd=place.folder, env=env, capture_output=True, timeout=60
        )
        said = ended.stderr.decode("utf-8", "replace")
        assert ended.returncode == code, said
        assert quiet(said), said
        if words[0] == "results":
            ids = [json.loads(line)["custom_id"] for line in ended.stdout.splitlines()]
            assert ids == ["größe-İı-0", "größe-İı-1", "poisoned-0"]
        if "--json" in words:
            assert json.loads(ended.stdout)["failed"] == 1


def test_x4_a_terminal_of_one_column_is_no_reason_to_fail(at: Start) -> None:
    place = at()
    place.file(chats(2))
    master, slave = pty.openpty()
    env = {
        "PATH": os.environ["PATH"], "HOME": str(place.talk), "PYTHONPATH": str(ROOT), "TOGETHER_API_KEY": "any-key",
        "TOGETHER_BASE_URL": f"{place.box.url}/v1", "COLUMNS": "1", "LINES": "1", "TERM": "xterm",
    }  # fmt: skip
    words = [sys.executable, "-m", "batchrunner", "run", "job.jsonl", "--yes", "--progress", "live"]
    process = subprocess.Popen(words, cwd=place.folder, env=env, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    assert process.wait(30) == 0, seen.decode("utf-8", "replace")
    assert b"Traceback" not in seen
