"""What a killed process had acknowledged is there, and what it had open is counted."""

import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from batchrunner.store.check import check
from batchrunner.store.database import open_reader, open_store
from tests.store.making import ACCOUNTS, INFO, NOW, load

pytestmark = pytest.mark.slow

CYCLES = 6
GROUP = 16

WORKER = """
import os, sys
from pathlib import Path
from batchrunner.store.database import open_store
from tests.store.making import ACCOUNTS, INFO, NOW, heads, start_calls, succeed
with open_store(sys.argv[1]) as store:
    _, rescue = store.start(INFO, NOW, ACCOUNTS)
    os.write(1, b"rescued %d\\n" % rescue.lost)
    job = store.job_by_key("key of a")
    while claimed := heads(store, job, 16):
        calls = start_calls(store, claimed[:16])
        os.write(1, b"opened %d\\n" % len(calls))
        store.commit([], [succeed(call, b"answer %d" % call[1].head.id) for call in calls], [], NOW)
        os.write(1, b"".join(b"done %d\\n" % call[1].head.id for call in calls))
os.write(1, b"end\\n")
"""


def test_no_acknowledged_answer_is_lost_over_kills_in_the_middle_of_commits(tmp_path):
    path = tmp_path / "q.db"
    with open_store(path) as store:
        job = load(store, 20_000)
    dice = random.Random(7)
    acknowledged, opened_and_lost = set(), 0
    for _ in range(CYCLES):
        lines = run_and_kill(path, dice.randint(20, 400))
        done = {int(line.split()[1]) for line in lines if line.startswith("done")}
        assert not done & acknowledged, "an answered request was asked again"
        acknowledged |= done
        opened_and_lost = max(opened_and_lost, *(int(line.split()[1]) for line in lines if line.startswith("rescued")))
        assert check(path) == []
        with closing(open_reader(path)) as reader:
            answers = {row.id: row.body for row in reader.results(job.id) if row.body is not None}
        assert acknowledged <= answers.keys()
        assert all(body == b"answer %d" % request_id for request_id, body in answers.items())
        acknowledged = set(answers)
    assert opened_and_lost <= GROUP
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        assert store.remaining([job.id]) == (20_000 - len(acknowledged), 0)


def run_and_kill(path, after):
    """Let a worker run, kill it after some lines of its output, and return what it had said until then."""
    command = [sys.executable, "-c", WORKER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as worker:
        lines = [worker.stdout.readline() for _ in range(after)]
        worker.send_signal(signal.SIGKILL)
        lines += worker.stdout.read().splitlines(keepends=True)
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]
