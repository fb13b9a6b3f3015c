"""Continuations in the store: a row waits with its attempt open, and nothing that happens then opens another one."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from batchrunner.core.continuation import Artifact, Continuation, Step
from batchrunner.core.request import Beside, Continued, Opened, Opening, Release, Settled
from batchrunner.core.retry import GoOn
from batchrunner.runner.artifacts import Artifacts
from batchrunner.store.check import check
from batchrunner.store.database import SqliteStore, open_reader, open_store
from tests.store.making import ACCOUNTS, INFO, NOW, heads, load, opening, start_calls, succeed

PICTURE = b"\x89PNG\r\n\x1a\n a picture"
FILE = Artifact("data[0]", sha256(PICTURE).hexdigest(), "image/png", len(PICTURE), "image-1.png")
LATER = NOW + 60_000_000
WAITING = Continuation(Step.POLL, "vid_1", b"{}", "application/json", "r1", NOW, 2, 1, (FILE,))
Call = tuple[Opened, Opening]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Artifacts(str(tmp_path / "q.db")).put(PICTURE, FILE.place, "", "image-1")
    return tmp_path / "q.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with open_store(path) as opened:
        opened.start(INFO, NOW, ACCOUNTS)
        yield opened


def bought(store: SqliteStore) -> Call:
    """One row of three whose attempt goes on."""
    job = load(store, 3)
    (call,) = start_calls(store, heads(store, job)[:1], rate_id=None)
    go_on(store, call)
    return call


def go_on(store: SqliteStore, call: Call, *, stays: bool = False) -> None:
    beside = Beside((Continued(call[0].attempt_id, call[1], WAITING, GoOn(LATER, stays)),))
    store.commit([], [], [], NOW, beside=beside)


def ask(store: SqliteStore, query: str) -> list[tuple[object, ...]]:
    with store._session.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def state(store: SqliteStore) -> tuple[object, ...]:
    """Of the row: its state, its attempts by number, how many of them are open, and continuations."""
    (row,) = ask(
        store,
        "SELECT state, attempts, (SELECT count(*) FROM attempts), (SELECT count(*) FROM attempts WHERE ended IS NULL),"
        " (SELECT count(*) FROM continuations) FROM requests WHERE id = 1",
    )
    return row


def test_a_row_waits_in_the_queue_and_its_attempt_stays_open(store: SqliteStore, path: Path) -> None:
    bought(store)
    assert state(store) == ("queued", 1, 1, 1, 1)
    assert store.claim_due([1], 1, LATER - 1, 10) == []
    assert store.next_due([1], 1) == LATER
    assert check(path) == []


def test_what_goes_on_is_in_the_workload_and_takes_nothing_any_more(store: SqliteStore, path: Path) -> None:
    bought(store)
    reader = open_reader(path)
    (work,) = reader.workload(None)
    reader.close()
    assert (work.requests, work.going_on) == (3, 1)
    assert (work.est_in, work.max_out) == (102 + 103, 2 * 50), "of the two that are still to be bought"


def test_going_on_opens_nothing_and_brings_back_what_the_attempt_was_opened_by(store: SqliteStore) -> None:
    call = bought(store)
    (head,) = store.claim_due([1], 1, LATER, 10)
    assert (head.continues, head.est_in, head.max_out, head.attempts) == (call[0].attempt_id, 0, 0, 1)
    fresh = store.claim(1, 1, None, 10)[0]
    later = opening(head, opened=LATER, hold=7), opening(fresh, rate_id=None)
    resumed, new = store.commit(later, [], [], LATER)
    assert resumed.attempt_id == call[0].attempt_id
    assert resumed.resumed is not None
    assert resumed.resumed[:4] == (WAITING, call[1].opened, None, call[1].hold)
    assert (new.resumed, new.attempt_id > resumed.attempt_id) == (None, True)
    assert state(store) == ("running", 1, 2, 2, 1)


def test_the_end_closes_the_attempt_ends_the_continuation_and_lists_the_files(store: SqliteStore, path: Path) -> None:
    call = bought(store)
    store.commit([opening(head) for head in store.claim_due([1], 1, LATER, 1)], [], [], LATER)
    settled = Settled(call[0].attempt_id, 1, (FILE,))
    store.commit([], [succeed(call)], [], LATER, beside=Beside((), (settled,)))
    assert state(store) == ("succeeded", 1, 1, 0, 0)
    reader = open_reader(path)
    assert [row.artifacts for row in reader.results(1)] == [(FILE,), (), ()]
    reader.close()
    assert check(path) == []


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("claimed", [False, True])
def test_a_dead_runner_loses_no_attempt_that_goes_on(path: Path, *, stays: bool, claimed: bool) -> None:
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        job = load(store, 3)
        calls = start_calls(store, heads(store, job)[:2], rate_id=None)
        go_on(store, calls[0], stays=stays)
        if claimed and not stays:
            store.commit([opening(head) for head in store.claim_due([1], 1, LATER, 1)], [], [], LATER)
    with open_store(path) as store:
        rescue = store.start(INFO, LATER + 1, ACCOUNTS)[1]
        assert rescue.lost == 1, "the other one is lost"
        assert state(store) == ("queued", 1, 2, 1, 1)
        heads_due = store.claim_due([1], 1, LATER + 1, 10)
        assert {head.continues for head in heads_due} == {0, calls[0][0].attempt_id}
    assert check(path) == []


def test_a_step_that_was_not_made_is_given_back_and_the_attempt_stays(store: SqliteStore, path: Path) -> None:
    call = bought(store)
    (head,) = store.claim_due([1], 1, LATER, 1)
    (opened,) = store.commit([opening(head)], [], [], LATER)
    store.commit([], [], [], LATER, released=[Release(opened.attempt_id, head)])
    assert state(store) == ("queued", 1, 1, 1, 1)
    assert store.claim_due([1], 1, LATER, 1)[0].continues == call[0].attempt_id
    assert check(path) == []


def test_nothing_goes_on_that_is_not_open(store: SqliteStore) -> None:
    job = load(store, 1)
    (call,) = start_calls(store, heads(store, job), rate_id=None)
    store.commit([], [succeed(call)], [], NOW)
    with pytest.raises(RuntimeError, match="not open"):
        go_on(store, call)


def test_a_continuation_is_taken_in_from_a_spill_once_and_only_by_its_own_database(store: SqliteStore) -> None:
    job = load(store, 1)
    (call,) = start_calls(store, heads(store, job), rate_id=None)
    one = Continued(call[0].attempt_id, call[1], WAITING, GoOn(LATER))
    other = one._replace(attempt_id=99)
    assert store.take_in([], [], NOW, Beside((one, other))).strange == 1
    assert state(store) == ("queued", 1, 1, 1, 1)
    assert store.take_in([], [], NOW, Beside((one,))).strange == 0
    assert state(store) == ("queued", 1, 1, 1, 1)


def test_a_continuation_without_a_row_to_go_on_is_found(store: SqliteStore, path: Path) -> None:
    bought(store)
    with store._session.write() as connection:
        connection.exec_driver_sql("UPDATE continuations SET attempt_id = 77")
    assert any("continuations" in finding for finding in check(path))
