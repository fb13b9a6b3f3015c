"""What disks, people and other programs do to a database file, and what is made of it."""

import sqlite3
import struct
import subprocess
import sys
from contextlib import closing

import pytest

from batchrunner.core.errors import ConfigurationError, DatabaseError, ExitCode
from batchrunner.store import database, filesystem
from batchrunner.store.check import check
from batchrunner.store.database import Care, open_reader, open_store
from batchrunner.store.filesystem import Mount, mount_of
from tests.store.making import ACCOUNTS, INFO, NOW, heads, load, start_calls, succeed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


def worked(path, rows=6, *, clean):
    """A database that a runner has worked on, and left by itself or not."""
    with open_store(path) as store:
        runner, _ = store.start(INFO, NOW, ACCOUNTS)
        calls = start_calls(store, heads(store, load(store, rows)))
        store.commit([], [succeed(call, b"answer %d" % call[1].head.id) for call in calls[: rows // 2]], [], NOW)
        if clean:
            store.finish(runner, NOW, "finished")


def test_d13_a_damaged_page_never_passes_an_unclean_end_and_never_gives_a_wrong_answer(path, tamper, bytes_of):
    worked(path, clean=False)
    sound, opened = bytes_of(path), []
    right = {1: b"answer 1", 2: b"answer 2", 3: b"answer 3"}
    for page in range(1, len(sound) // 4096):
        damaged = sound[: page * 4096] + b"\xa5" * 64 + sound[page * 4096 + 64 :]
        tamper(path, lambda _, damaged=damaged: damaged)
        try:
            open_store(path).close()
            opened.append(page)
        except DatabaseError:
            pass
        try:
            with closing(open_reader(path)) as reader:
                answers = {row.id: row.body for row in reader.results(1) if row.body is not None}
            assert answers.items() <= right.items(), f"page {page} gave another answer"
        except DatabaseError:
            pass
    # A page that belongs to nothing any more may hold anything.
    assert len(opened) <= 1


def test_d13_the_pages_are_read_once_after_an_unclean_end_and_not_after_a_clean_one(path):
    worked(path, clean=True)
    with open_store(path) as store:
        assert looked(store) == []
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
    with open_store(path) as store:
        assert looked(store) == [("2",)]
    with open_store(path) as store, store._session.write() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '2 still' WHERE key = 'checked_runs'")
    with open_store(path) as store:
        assert looked(store) == [("2",)], "another value would have been looked at again, and was"


def looked(store):
    with store._session.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'checked_runs'")]


@pytest.mark.slow
def test_d16_a_power_cut_at_any_frame_leaves_a_prefix_of_what_was_committed(path, tmp_path, tamper, bytes_of):
    with open_store(path) as store:
        load(store, 16)
    with open_store(path) as store:
        store._session.outside("PRAGMA wal_autocheckpoint = 0")
        store.start(INFO, NOW, ACCOUNTS)
        for head in heads(store, store.jobs()[0]):
            (call,) = start_calls(store, [head])
            store.commit([], [succeed(call, b"answer %d" % head.id)], [], NOW)
        main, journal = bytes_of_live(path), bytes_of_live(path.with_name("q.db-wal"))
    page = struct.unpack(">I", journal[8:12])[0]
    frame, cut, seen = page + 24, tmp_path / "cut.db", []
    for place in range((len(journal) - 32) // frame + 1):
        for part in (0, frame // 2):
            tamper(cut, lambda _: main)
            tamper(cut.with_name("cut.db-wal"), lambda _, n=32 + place * frame + part: journal[:n])
            cut.with_name("cut.db-shm").unlink(missing_ok=True)
            with closing(sqlite3.connect(cut)) as connection:
                answered = [row[0] for row in connection.execute("SELECT request_id FROM responses ORDER BY 1")]
                opened = connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
                if place % 8 == 0:
                    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert answered == list(range(1, len(answered) + 1)), "not a prefix in the order of commits"
            assert len(answered) <= opened <= len(answered) + 1
            seen.append(len(answered))
    assert seen == sorted(seen)
    assert set(seen) == set(range(17))


def bytes_of_live(path):
    """A file's bytes by a process of its own: closing it in this one would drop SQLite's locks."""
    import subprocess

    return subprocess.run(["cat", str(path)], check=True, capture_output=True).stdout


@pytest.mark.parametrize("size", [1, 100, 4096, 3 * 4096 + 17])
def test_d15_a_truncated_file_is_refused_and_left_as_it_is(path, tamper, bytes_of, size):
    worked(path, clean=False)
    tamper(path, lambda old: old[:size])
    for opening in (open_store, open_reader):
        with pytest.raises(DatabaseError):
            opening(path)
    assert len(bytes_of(path)) == size


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "fuse"])
def test_d22_a_network_file_system_is_refused_with_its_fix(path, monkeypatch, kind):
    monkeypatch.setattr(database, "mount_at", lambda _: Mount("/mnt/far", kind))
    with pytest.raises(ConfigurationError, match=kind) as caught:
        open_store(path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "--unsafe-fs" in caught.value.hint
    assert not path.exists()


def test_d22_who_insists_gets_a_journal_that_needs_no_shared_memory(path, monkeypatch):
    monkeypatch.setattr(database, "mount_at", lambda _: Mount("/mnt/far", "nfs4"))
    with open_store(path, care=Care(unsafe_fs=True)) as store:
        load(store, 3)
        with store._session.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        with closing(open_reader(path)) as reader:
            assert len(list(reader.results(1))) == 3
        assert sorted(each.name for each in path.parent.iterdir()) == ["q.db", "q.db.lock"]
        path.rename(path.with_name("away.db"))
        with pytest.raises(DatabaseError, match="deleted, moved or replaced"):
            load(store, 1, "b")


CUT_OFF = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")  # so that the transaction reaches the file before its end
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE bodies SET data = zeroblob(100000)")
os._exit(0)
"""


def test_d20_d22_what_a_dead_writer_left_half_written_without_a_write_ahead_log_is_undone_by_the_next(path, bytes_of):
    with open_store(path) as store:
        job = load(store, 3)
    sound = len(bytes_of(path))
    subprocess.run([sys.executable, "-c", CUT_OFF, str(path)], check=True)
    assert path.with_name("q.db-journal").stat().st_size > 0
    assert len(bytes_of(path)) > sound
    with pytest.raises(DatabaseError, match="cut off in the middle of a write") as caught:
        open_reader(path)
    assert "puts it right" in caught.value.hint
    with open_store(path) as store:
        assert len(heads(store, job)) == 3
    assert check(path) == []


def test_d22_the_file_system_is_the_nearest_mount_whatever_its_name():
    mounts = "a / ext4 rw 0 0\nb /mnt/my\\040disk nfs rw 0 0\nc /mnt/my\\040disk/local xfs rw 0 0\nbroken\n"
    here = filesystem.Path("/mnt/my disk/x")
    assert mount_of(here, mounts) == Mount("/mnt/my disk", "nfs")
    assert mount_of(filesystem.Path("/mnt/my disk/local/y"), mounts).is_network is False
    assert mount_of(filesystem.Path("/srv"), "") is None


def test_d12_a_copy_from_the_middle_of_a_run_is_known_by_the_attempts_it_lacks(path, tamper, bytes_of):
    with open_store(path) as store:
        runner, _ = store.start(INFO, NOW, ACCOUNTS)
        job = load(store, 4)
    copied = bytes_of(path)
    with open_store(path) as store:
        calls = start_calls(store, heads(store, job))
        store.commit([], [succeed(call) for call in calls], [], NOW)
        store.beat(runner, NOW, b"{}")
    tamper(path, lambda _: copied)
    with pytest.raises(DatabaseError, match=r"older copy.*about 4 calls"):
        open_store(path)
    open_store(path, care=Care(accept_older=True)).close()
    open_store(path).close()


def test_d12_another_database_at_the_same_path_is_not_taken_for_an_older_copy(path, tmp_path):
    worked(path, clean=True)
    worked(tmp_path / "other.db", clean=True)
    (tmp_path / "other.db").replace(path)
    open_store(path).close()
    assert check(path) == []


def test_d5_a_lock_that_stays_is_reported_after_the_timeout(path):
    with open_store(path, care=Care(timeout=0.2)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseError, match="another program is writing") as caught:
                load(store, 1)
            other.execute("ROLLBACK")
        assert "--db-timeout" in caught.value.hint
        load(store, 1)
