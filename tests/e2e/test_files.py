"""Files, pipes and parts of a job: who may read what, what a second runner hears, and that no row goes twice."""

import gzip
import json
import os
import stat
import subprocess
import sys
import time
from collections import Counter

import pytest

from batchrunner.store.check import check
from tests.e2e.conftest import Start
from tests.e2e.place import ROOT, Place, chat, chats, quiet, until

pytestmark = pytest.mark.slow


def sent(place: Place) -> Counter[str]:
    """How often each body arrived at the provider."""
    return Counter(call.body_sha256 for call in place.box.calls())


# ---------------------------------------------------------------------------------------------------- the second runner


def test_a_second_runner_is_refused_at_once_and_told_who_holds_it(at: Start) -> None:
    place = at(latency=1.0)
    place.file(chats(24))
    first = place.start(*place.job("--concurrency", "8"))
    place.box.await_calls(1)
    before = time.monotonic()
    second = place.run(*place.job("--concurrency", "8"))
    took = time.monotonic() - before

    assert second.code == 75, second.err
    assert f"held by pid {first.pid} on " in second.err
    assert "--wait" in second.err
    assert quiet(second.err)
    assert first.process.poll() is None, "it answered while the first one still worked"
    assert took < 3.0
    ended = first.end()
    assert ended.code == 0, ended.err
    assert max(sent(place).values()) == 1


def test_a_runner_that_waits_goes_on_when_the_first_one_is_dead(at: Start) -> None:
    place = at(latency=0.5)
    place.file(chats(40))
    first = place.start(*place.job("--concurrency", "4"))
    place.box.await_calls(6)
    second = place.start(*place.job("--concurrency", "16", "--wait"))
    time.sleep(1.5)
    assert second.process.poll() is None
    assert place.rows("SELECT count(DISTINCT runner_id) FROM attempts") == [(1,)], "it does not work beside the first"
    first.kill()
    ended = second.end()

    assert ended.code == 0, ended.err
    assert "died with 4 calls open" in ended.err
    assert place.states() == {"succeeded": 40}
    assert len(place.lines()) == 40
    assert check(place.db) == []


# ----------------------------------------------------------------------------------------------------- rights and pipes


def test_s19_nobody_else_may_read_what_the_program_writes(at: Start) -> None:
    place = at(latency=0.3, poison="poisoned")
    place.file([*chats(20), chat("bad", "poisoned")])
    before = os.umask(0o022)
    try:
        child = place.start(*place.job("--concurrency", "8"))
    finally:
        os.umask(before)
    place.box.await_calls(10)
    during = modes(place)
    ended = child.end()
    assert ended.code == 3, ended.err
    assert during.keys() >= {"q.db", "q.db-wal", "q.db-shm", "q.db.lock"}
    after = modes(place)
    assert after.keys() >= {"q.db", "q.db.lock", "out.jsonl", "out.errors.jsonl"}
    assert during.pop("q.db.inbox") == 0o700
    assert set({**during, **after}.values()) == {0o600}, (during, after)


def modes(place: Place) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.folder.iterdir() if path.name != "job.jsonl"}


def listened_to(place: Place, *words: str) -> "subprocess.Popen[bytes]":
    """The program with a pipe at either end of its words, which can be closed."""
    env = {
        "PATH": os.environ["PATH"], "HOME": str(place.talk), "PYTHONPATH": str(ROOT),
        "TOGETHER_API_KEY": "any-key", "TOGETHER_BASE_URL": f"{place.box.url}/v1",
    }  # fmt: skip
    command = [sys.executable, "-m", "batchrunner", *words]
    return subprocess.Popen(command, cwd=place.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_o4_a_reader_that_goes_away_is_no_error(at: Start) -> None:
    place = at()
    place.file(chats(1200))
    assert place.run(*place.job("--concurrency", "32")).code == 0
    for words in (("results", "job", "-o", "-"), ("status", "--json"), ("costs",)):
        with listened_to(place, *words, "--db", "q.db") as child:
            assert child.stdout is not None
            assert child.stderr is not None
            if words[0] == "results":
                assert json.loads(child.stdout.readline())["custom_id"] == "r-0"
            child.stdout.close()
            said = child.stderr.read().decode()
            code = child.wait(30)
        assert quiet(said), said
        assert "error" not in said
        assert "BrokenPipe" not in said
        assert code == 0, words


def test_a_run_goes_on_when_nobody_listens_to_it(at: Start) -> None:
    """What stands at the other end of stdout and stderr may go; the work does not."""
    place = at(latency=0.4)
    place.file(chats(24))
    with listened_to(place, *place.job("--concurrency", "4", "--progress", "json")) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        place.box.await_calls(4)
        child.stdout.close()
        child.stderr.close()
        code = child.wait(30)
    assert place.states() == {"succeeded": 24}
    assert len(place.lines()) == 24
    assert code == 0


# ------------------------------------------------------------------------------------------------------- parts of a job


def test_a_limit_does_the_first_rows_and_the_next_run_the_rest(at: Start) -> None:
    place = at()
    place.file(chats(40))
    first = place.run(*place.job("--limit", "10"))
    assert first.code == 0, first.err
    assert [line["custom_id"] for line in place.lines()] == [f"r-{i}" for i in range(10)]
    assert "30 requests by --limit or --sample" in first.err
    second = place.run(*place.job())
    assert second.code == 0, second.err
    assert [line["custom_id"] for line in place.lines()] == [f"r-{i}" for i in range(40)]
    assert set(sent(place).values()) == {1}
    assert len(sent(place)) == 40


def test_standard_input_and_compressed_files_are_jobs_like_any_other(at: Start) -> None:
    place = at()
    rows = chats(12)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (place.folder / "packed.jsonl.gz").write_bytes(gzip.compress(data[:500]) + gzip.compress(data[500:]))
    piped = place.run(*place.job(file="-", out="piped.jsonl"), stdin=data)
    assert piped.code == 0, piped.err
    again = place.run(*place.job(file="-", out="piped.jsonl"), stdin=data)
    assert again.code == 0, again.err
    assert len(place.box.calls()) == 12, "the same rows on standard input are the same job"
    other = place.job(file="packed.jsonl.gz", out="packed.jsonl")
    packed = place.run(*[word if word != "q.db" else "other.db" for word in other])
    assert packed.code == 0, packed.err
    for name in ("piped.jsonl", "packed.jsonl"):
        assert [line["custom_id"] for line in place.lines(name)] == [row["custom_id"] for row in rows]


def test_f13_a_file_that_grew_gives_its_new_lines_only(at: Start) -> None:
    place = at()
    place.file(chats(10))
    assert place.run(*place.job()).code == 0
    place.file(chats(15))
    refused = place.run(*place.job())
    assert refused.code == 5, refused.err
    assert "0 lines differ, 5 are new, 0 are gone" in refused.err
    assert "--add takes the 5 new lines" in refused.err
    assert len(place.box.calls()) == 10

    added = place.run(*place.job("--add", out="grown.jsonl"))
    assert added.code == 0, added.err
    assert set(sent(place).values()) == {1}
    assert [line["custom_id"] for line in place.lines("grown.jsonl")] == [f"r-{i}" for i in range(15)]
    assert place.run(*place.job(out="grown.jsonl")).code == 0, "the file as it is now is the job"
    assert len(place.box.calls()) == 15


def test_f13_a_file_that_changed_is_refused_and_told_how_much_of_it(at: Start) -> None:
    place = at()
    rows = chats(10)
    place.file(rows)
    assert place.run(*place.job("--limit", "4")).code == 0
    before = (place.folder / "out.jsonl").read_bytes()
    changed = [chat("r-2", "something else"), chat("r-3", "something else"), *rows[4:9], chat("new", "a new one")]
    place.file(rows[:2] + changed)
    refused = place.run(*place.job())
    assert refused.code == 5, refused.err
    assert "2 lines differ, 1 are new, 1 are gone" in refused.err
    assert len(place.box.calls()) == 4
    assert place.states() == {"succeeded": 4, "queued": 6}
    assert (place.folder / "out.jsonl").read_bytes() == before

    place.file(rows)
    assert place.run(*place.job()).code == 0
    until(lambda: len(place.box.calls()) == 10, 1)
    assert set(sent(place).values()) == {1}


def test_o3_a_foreign_output_is_not_replaced_unasked(at: Start) -> None:
    place = at()
    place.file(chats(3))
    mine = place.folder / "out.jsonl"
    mine.write_text("my own notes\n")
    refused = place.run(*place.job())
    assert refused.code == 2, refused.err
    assert "--force" in refused.err
    assert mine.read_text() == "my own notes\n"
    assert place.box.calls() == [], "it is said before anything is paid for"
    assert place.run(*place.job("--force")).code == 0
    assert len(place.lines()) == 3
