"""A new file, an upgraded file and tables.py agree; what can't be upgraded is left alone."""

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from batchrunner.core.errors import DatabaseError, ExitCode, NewerDatabaseError
from batchrunner.store import database, schema
from batchrunner.store.check import check
from batchrunner.store.database import open_reader, open_store
from batchrunner.store.sqlite import Session, writer_engine
from batchrunner.store.tables import meta
from tests.store.making import ACCOUNTS, INFO, NOW, heads, load, start_calls, succeed

HEAD = schema.HEAD
NEXT = '''
"""Add a table, for a test."""
from alembic import op
revision = "next"
down_revision = "{head}"
branch_labels = depends_on = None
def upgrade():
    op.execute("CREATE TABLE extra (id INTEGER PRIMARY KEY)")
    op.execute("ALTER TABLE jobs ADD COLUMN colour TEXT")
    {ending}
def downgrade():
    pass
'''


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


@pytest.fixture
def session(path):
    with closing(Session(str(path), writer_engine(str(path), new=True))) as opened:
        yield opened


@pytest.fixture
def next_release(tmp_path, monkeypatch):
    """The program as it will be, with one migration more."""

    def release(ending=""):
        folder = tmp_path / "migrations"
        shutil.copytree(schema.migrations(), folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "versions" / "next.py").write_text(NEXT.format(head=HEAD, ending=ending))
        monkeypatch.setattr(schema, "migrations", lambda: folder)
        monkeypatch.setattr(schema, "HEAD", "next")
        # Its tables.py, from which its own schema would be told, is not written yet.
        monkeypatch.setattr(database, "refuse_foreign_schema", lambda path, connection: None)

    return release


def objects(path):
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT type || ' ' || name, sql FROM sqlite_schema"))


def test_the_newest_migration_is_the_one_that_the_program_expects():
    assert ScriptDirectory.from_config(schema.alembic_config()).get_heads() == [schema.HEAD]


def test_migrating_and_creating_give_the_same_schema_to_the_letter(session, path, tmp_path):
    schema.upgrade(session)
    migrated = objects(path)
    open_store(tmp_path / "new.db").close()
    assert objects(tmp_path / "new.db") == migrated
    assert len(migrated) > 30


def test_alembic_finds_nothing_to_add_to_the_migrations(session):
    schema.upgrade(session)
    with session.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), meta.metadata) == []


def test_down_and_up_again_is_possible(session):
    schema.upgrade(session)
    config = schema.alembic_config()
    config.attributes["connection"] = session.connection()
    command.downgrade(config, "base")
    with session.read() as connection:
        left = (
            connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").scalars().all()
        )
    assert left == ["alembic_version"]
    schema.upgrade(session)


def test_a_database_that_knew_tokens_only_keeps_its_sums_and_its_answers(path):
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        job = load(store, 3)
        store.commit([], [succeed(call) for call in start_calls(store, heads(store, job)[:2])], [], NOW)
    before = read(path, job)
    with closing(Session(str(path), writer_engine(str(path), new=False))) as session:
        config = schema.alembic_config()
        config.attributes["connection"] = session.connection()
        command.downgrade(config, "0001")
    with open_store(path) as store:
        assert len(heads(store, job)) == 1
    assert read(path, job) == before
    assert check(path) == []


def read(path, job):
    with closing(open_reader(path)) as reader:
        return [row[:-1] for row in reader.results(job.id)], reader.costs(["model"])


def test_neither_a_new_file_nor_a_current_one_waits_for_alembic(path):
    script = (
        "import sys\nfrom batchrunner.store.database import open_store, open_reader\n"
        "for _ in range(2): open_store(sys.argv[1]).close()\n"
        "open_reader(sys.argv[1]).close()\nassert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)


def test_a_newer_database_is_refused_and_not_touched(path, tmp_path):
    open_store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE meta SET value = '7.5' WHERE key = 'version'")
    before = sha256_of(path)
    for opening in (open_store, open_reader):
        with pytest.raises(NewerDatabaseError, match=re.escape("batchrunner 7.5")) as caught:
            opening(path)
        assert caught.value.exit_code == ExitCode.USAGE
    assert sha256_of(path) == before


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_database_of_the_first_release_becomes_one_of_this(path, tmp_path):
    with closing(Session(str(path), writer_engine(str(path), new=True))) as session:
        schema.upgrade(session, "0001")
    assert "ttft" not in objects(path)["table attempts"]
    assert "flags" not in objects(path)["table attempts"]
    with open_store(path) as store:
        load(store, 2)
    open_store(tmp_path / "new.db").close()
    assert objects(path) == objects(tmp_path / "new.db")
    assert check(path) == []


def test_an_older_database_is_copied_and_upgraded_with_all_that_is_in_it(path, next_release):
    with open_store(path) as store:
        job = load(store, 3)
    before = objects(path)
    next_release()
    with pytest.raises(DatabaseError, match="older batchrunner") as caught:
        open_reader(path)
    assert "db upgrade" in caught.value.hint
    with open_store(path) as store:
        assert len(heads(store, job)) == 3
        with store._session.read() as connection:
            assert schema.revision(connection) == "next"
    assert objects(path).keys() - before.keys() == {"table extra"}
    copy = Path(f"{path}.backup-{HEAD}")
    assert objects(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600
    open_store(path).close()


def test_an_older_database_without_jobs_or_without_wish_for_a_copy_is_not_copied(path, tmp_path, next_release):
    open_store(path).close()
    with open_store(tmp_path / "full.db") as store:
        load(store, 1)
    next_release()
    open_store(path).close()
    open_store(tmp_path / "full.db", backup=False).close()
    assert list(tmp_path.glob("*backup*")) == []


def test_an_upgrade_that_fails_halfway_leaves_the_database_as_it_was(path, next_release):
    with open_store(path) as store:
        load(store, 2)
    before = objects(path)
    next_release(ending="raise OSError('power')")
    with pytest.raises(OSError, match="power"):
        open_store(path)
    assert objects(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_each_migration_is_whole_or_not_there(path, tmp_path, next_release):
    with open_store(path) as store:
        load(store, 2)
    next_release()
    after_next = NEXT.replace('"next"', '"after next"').replace("extra", "more")
    after_next = after_next.replace("colour", "shape").format(head="next", ending="raise OSError('power')")
    (tmp_path / "migrations" / "versions" / "after_next.py").write_text(after_next)
    with (
        closing(Session(str(path), writer_engine(str(path), new=False))) as session,
        pytest.raises(OSError, match="power"),
    ):
        schema.upgrade(session)
    found = objects(path)
    assert "table extra" in found
    assert "table more" not in found
    assert "shape" not in found["table jobs"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("next",)]


def test_an_upgrade_without_room_for_the_copy_does_not_begin(path, next_release, monkeypatch):
    with open_store(path) as store:
        load(store, 2)
    before = objects(path)
    next_release()
    full = shutil._ntuple_diskusage(100, 100, 0)
    monkeypatch.setattr(schema.shutil, "disk_usage", lambda _: full)
    with pytest.raises(DatabaseError, match="no room"):
        open_store(path)
    assert objects(path) == before


def test_a_creation_that_was_cut_off_is_taken_up_again(path):
    """A file that is marked as ours and holds no tables yet."""
    writer_engine(str(path), new=True).dispose()
    with pytest.raises(DatabaseError, match="empty"):
        open_reader(path)
    with open_store(path) as store:
        load(store, 1)
    assert check(path) == []


def test_the_views_can_be_read_by_people(path):
    with open_store(path) as store:
        load(store, 2)
    with closing(sqlite3.connect(path)) as connection:
        seen = connection.execute("SELECT job, line, state, provider, model FROM v_requests ORDER BY line").fetchall()
        assert seen == [("a", 1, "queued", "together", "m"), ("a", 2, "queued", "together", "m")]
        assert len(connection.execute("SELECT * FROM v_results").fetchall()) == 2
        assert connection.execute("SELECT * FROM v_costs_daily").fetchall() == []


@pytest.mark.slow
def test_a_file_can_be_named_on_alembics_own_command_line(path, tmp_path):
    root = schema.migrations().parent
    command_line = [sys.executable, "-m", "alembic", "-x", f"db={path}", "upgrade", "head"]
    subprocess.run(command_line, cwd=root, check=True, capture_output=True)
    open_store(tmp_path / "new.db").close()
    assert objects(path) == objects(tmp_path / "new.db")


CRASHES = """
import os, sqlite3, sys
from pathlib import Path
import alembic.command
from batchrunner.core import crashpoint
from batchrunner.store import database, schema
from batchrunner.store.database import open_store

path, folder, *crashes = sys.argv[1:]
schema.migrations, schema.HEAD = lambda: Path(folder), "next"
database.refuse_foreign_schema = lambda path, connection: None
old = Path(path).read_bytes()

def upgrade(crash):
    pid = os.fork()
    if pid == 0:
        reached = crashpoint.armed(crash)
        for module in list(sys.modules.values()):
            if module.__name__.startswith("batchrunner") and hasattr(module, "reached"):
                module.reached = reached
        open_store(path).close()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for crash in crashes:
    for beside in Path(path).parent.glob("q.db*"):
        beside.unlink()
    Path(path).write_bytes(old)
    assert upgrade(crash) == 137, crash
    assert upgrade("") == 0, crash
    rows = sqlite3.connect(path)
    assert rows.execute("SELECT version_num FROM alembic_version").fetchone() == ("next",), crash
    assert rows.execute("SELECT count(*) FROM requests").fetchone() == (3,), crash
    assert rows.execute("SELECT count(*) FROM extra").fetchone() == (0,), crash
    assert rows.execute("PRAGMA integrity_check").fetchone() == ("ok",), crash
    rows.close()
"""


@pytest.mark.slow
def test_d24_a_crash_at_any_step_of_an_upgrade_is_made_up_for_by_the_next_one(path, next_release):
    with open_store(path) as store:
        load(store, 3)
    next_release("from batchrunner.core.crashpoint import reached; reached('migration.inside')")
    crashes = ("copy:1", "upgrade:1", "migration.inside:1", "upgraded:1", "write.inside:1", "write.done:1", "close:1")
    command = [sys.executable, "-c", CRASHES, str(path), str(schema.migrations()), *crashes]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=True)
