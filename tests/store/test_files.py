"""The database as a file: who may read it, what is taken for one, what is noticed."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest

from batchrunner.core.errors import DatabaseError
from batchrunner.store import schema
from batchrunner.store.check import backup, check
from batchrunner.store.database import open_reader, open_store
from tests.store.making import ACCOUNTS, INFO, NOW, heads, line, load, start_calls, succeed

ODD_NAMES = [
    "a b.db",
    "what?.db",
    "half#.db",
    "100%25.db",
    "ünï.db",
    "quote'\".db",
    "two\nlines.db",
    "x" * 200 + ".db",
    "file:a.db",
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


@pytest.fixture
def finished(path):
    """A database with three answered requests, closed."""
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        job = load(store, [line(n, extras=b"{}") for n in (1, 2, 3)])
        store.commit([], [succeed(call, b"answer") for call in start_calls(store, heads(store, job))], [], NOW)
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_may_hold_any_character(tmp_path, name):
    path = tmp_path / name
    with open_store(path) as store:
        job = load(store, 1)
        with closing(open_reader(path)) as reader:
            assert reader.job("a") == job
        backup(path, tmp_path / f"copy of {name[:100]}")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([name, f"{name}.lock", f"copy of {name[:100]}"])


def test_a_path_need_not_be_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.db"
    with open_store(os.fsdecode(path)) as store:
        load(store, 1)
    assert os.stat(path).st_size  # noqa: PTH116 - pathlib takes no bytes


def test_every_file_is_readable_by_its_owner_only(path, tmp_path):
    before = os.umask(0o022)
    try:
        with open_store(path) as store:
            load(store, 1)
            backup(path, tmp_path / "copy.db")
            found = {each.name: mode(each) for each in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert found == dict.fromkeys(["q.db", "q.db-wal", "q.db-shm", "q.db.lock", "copy.db"], 0o600)
    assert os.umask(before) == before


def test_the_umask_of_the_process_is_left_alone(path):
    before = os.umask(0o027)
    try:
        open_store(path).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_the_file_is_set_up_for_durability_and_marked_as_ours(path):
    with open_store(path) as store, store._session.read() as connection:
        pragmas = (
            "journal_mode",
            "synchronous",
            "page_size",
            "foreign_keys",
            "trusted_schema",
            "application_id",
            "mmap_size",
        )
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas}
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 4096,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "application_id": 0x62746368,
        "mmap_size": 0,
    }


def test_a_clean_end_leaves_one_file_and_the_lock(finished):
    assert sorted(each.name for each in finished.parent.iterdir()) == ["q.db", "q.db.lock"]


def test_a_missing_database_is_not_made_by_reading(path):
    with pytest.raises(DatabaseError, match="there is no database"):
        open_reader(path)
    assert list(path.parent.iterdir()) == []


def test_a_missing_folder_is_said_so(tmp_path):
    with pytest.raises(DatabaseError, match="No such file"):
        open_store(tmp_path / "missing" / "q.db")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"just text, long enough to look at" * 200, "not a database"), (b"SQLite format 3\x00" + b"\x01" * 4096, "q.db")],
)
def test_a_file_that_is_no_database_is_refused_untouched(path, tamper, bytes_of, content, message):
    tamper(path, lambda _: content)
    for opening in (open_store, open_reader):
        with pytest.raises(DatabaseError, match=message):
            opening(path)
    assert bytes_of(path) == content
    assert sorted(each.name for each in path.parent.iterdir()) == ["q.db", "q.db.lock"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_another_programs_database_is_refused_untouched(path, bytes_of, journal):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE bookmarks (url)")
    before = bytes_of(path)
    for opening in (open_store, open_reader):
        with pytest.raises(DatabaseError, match="another program"):
            opening(path)
    assert bytes_of(path) == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["q.db", "q.db.lock"]


def test_an_empty_file_becomes_a_database(path, tamper):
    tamper(path, lambda _: b"")
    with open_store(path) as store:
        assert store.work(None) == []


def test_an_empty_file_beside_a_journal_was_cut_and_is_refused(path, tamper):
    tamper(path, lambda _: b"")
    tamper(path.with_name("q.db-wal"), lambda _: b"x" * 100)
    with pytest.raises(DatabaseError, match="cut"):
        open_store(path)


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(DatabaseError, match="regular file"):
        open_store(tmp_path)


def test_a_second_name_of_the_file_is_refused_but_a_symbolic_link_is_followed(finished, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(finished)
    with open_store(link) as store:
        assert store.path == str(finished.resolve())
        assert finished.with_name("q.db-wal").exists()
    link.unlink()
    os.link(finished, link)
    for opening in (open_store, open_reader):
        with pytest.raises(DatabaseError, match="hard links"):
            opening(finished)


def test_code_hidden_in_the_file_is_refused(finished):
    with closing(sqlite3.connect(finished)) as connection:
        connection.execute("CREATE TRIGGER evil AFTER UPDATE ON requests BEGIN DELETE FROM responses; END")
    for opening in (open_store, open_reader):
        with pytest.raises(DatabaseError, match="trigger"):
            opening(finished)


def test_an_sqlite_that_is_too_old_is_refused(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(DatabaseError, match=r"3\.37\.0"):
        open_store(path)


@pytest.mark.parametrize("how", ["unlink", "replace", "journal"])
def test_a_file_that_vanishes_while_it_is_in_use_is_noticed_before_the_next_commit(path, tmp_path, how):
    store = open_store(path)
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 2)
    calls = start_calls(store, heads(store, job))
    if how == "replace":
        with open_store(tmp_path / "other.db"):
            pass
        (tmp_path / "other.db").replace(path)
    else:
        (path if how == "unlink" else path.with_name("q.db-wal")).unlink()
    with pytest.raises(DatabaseError, match="deleted, moved or replaced"):
        store.commit([], [succeed(calls[0])], [], NOW)
    store.close()


def test_a_full_disk_says_so_and_what_was_committed_stays(path):
    with open_store(path) as store:
        job = load(store, 2)
        store._session.outside("PRAGMA max_page_count = 100")
        with pytest.raises(DatabaseError, match="disk is full") as caught:
            store.add(job.id, [line(n, body=b"x" * 4_000) for n in range(10, 200)])
        assert "SQLITE_FULL" in str(caught.value)
        assert len(heads(store, job)) == 2
        store._session.outside("PRAGMA max_page_count = 100000")
        store.add(job.id, [line(3)])
        assert len(heads(store, job)) == 3


def test_an_error_never_shows_what_was_being_written(path):
    with open_store(path) as store, pytest.raises(Exception, match="FOREIGN KEY") as caught:  # noqa: SIM117
        with store._session.write() as connection:
            connection.exec_driver_sql("INSERT INTO bodies (request_id, data) VALUES (?, ?)", (99, b"a secret prompt"))
    assert "secret" not in str(caught.value)


# ---- check and backup


def test_a_sound_database_has_no_findings(finished):
    assert check(finished) == []


def test_d14_a_flipped_byte_in_an_answer_is_found_and_never_exported(finished, tamper):
    tamper(finished, lambda old: old.replace(b"answer", b"anSwer", 1))
    (finding,) = check(finished)
    assert "checksum" in finding
    with closing(open_reader(finished)) as reader, pytest.raises(DatabaseError, match=r"'id-[123]'"):
        list(reader.results(1))


def test_rollups_that_do_not_add_up_are_found(finished):
    with closing(sqlite3.connect(finished, isolation_level=None)) as connection:
        connection.execute("UPDATE counts SET n = 7 WHERE state = 'succeeded'")
        connection.execute("UPDATE totals SET cost = cost + 1")
    findings = check(finished)
    assert sum(finding.startswith("counts") for finding in findings) == 2
    assert sum(finding.startswith("totals") for finding in findings) == 2


def test_missing_rows_and_missing_answers_are_found(finished):
    with closing(sqlite3.connect(finished, isolation_level=None)) as connection:
        connection.execute("DELETE FROM responses WHERE request_id = 1")
        connection.execute("DELETE FROM attempts WHERE id = 2")
        connection.execute("INSERT INTO bodies (request_id, data) VALUES (77, x'00')")
    findings = check(finished)
    assert any("bodies" in finding and "77" in finding for finding in findings)
    assert any("1 requests are succeeded without an answer" in finding for finding in findings)
    assert any(finding.startswith("totals") for finding in findings)


def test_a_damaged_page_is_found_wherever_it_is(finished, tamper, bytes_of):
    sound = bytes_of(finished)
    unnoticed = []
    for page in range(len(sound) // 4096):
        tamper(finished, lambda _, at=page * 4096: sound[:at] + b"\xff" * 4096 + sound[at + 4096 :])
        try:
            if not check(finished):
                unnoticed.append(page)
        except DatabaseError:
            pass
    assert unnoticed == []


def test_a_backup_made_beside_a_live_writer_is_whole(path, tmp_path):
    with open_store(path) as store:
        job = load(store, 3)
        backup(path, tmp_path / "copy.db")
        load(store, 1, "b")
    assert check(tmp_path / "copy.db") == []
    with open_store(tmp_path / "copy.db") as copy:
        assert [head.id for head in heads(copy, job)] == [1, 2, 3]
        assert [work.jobs for work in copy.work(None)] == [(job.id,)]


def test_a_backup_never_replaces_a_file(finished, tmp_path, tamper):
    tamper(tmp_path / "copy.db", lambda _: b"")
    with pytest.raises(DatabaseError, match="exists"):
        backup(finished, tmp_path / "copy.db")


def test_a_backup_without_room_leaves_nothing(finished, tmp_path, monkeypatch):
    full = shutil._ntuple_diskusage(100, 100, 0)
    monkeypatch.setattr(schema.shutil, "disk_usage", lambda _: full)
    with pytest.raises(DatabaseError, match="no room"):
        backup(finished, tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))
