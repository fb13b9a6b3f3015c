"""What must stay fast with ten million rows never scans or sorts them. Plans, not seconds: they do not flicker."""

import sqlite3
from unittest.mock import patch

import pytest

from batchrunner.store.base import ALL, Selection
from batchrunner.store.database import open_reader, open_store
from tests.store.making import ACCOUNTS, INFO, NOW, heads, load, start_calls, succeed, try_later

BIG = ("requests", "attempts", "bodies", "responses", "discards", "r", "a", "b", "p", "d")


@pytest.fixture
def opened(tmp_path):
    with open_store(tmp_path / "q.db") as store:
        store.start(INFO, NOW, ACCOUNTS)
        reader = open_reader(tmp_path / "q.db")
        yield store, reader, load(store, 4)
        reader.close()


def plans(owner, action):
    """The query plan of every statement that an action executes, through SQLAlchemy or past it."""
    pooled = owner._session._connection.connection
    driver = pooled.driver_connection
    seen = []

    class Noting(sqlite3.Cursor):
        def execute(self, statement, *values):
            seen.append(statement)
            return super().execute(statement, *values)

        def executemany(self, statement, *values):
            seen.append(statement)
            return super().executemany(statement, *values)

    with patch.object(type(pooled), "cursor", lambda _: driver.cursor(Noting)):
        action()
    found = []
    for statement in seen:
        if statement.split()[0] in ("SELECT", "UPDATE", "INSERT", "DELETE"):
            values = (None,) * statement.count("?")
            rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            found.append((statement, [row[3] for row in rows]))
    assert found
    return found


def scans(found):
    return [
        step
        for _, steps in found
        for step in steps
        if step.split()[0] == "SCAN" and step.split()[1] in BIG and "attempts_open" not in step
    ]


@pytest.mark.parametrize("selection", [ALL, Selection(upto=3), Selection(ids=(1, 2))])
@pytest.mark.parametrize("after", [None, (0, 1)])
def test_a_claim_walks_its_index_without_sorting(opened, selection, after):
    store, _, job = opened
    found = plans(store, lambda: store.claim(job.id, 1, after, 10, selection))
    assert scans(found) == []
    steps = [step for _, each in found for step in each]
    if selection.ids is None:
        assert not any("TEMP B-TREE" in step for step in steps)
        assert any("requests_ready (job_id=? AND model_id=?" in step for step in steps)
        assert after is None or any("priority=? AND id>?" in step for step in steps)


@pytest.mark.parametrize(
    "look",
    [
        lambda store, reader, job: store.claim_due([job.id], 1, NOW, 10),
        lambda store, reader, job: store.next_due([job.id], 1),
        lambda store, reader, job: store.work(None),
        lambda store, reader, job: store.remaining(None),
        lambda store, reader, job: store.start(INFO, NOW, ACCOUNTS),
        lambda store, reader, job: store.digests(job.id, ["id-1"]),
        lambda store, reader, job: store.retry(job.id, now=NOW),
        lambda store, reader, job: store.retry(job.id, kinds=["x"], now=NOW),
        lambda store, reader, job: store.retry(job.id, custom_ids=["id-1"], now=NOW),
    ],
    ids=["due", "next due", "work", "remaining", "start", "digests", "retry", "retry kind", "retry id"],
)
def test_the_writer_never_scans(opened, look):
    store, reader, job = opened
    calls = start_calls(store, heads(store, job)[:2])
    assert scans(plans(store, lambda: look(store, reader, job))) == []
    assert len(calls) == 2


def test_a_group_commit_never_scans(opened):
    store, _, job = opened
    calls = start_calls(store, heads(store, job)[:2])
    openings = [call[1]._replace(head=head) for call, head in zip(calls, heads(store, job), strict=True)]
    found = plans(store, lambda: store.commit(openings, [succeed(calls[0]), try_later(calls[1])], [], NOW))
    assert scans(found) == []


@pytest.mark.parametrize(
    "look",
    [
        lambda reader, job: reader.counts(job.id, NOW),
        lambda reader, job: reader.costs(["model", "day"]),
        lambda reader, job: reader.lanes(job.id),
        lambda reader, job: reader.failures(job.id),
        lambda reader, job: list(reader.results(job.id)),
    ],
    ids=["counts", "costs", "lanes", "failures", "results"],
)
def test_the_reader_never_scans(opened, look):
    _, reader, job = opened
    assert scans(plans(reader, lambda: look(reader, job))) == []


def test_the_estimate_sorts_nothing_so_memory_does_not_grow_with_the_queue(opened):
    _, reader, job = opened
    found = plans(reader, lambda: reader.workload([job.id]))
    assert scans(found) == []
    grouped = [step for statement, steps in found for step in steps if "requests" in statement and "TEMP" in step]
    assert grouped == []
