"""What befalls a process: no memory, no file descriptors, callbacks that raise, forks.

Kills are in test_kill, signals in test_signals.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import batchrunner
from batchrunner.runner.snapshot import Snapshot
from tests.canary import CANARY_KEY
from tests.e2e.conftest import Start
from tests.e2e.place import Child, Ended, Place, boxed, chats, quiet, until
from tests.invariants import Scenario, broken

pytestmark = pytest.mark.slow

SIZE = re.compile(r"VmSize:\s+(\d+) kB")


def breaches(place: Place, ended: Ended | None = None, code: int = 0, **more: Any) -> list[str]:
    job = place.folder / "job.jsonl"
    end: dict[str, Any] = {} if ended is None else {"code": ended.code, "expected": [code], "err": ended.err}
    return broken(Scenario(db=place.db, calls=place.box.calls(), job=job, **end, **more))


def test_p10_a_run_that_gets_no_more_memory_ends_like_a_killed_one_and_goes_on_later(at: Start) -> None:
    place = at(latency=0.4, mean_output_tokens=20_000.0, output_spread=0.1)
    place.file(chats(150, max_tokens=100_000))
    words = place.job("--concurrency", "32")
    child = place.start(*words)
    place.box.await_calls(33)
    found = SIZE.search(Path(f"/proc/{child.pid}/status").read_text())
    assert found is not None
    enough = int(found[1]) * 1024
    resource.prlimit(child.pid, resource.RLIMIT_AS, (enough, enough))
    code = child.process.wait(60)

    seen = dict(place.rows("SELECT r.custom_id, p.body FROM requests r JOIN responses p ON p.request_id = r.id"))
    assert code != 0, "it never missed the memory: the test tests nothing"
    assert breaches(place, acknowledged=seen, running=True) == []
    again = place.run(*words)
    assert again.code == 0, again.err
    assert breaches(place, again, acknowledged=seen) == []
    assert place.states() == {"succeeded": 150}


def test_p11_too_few_file_descriptors_are_told_before_anything_is_sent(at: Start) -> None:
    place = at()
    place.file(chats(10))
    child = place.start(*place.job("--concurrency", "200"))
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (64, 64))
    ended = child.end()
    assert ended.code == 2, ended.err
    assert quiet(ended.err)
    assert "264 open files are needed, but this process may have 64" in ended.err
    assert "ulimit -n" in ended.err
    assert place.box.calls() == []
    assert place.run(*place.job("--concurrency", "200")).code == 0


def files_of(child: Child) -> int:
    return sum(1 for _ in Path(f"/proc/{child.pid}/fd").iterdir())


def test_p11_no_row_fails_because_the_system_gave_no_more_descriptors(at: Start) -> None:
    place = at(latency=0.4, faults={"closing": 0.5})
    place.file(chats(200))
    words = place.job("--concurrency", "32")
    child = place.start(*words)
    place.box.await_calls(64)
    before = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (16, before[1]))
    until(lambda: bool(place.rows("SELECT 1 FROM attempts WHERE failure = 'connection' LIMIT 1")))
    time.sleep(1.0)
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, before)
    ended = child.end(90)

    assert ended.code == 0, ended.err
    assert quiet(ended.err)
    assert place.states() == {"succeeded": 200}
    assert breaches(place, ended) == []


@pytest.fixture
def queue_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TOGETHER_API_KEY", CANARY_KEY)

    def make(url: str, rows: int) -> tuple[batchrunner.BlockingQueue, Path, Path]:
        job = tmp_path / "job.jsonl"
        job.write_text("".join(json.dumps(line) + "\n" for line in chats(rows)), encoding="utf-8")
        db = tmp_path / "q.db"
        return batchrunner.open_blocking(db, base_url=f"{url}/v1", concurrency=8), db, job

    return make


def test_p12_a_callback_that_raises_ends_the_run_and_loses_nothing(queue_of: Any) -> None:
    def callback(picture: Snapshot) -> None:
        raise ZeroDivisionError(f"a mistake in the caller's code after {picture.done} rows")

    with boxed(latency=0.3) as box:
        queue, db, job = queue_of(box.url, 60)
        with queue:
            with pytest.raises(BaseException) as caught:
                queue.run(queue.load(job), progress=callback)
            assert "a mistake in the caller's code" in "".join(batchrunner_words(caught.value))
            assert broken(Scenario(db=db, calls=box.calls(), job=job, running=True)) == []
            report = queue.run()
        assert (report.tally.failed, report.left) == (0, 0)
        assert broken(Scenario(db=db, calls=box.calls(), job=job)) == []


def batchrunner_words(error: BaseException) -> list[str]:
    """What an exception and those it is made of say."""
    return [str(error), *(word for inner in getattr(error, "exceptions", ()) for word in batchrunner_words(inner))]


def test_p14_a_forked_child_harms_neither_the_run_nor_its_database_and_holds_no_lock(queue_of: Any) -> None:
    children: list[int] = []

    def callback(_picture: Snapshot) -> None:
        if not children:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)  # no finalizer of the parent's objects may run twice
            children.append(pid)

    with boxed(latency=0.3) as box:
        queue, db, job = queue_of(box.url, 60)
        try:
            with queue:
                report = queue.run(queue.load(job), progress=callback)
                assert (report.tally.succeeded, report.tally.failed, report.left) == (60, 0, 0)
                assert broken(Scenario(db=db, calls=box.calls(), job=job)) == []
                queue.run()  # the child lives still, and does not hold the database
        finally:
            os.kill(children[0], signal.SIGKILL)
            os.waitpid(children[0], 0)


DIES_IN_A_CHECKPOINT = """
import os, resource, sqlite3
connection = sqlite3.connect("q.db", isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("CREATE TABLE filling (bytes BLOB)")
connection.executemany("INSERT INTO filling VALUES (randomblob(4000))", [()] * 100)
connection.execute("DROP TABLE filling")
connection.execute("PRAGMA integrity_check")
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize("q.db") + 65536, resource.RLIM_INFINITY))
try:
    connection.execute("PRAGMA wal_checkpoint")
except sqlite3.OperationalError as error:
    print(error, flush=True)
os._exit(0)
"""


def test_a_disk_that_filled_up_in_a_checkpoint_leaves_a_queue_that_opens_and_goes_on(at: Start) -> None:
    place = at()
    place.file(chats(20))
    assert place.run("load", "job.jsonl", "--db", "q.db").code == 0
    died = subprocess.run(
        [sys.executable, "-c", DIES_IN_A_CHECKPOINT], cwd=place.folder, capture_output=True, text=True, check=True
    )
    assert "disk" in died.stdout, "the checkpoint went through: the test tests nothing"
    status = place.run("status", "--db", "q.db")
    assert status.code == 0, status.err
    ended = place.run(*place.job())
    assert ended.code == 0, ended.err
    assert breaches(place, ended) == []
