"""A request that is in the air whenever a runner dies is set aside, and no innocent one with it."""

import random

import pytest

from batchrunner.store.check import check
from batchrunner.store.database import open_store
from tests.store.making import ACCOUNTS, INFO, NOW, heads, load, start_calls, succeed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


def die(path, number, choose):
    """A runner opens what ``choose`` picks of what is queued, and dies; return what the next one finds."""
    with open_store(path) as store:
        store.start(INFO, NOW + 2 * number, ACCOUNTS)
        start_calls(store, choose(heads(store, store.jobs()[0])))
    with open_store(path) as store:
        return store.rescue(NOW + 2 * number + 1)


def states(path):
    with open_store(path) as store, store._session.read() as connection:
        rows = connection.exec_driver_sql("SELECT id, state, tries, crashes FROM requests")
        return {row[0]: tuple(row[1:]) for row in rows}


def test_the_fifth_crash_among_few_calls_sets_a_request_aside(path):
    with open_store(path) as store:
        load(store, 2)
    for number in range(4):
        assert die(path, number, lambda queued: [head for head in queued if head.id == 1]).quarantined == 0
    rescue = die(path, 4, lambda queued: [head for head in queued if head.id == 1])
    assert (rescue.lost, rescue.quarantined) == (1, 1)
    assert states(path) == {1: ("quarantined", 0, 5), 2: ("queued", 0, 0)}, "lost attempts are not tries"
    with open_store(path) as store:
        assert store.remaining([1]) == (1, 0)
    assert check(path) == []


@pytest.mark.slow
def test_crashes_with_many_calls_out_accuse_nobody(path):
    with open_store(path) as store:
        load(store, 8)
    for number in range(12):
        assert die(path, number, lambda queued: queued).quarantined == 0
    assert {state for state, *_ in states(path).values()} == {"queued"}


@pytest.mark.slow
def test_one_crash_among_few_after_many_among_many_is_not_enough(path):
    with open_store(path) as store:
        load(store, 8)
    for number in range(12):
        die(path, number, lambda queued: queued)
    assert die(path, 12, lambda queued: queued[:1]).quarantined == 0
    assert die(path, 13, lambda queued: [head for head in queued if head.attempts == 13]).quarantined == 1


@pytest.mark.slow
def test_a_runner_that_is_killed_before_anything_lands_accuses_nobody_for_a_long_time(path):
    with open_store(path) as store:
        load(store, 3)
    quarantined = [die(path, number, lambda queued: queued).quarantined for number in range(12)]
    assert quarantined == [0] * 11 + [3]


def test_retry_brings_it_back_with_a_clean_record(path):
    with open_store(path) as store:
        load(store, 1)
    for number in range(5):
        die(path, number, lambda queued: queued)
    with open_store(path) as store:
        assert store.retry(1, now=NOW) == 0, "it did not fail"
        assert store.retry(1, quarantined=True, now=NOW) == 1
    assert states(path) == {1: ("queued", 0, 0)}
    assert die(path, 9, lambda queued: queued).quarantined == 0
    assert check(path) == []


@pytest.mark.slow
def test_two_hundred_kills_quarantine_nothing_innocent(path):
    """Rows come and go as in a job: most of what is out lands before the kill, a few slow ones do not."""
    dice = random.Random(5)
    with open_store(path) as store:
        load(store, 3_000)
        for number in range(200):
            store.start(INFO, NOW + number, ACCOUNTS)  # whoever was there before is dead now
            queued = heads(store, store.jobs()[0], 40)
            calls = start_calls(store, dice.sample(queued, min(len(queued), 24)))
            landed = [call for call in calls if dice.random() < 0.6]
            store.commit([], [succeed(call) for call in landed], [], NOW + number)
        store.rescue(NOW + 10_000)
    assert {state for state, *_ in states(path).values()} <= {"queued", "succeeded"}
