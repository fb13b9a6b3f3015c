"""S2, S13, S23, S29: a database is a file that somebody may have sent, and ids are only text."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchrunner.cli import main
from batchrunner.core.errors import BatchrunnerError, DatabaseError
from batchrunner.formats.export_jsonl import JsonlExporter
from batchrunner.store.check import check
from batchrunner.store.database import open_reader, open_store
from batchrunner.store.sqlite import APPLICATION_ID, Session, reader_engine, writer_engine
from tests.cli.conftest import POISON, chat, provider, run_cli, write

MUTATIONS = 1_000


def tampered(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("PRAGMA writable_schema = ON")
        other.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            other.execute(statement)
    return path


def mutated(source: bytes, dice: random.Random) -> bytes:
    """Damage a file the way disks and fuzzers do: bits, bytes, runs of zeros, pages swapped, cut, or grown."""
    data = bytearray(source)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        at = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(min(len(data), 8192))
        kind = dice.randrange(6)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at] = dice.randrange(256)
        elif kind == 2:
            run = dice.randrange(1, 200)
            data[at : at + run] = bytes(len(data[at : at + run]))
        elif kind == 3:
            run = dice.randrange(1, 64)
            data[at : at + run] = dice.randbytes(len(data[at : at + run]))
        elif kind == 4 and len(data) > 8192:
            one, two = (4096 * dice.randrange(len(data) // 4096) for _ in range(2))
            data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]
        elif kind == 5 and dice.random() < 0.2:
            del data[at:]
            data = data or bytearray(1)
    return bytes(data)


def read_everything(path: Path) -> None:
    """Ask a database all that the reading verbs ask."""
    reader = open_reader(path)
    try:
        for job in reader.jobs():
            reader.counts(job.id, 0)
            reader.lanes(job.id)
            reader.failures(job.id)
            exporter = JsonlExporter(job)
            for row in reader.results(job.id):
                exporter.line(row)
        reader.costs(("model", "day"), None)
        reader.runner()
    finally:
        reader.close()


@pytest.mark.slow
def test_s13_a_thousand_mutated_databases_end_in_an_error_and_never_in_a_crash_or_a_hang(
    finished: Path, tmp_path: Path
) -> None:
    source = (finished / "batchrunner.db").read_bytes()
    path = tmp_path / "q.db"
    refused = 0
    codes = set()
    for seed in range(MUTATIONS):
        for name in ("q.db", "q.db-wal", "q.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        path.write_bytes(mutated(source, random.Random(seed)))
        try:
            read_everything(path)
        except BatchrunnerError as error:
            refused += 1
            codes.add(error.exit_code)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert codes <= {2, 74}
    assert 200 < refused < MUTATIONS, "some damage is in unused bytes, most is not"


@pytest.mark.slow
def test_s13_the_verbs_end_with_74_or_2_on_mutated_databases(finished: Path, here: Path) -> None:
    source = (finished / "batchrunner.db").read_bytes()
    path = here / "batchrunner.db"
    verbs = [("status",), ("results", "mixed"), ("costs",), ("errors", "mixed"), ("retry", "mixed"), ("db", "check")]
    codes = set()
    for seed in range(60):
        for name in here.iterdir():
            name.unlink()
        path.write_bytes(mutated(source, random.Random(10_000 + seed)))
        ended = run_cli(*verbs[seed % len(verbs)])
        codes.add(ended.exit_code)
        assert ended.exit_code in (0, 2, 74), f"seed {seed}: {ended.output}"
        assert "Traceback" not in ended.output
    assert 74 in codes


EVIL_SCHEMAS: dict[str, tuple[str, ...]] = {
    "a trigger": ("CREATE TRIGGER t AFTER UPDATE ON requests BEGIN DELETE FROM responses; END",),
    "a trigger on a view": ("CREATE TRIGGER t INSTEAD OF INSERT ON v_results BEGIN DELETE FROM responses; END",),
    "an index on an expression": ("CREATE INDEX i ON requests (abs(id))",),
    "a further unique index": ("CREATE UNIQUE INDEX i ON requests (line, id)",),
    "a view in a table's place": (
        "ALTER TABLE prices RENAME TO old",
        "CREATE VIEW prices AS SELECT * FROM old",
    ),
    "a table without its key": (
        "ALTER TABLE responses RENAME TO old",
        "CREATE TABLE responses AS SELECT * FROM old",
    ),
    "a column more": ("ALTER TABLE jobs ADD COLUMN evil TEXT DEFAULT 'x'",),
    "a view changed": ("DROP VIEW v_results", "CREATE VIEW v_results AS SELECT 1"),
    "an index gone": ("DROP INDEX requests_ready",),
    "a table gone": ("DROP TABLE rates",),
    "a schema rewritten by hand": ("UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', '') WHERE name = 'meta'",),
}


@pytest.mark.parametrize("kind", list(EVIL_SCHEMAS))
def test_s13_a_schema_that_is_not_ours_is_refused_before_anything_is_written(kind: str, worked: Path) -> None:
    path = tampered(worked / "batchrunner.db", *EVIL_SCHEMAS[kind])
    before = path.read_bytes()
    for attempt in (lambda: open_reader(path), lambda: open_store(path), lambda: check(path)):
        with pytest.raises(DatabaseError) as refusal:
            attempt()
        assert refusal.value.exit_code == 74
    assert path.read_bytes() == before
    assert run_cli("status").exit_code == 74


def test_s13_a_persons_own_tables_and_views_are_left_alone(worked: Path) -> None:
    tampered(worked / "batchrunner.db", "CREATE TABLE notes (a)", "CREATE VIEW mine AS SELECT * FROM v_requests")
    assert run_cli("status").exit_code == 0
    assert run_cli("retry", "mixed").exit_code == 0


def test_s13_another_programs_database_is_not_touched(worked: Path) -> None:
    path = tampered(worked / "batchrunner.db", "PRAGMA application_id = 17")
    before = path.read_bytes()
    assert run_cli("status").exit_code == 74
    assert run_cli("retry", "mixed").exit_code == 74
    assert path.read_bytes() == before


@pytest.mark.parametrize("make", [writer_engine, reader_engine], ids=["writer", "reader"])
def test_s13_a_files_own_schema_is_never_trusted(make: Callable[..., object], worked: Path) -> None:
    path = str(worked / "batchrunner.db")
    engine = writer_engine(path, new=False) if make is writer_engine else reader_engine(path)
    with closing(Session(path, engine)) as session, session.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("trusted_schema", "cell_size_check", "mmap_size", "application_id")
        }
    assert pragmas == {"trusted_schema": 0, "cell_size_check": 1, "mmap_size": 0, "application_id": APPLICATION_ID}


NONSENSE = {
    "options that are no JSON": "UPDATE jobs SET options = 'no'",
    "options of another kind": "UPDATE jobs SET options = '[]'",
    "options with too many keys": 'UPDATE jobs SET options = \'{"settings":[],"evil":1}\'',
    "tags that are no object": "UPDATE jobs SET tags = '7'",
    "a state that there is none of": "UPDATE jobs SET state = 'evil'",
    "a request in no state": "UPDATE requests SET state = 'evil'",
    "a request of no lane": "UPDATE requests SET model_id = 999",
}


@pytest.mark.parametrize("kind", list(NONSENSE))
def test_s13_rows_that_we_never_write_are_a_damaged_database_and_no_bug(kind: str, worked: Path) -> None:
    tampered(worked / "batchrunner.db", "PRAGMA foreign_keys = OFF", NONSENSE[kind])
    for words in (("status",), ("results", "mixed")):
        ended = run_cli(*words)
        assert ended.exit_code in (0, 74), ended.output
    assert {run_cli("status").exit_code, run_cli("results", "mixed").exit_code} >= {74}


SQL = [
    "'; DROP TABLE requests; --",
    '"; DELETE FROM responses; --',
    "1' OR '1'='1",
    "' UNION SELECT key, value FROM meta --",
    "%' ESCAPE '_",
    ":id ?1 @x $y %(a)s {b}",
    "\\'; VACUUM; --",
    "]);--",
]


@pytest.mark.slow
def test_s23_ids_models_tags_and_filters_are_data_and_never_sql(here: Path) -> None:
    rows = [chat(text, f"question {POISON if at % 2 else ''}", text) for at, text in enumerate(SQL)]
    for row, text in zip(rows, SQL, strict=True):
        row["metadata"] = {"tags": {"team": text}}
    write(here / "j.jsonl", rows)
    with provider(poison=POISON) as env:
        words = ("run", "j.jsonl", "--yes", "--progress", "none", "--name", SQL[0], "--tag", f"k={SQL[1]}")
        ended = run_cli(*words, env=env)
    assert ended.exit_code == 3, ended.output
    for text in SQL:
        for words in (("status", text), ("errors", text), ("results", text), ("retry", SQL[0], "--kind", text)):
            assert run_cli(*words).exit_code in (0, 2), words
        run_cli("retry", SQL[0], "--id", text)
    lines = [json.loads(line) for line in run_cli("results", SQL[0]).stdout.splitlines()]
    assert {line["custom_id"] for line in lines} <= set(SQL)
    assert check(here / "batchrunner.db") == []
    with closing(sqlite3.connect(here / "batchrunner.db")) as other:
        assert other.execute("SELECT custom_id FROM requests ORDER BY id").fetchall() == [(text,) for text in SQL]
        assert {model for (model,) in other.execute("SELECT model FROM models")} == set(SQL)


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@root_only
def test_s29_root_does_not_write_to_somebody_elses_database_unasked(worked: Path) -> None:
    os.chown(worked / "batchrunner.db", 12345, 12345)
    (worked / "batchrunner.db.lock").unlink(missing_ok=True)
    before = sorted(path.name for path in worked.iterdir())
    refused = run_cli("retry", "mixed")

    assert refused.exit_code == 74, refused.output
    assert "belongs to user 12345" in refused.stderr
    assert "sudo -u 12345" in refused.stderr
    assert sorted(path.name for path in worked.iterdir()) == before, "nothing of root's lies beside it"
    assert run_cli("retry", "mixed", "--any-owner").exit_code == 0


@root_only
def test_s29_reading_it_is_no_harm(worked: Path) -> None:
    shutil.copy(worked / "batchrunner.db", worked / "theirs.db")
    os.chown(worked / "theirs.db", 12345, 12345)
    assert run_cli("status", "--db", "theirs.db").exit_code == 0


def test_s29_a_database_of_ones_own_needs_no_flag(worked: Path) -> None:
    assert CliRunner().invoke(main, ["retry", "mixed"]).exit_code == 0
