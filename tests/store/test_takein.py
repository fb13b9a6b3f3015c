"""Answers that were put by are taken in once, by the attempt that they belong to, whatever happened to the database."""

from contextlib import closing

import pytest

from batchrunner.core.attempt import Billing, FailureKind
from batchrunner.core.request import Release
from batchrunner.store.base import TakenIn
from batchrunner.store.check import check
from batchrunner.store.database import Care, open_reader, open_store
from tests.store.making import ACCOUNTS, INFO, NOW, give_up, heads, load, refusal, start_calls, succeed, try_later


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


def crashed(path, rows=3):
    """A database whose runner vanished with all rows in the air."""
    store = open_store(path)
    store.start(INFO, NOW, ACCOUNTS)
    calls = start_calls(store, heads(store, load(store, rows)))
    store.close()
    return calls


def found(path):
    with closing(open_reader(path)) as reader:
        return {row.id: (row.state.value, row.body, row.attempts) for row in reader.results(1)}


def test_what_was_put_by_is_closed_as_if_it_had_been_recorded(path):
    first, second, third = crashed(path)
    with open_store(path) as store:
        done = store.take_in([succeed(first), give_up(second)], [Release(third[0].attempt_id, third[1].head)], NOW)
        assert done == TakenIn(taken=2, released=1)
        assert store.rescue(NOW).lost == 0
    assert found(path) == {
        1: ("succeeded", b'{"choices":[]}', 1),
        2: ("failed", b'{"error":"no"}', 1),
        3: ("queued", None, 0),
    }
    with closing(open_reader(path)) as reader:
        assert {row.key for row in reader.costs(["account"])} == {(ACCOUNTS["together"],)}
    assert check(path) == []


def test_taking_it_in_again_changes_nothing(path):
    first, second, third = crashed(path)
    spilled = [succeed(first), try_later(second)]
    released = [Release(third[0].attempt_id, third[1].head)]
    with open_store(path) as store:
        store.take_in(spilled, released, NOW)
        before = found(path)
        assert store.take_in(spilled, released, NOW) == TakenIn(known=2)
        assert store.take_in(spilled * 2, released * 2, NOW) == TakenIn(known=2)
    assert found(path) == before
    assert check(path) == []


def test_an_answer_that_comes_after_its_attempt_was_taken_for_lost_is_used(path):
    first, *_ = crashed(path)
    with open_store(path) as store:
        store.rescue(NOW)
        assert store.take_in([succeed(first)], [], NOW) == TakenIn(taken=1)
    assert found(path)[1] == ("succeeded", b'{"choices":[]}', 1)
    assert check(path) == []


def test_the_first_complete_answer_wins_and_the_late_one_is_a_wasted_attempt(path):
    first, *_ = crashed(path)
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        again = next(call for call in start_calls(store, heads(store, store.jobs()[0])) if call[1].head.id == 1)
        store.commit([], [succeed(again, b"the first")], [], NOW)
        assert store.take_in([succeed(first, b"late")], [], NOW).taken == 1
        store.rescue(NOW)
    assert found(path)[1] == ("succeeded", b"the first", 2)
    with closing(open_reader(path)) as reader:
        (costs,) = reader.costs(())
        assert (costs.recorded, costs.wasted) == (77, 77)
    assert check(path) == []


def test_an_older_copy_that_lacks_the_attempt_takes_the_answer_all_the_same(path, tamper, bytes_of):
    with open_store(path) as store:
        load(store, 3)
    old = bytes_of(path)
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        first, second, _ = start_calls(store, heads(store, store.jobs()[0]))
    tamper(path, lambda _: old)
    with open_store(path, care=Care(accept_older=True)) as store:
        assert store.take_in([succeed(first), give_up(second)], [], NOW) == TakenIn(taken=2)
        store.start(INFO, NOW, ACCOUNTS)
        fresh = start_calls(store, heads(store, store.jobs()[0]))
        assert min(call[0].attempt_id for call in fresh) > second[0].attempt_id
        assert {call[1].head.id for call in fresh} == {2, 3}
        store.commit([], [succeed(call) for call in fresh], [], NOW)
    assert found(path)[1] == ("succeeded", b'{"choices":[]}', 1)
    assert check(path) == []


def test_an_answer_to_a_request_that_is_not_here_is_left_out(path, tmp_path):
    first, *_ = crashed(tmp_path / "another.db")
    with open_store(path) as store:
        assert store.take_in([succeed(first)], [], NOW) == TakenIn(strange=1)
        other = load(store, 3, "b")
        odd = first[1]._replace(head=first[1].head._replace(digest=b"another body...."))
        assert store.take_in([succeed((first[0], odd))], [], NOW) == TakenIn(strange=1)
        assert len(heads(store, other)) == 3
    assert check(path) == []


def test_a_refused_call_that_was_put_by_is_not_asked_again(path):
    first, *_ = crashed(path)
    with open_store(path) as store:
        store.take_in([give_up(first, FailureKind.CONTEXT_LENGTH)], [], NOW)
        store.rescue(NOW)
    assert found(path)[1][0] == "failed"
    assert refusal().billing is Billing.NOT_BILLED
