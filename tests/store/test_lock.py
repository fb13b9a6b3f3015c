"""One writer at a time, held by the kernel, shown by name."""

import os
import signal
import subprocess
import sys

import pytest

from batchrunner.core.errors import DatabaseError, DatabaseHeldError, ExitCode
from batchrunner.store.database import open_reader, open_store
from batchrunner.store.lock import hold
from tests.store.making import load

HOLDER = """
import sys
from batchrunner.store.lock import hold
with hold(sys.argv[1], wait="wait" in sys.argv):
    print("held", flush=True)
    sys.stdin.readline()
"""
STORE = """
import sys
from batchrunner.core.errors import DatabaseHeldError
from batchrunner.store.database import open_store
sys.stdin.readline()
try:
    with open_store(sys.argv[1]):
        print("won", flush=True)
        sys.stdin.readline()
except DatabaseHeldError:
    print("refused", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


@pytest.fixture
def another():
    """Starts processes, and ends those that are left."""
    started = []

    def start(script, *args):
        command = [sys.executable, "-c", script, *map(str, args)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_d6_a_held_database_is_refused_at_once_and_the_holder_is_named(path, another):
    holder = another(HOLDER, path)
    assert holder.stdout.readline() == "held\n"
    for attempt in (lambda: open_store(path), lambda: hold(path).__enter__()):
        with pytest.raises(DatabaseHeldError, match=f"pid {holder.pid} ") as caught:
            attempt()
        assert caught.value.exit_code == ExitCode.HELD
        assert "--wait" in caught.value.hint


def test_d7_the_lock_of_a_killed_holder_is_free_at_once(path, another):
    holder = another(HOLDER, path)
    holder.stdout.readline()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with hold(path):
        assert f"pid {os.getpid()} " in (path.parent / "q.db.lock").read_text()


def test_waiting_queues_behind_the_holder(path, another):
    holder, waiter = another(HOLDER, path), None
    holder.stdout.readline()
    waiter = another(HOLDER, path, "wait")
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert waiter.stdout.readline() == "held\n"


def test_a_symbolic_link_leads_to_the_same_lock(path, another, tmp_path):
    link = tmp_path / "sub" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    holder = another(HOLDER, link)
    holder.stdout.readline()
    with pytest.raises(DatabaseHeldError):
        open_store(path)


def test_the_same_process_can_not_write_twice_either(path):
    with open_store(path) as store:
        with pytest.raises(DatabaseHeldError, match=f"pid {os.getpid()} "):
            open_store(path)
        load(store, 1)
    open_store(path).close()


def test_readers_need_no_lock(path):
    with open_store(path) as store:
        load(store, 1)
        open_reader(path).close()
        load(store, 1, "b")


def test_a_failed_opening_gives_the_lock_back(path):
    path.mkdir()
    with pytest.raises(DatabaseError):
        open_store(path)
    path.rmdir()
    open_store(path).close()


def test_a_lock_file_that_is_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "q.db.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DatabaseError):
        open_store(path)
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.slow
def test_d6_of_many_that_start_together_exactly_one_wins(path, another):
    starters = [another(STORE, path) for _ in range(8)]
    for starter in starters:
        starter.stdin.write("\n")
        starter.stdin.flush()
    answers = [starter.stdout.readline() for starter in starters]
    assert sorted(answers) == ["refused\n"] * 7 + ["won\n"]
