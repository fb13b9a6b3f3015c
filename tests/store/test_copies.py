"""Copies: lines with the same body are sent once, and each of them ends as the one that was sent."""

import sqlite3
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchrunner.core.job import JobOptions
from batchrunner.core.request import RequestState
from batchrunner.core.retry import Succeed
from batchrunner.store.base import Selection
from batchrunner.store.check import check
from batchrunner.store.copies import AT_ONCE, ranges
from tests.store.making import (
    ACCOUNTS,
    CHAT,
    INFO,
    NOW,
    SqliteEngine,
    close,
    create,
    give_up,
    heads,
    line,
    reply,
    start_calls,
    stop,
    succeed,
    try_later,
)

DEDUPE = JobOptions(provider="together", dedupe=True)


def fill(store, bodies, name="a", **changes):
    """A job of these bodies, loaded with --dedupe."""
    job = create(store, name, options=DEDUPE)
    store.add(job.id, [line(n, body=body, **changes) for n, body in enumerate(bodies, 1)])
    store.mark_copies(job.id, [CHAT])
    return store.seal(job.id, job.source, job.key)


@pytest.fixture
def engine(tmp_path):
    return SqliteEngine(tmp_path / "q.db")


@pytest.fixture
def store(engine):
    with closing(engine.open()) as opened:
        opened.start(INFO, NOW, ACCOUNTS)
        yield opened


def copies(engine):
    with closing(sqlite3.connect(engine.path)) as connection:
        return dict(connection.execute("SELECT id, copy_of FROM requests").fetchall())


def rows(engine, job):
    with closing(engine.reader()) as reader:
        return {row.line: row for row in reader.results(job.id)}


def states(engine, job):
    return [str(row.state) for row in rows(engine, job).values()]


def finish(store, job, closer=succeed, **more):
    calls = start_calls(store, heads(store, job))
    store.commit([], [closer(call, **more) for call in calls], [], NOW)
    return calls


def counts(engine, job):
    with closing(engine.reader()) as reader:
        return reader.counts(job.id, NOW)


# ---- which lines are copies


def test_a_line_is_a_copy_of_the_first_one_with_its_body(engine, store):
    fill(store, [b"a", b"b", b"a", b"a", b"c", b"b"])
    assert copies(engine) == {1: None, 2: None, 3: 1, 4: 1, 5: None, 6: 2}


def test_another_model_endpoint_provider_or_job_makes_another_request(engine, store):
    job = create(store, options=DEDUPE)
    others = [{"model": "m2"}, {"endpoint": "/v1/completions"}, {"provider": "openai"}, {}]
    store.add(job.id, [line(n, body=b"x", **other) for n, other in enumerate([{}, *others], 1)])
    store.mark_copies(job.id, [CHAT, "/v1/completions"])
    store.seal(job.id, job.source, job.key)
    fill(store, [b"x"], "second")
    assert copies(engine) == {1: None, 2: None, 3: None, 4: None, 5: 1, 6: None}


def test_endpoints_that_make_files_have_no_copies(engine, store):
    fill(store, [b"x", b"x"], endpoint="/v1/images/generations")
    assert copies(engine) == {1: None, 2: None}


@pytest.mark.slow
def test_ranges_of_digests_meet_each_digest_once():
    for lines in (1, AT_ONCE, 10 * AT_ONCE + 1, 10**11):
        found = ranges(lines)
        assert found[0][0] == b"\0\0"
        assert found[-1][1] > b"\xff" * 16
        assert all(upto == start for (_, upto), (start, _) in pairwise(found))
        assert all(start < upto for start, upto in found)


def test_copies_are_found_in_every_range(engine, store, monkeypatch):
    monkeypatch.setattr("batchrunner.store.copies.AT_ONCE", 7)
    fill(store, [b"%d" % (n % 40) for n in range(120)])
    assert copies(engine) == {n + 1: None if n < 40 else n % 40 + 1 for n in range(120)}


def test_without_the_flag_equal_lines_are_all_sent(engine, store):
    job = create(store)
    store.add(job.id, [line(n, body=b"same") for n in (1, 2)])
    job = store.seal(job.id, job.source, job.key)
    assert len(heads(store, job)) == 2


# ---- what becomes of them


def test_copies_are_not_claimed_and_succeed_with_the_answer_for_nothing(engine, store):
    job = fill(store, [b"a", b"b", b"a"])
    assert [head.id for head in heads(store, job)] == [1, 2]
    assert [work.queued for work in store.work([job.id])] == [2]
    assert store.remaining([job.id]) == (2, 0)
    finish(store, job)
    found = rows(engine, job)
    assert (found[3].state, found[3].body, found[3].copy_of) == (RequestState.SUCCEEDED, found[1].body, "id-1")
    assert (found[3].attempts, found[3].usage, found[3].cost, found[1].cost) == (0, None, 0, found[1].cost)
    assert found[1].copy_of is None
    assert counts(engine, job).succeeded == 3
    assert store.remaining([job.id]) == (0, 0)
    assert check(engine.path) == []


def test_money_is_counted_once(engine, store):
    job = fill(store, [b"a"] * 5)
    finish(store, job)
    with closing(engine.reader()) as reader:
        (slice_,) = reader.costs([], job.id)
        assert slice_.attempts == 1
        assert sum(row.cost or 0 for row in reader.results(job.id)) == slice_.recorded
    with closing(sqlite3.connect(engine.path)) as connection:
        shown = connection.execute("SELECT sum(cost_pico_usd), count(body), count(copy_of) FROM v_results").fetchone()
    assert shown == (slice_.recorded, 5, 4)


def test_copies_fail_with_their_original_and_show_its_refusal(engine, store):
    job = fill(store, [b"a", b"a"])
    finish(store, job, give_up)
    found = rows(engine, job)
    assert found[2].state is RequestState.FAILED
    assert (found[2].failure, found[2].message, found[2].status, found[2].body) == (
        found[1].failure,
        found[1].message,
        found[1].status,
        found[1].body,
    )
    with closing(engine.reader()) as reader:
        assert [group.count for group in reader.failures(job.id)] == [2]
    assert check(engine.path) == []


def test_copies_wait_while_their_original_is_tried_again(engine, store):
    job = fill(store, [b"a", b"a"])
    finish(store, job, try_later)
    assert states(engine, job) == ["queued", "queued"]
    assert [head.id for head in heads(store, job)] == [1]
    finish(store, job)
    assert states(engine, job) == ["succeeded", "succeeded"]


@pytest.mark.parametrize("named", [(), ("id-1",), ("id-2",)])
def test_retry_brings_original_and_copies_back_together(named, engine, store):
    job = fill(store, [b"a", b"a", b"b"])
    finish(store, job, give_up)
    assert store.retry(job.id, custom_ids=named, now=NOW) == (2 if named else 3)
    assert states(engine, job)[:2] == ["queued", "queued"]
    assert [head.id for head in heads(store, job)] == ([1] if named else [1, 3])
    finish(store, job)
    assert states(engine, job)[:2] == ["succeeded", "succeeded"]
    assert check(engine.path) == []


def test_retry_of_a_flagged_answer_asks_for_all_of_its_lines(engine, store):
    job = fill(store, [b"a", b"a"])
    (call,) = start_calls(store, heads(store, job))
    store.commit([], [close(call, reply()._replace(flags=("empty",)), Succeed())], [], NOW)
    assert rows(engine, job)[2].flags == ("empty",)
    assert store.retry(job.id, custom_ids=["id-2"], flagged=True, now=NOW) == 2
    assert states(engine, job) == ["queued", "queued"]
    finish(store, job)
    assert rows(engine, job)[2].flags == ()
    assert check(engine.path) == []


def test_a_cancel_takes_copies_along_and_a_late_answer_serves_them_too(engine, store):
    job = fill(store, [b"a", b"a", b"b", b"b"])
    (call,) = start_calls(store, heads(store, job)[:1])
    store.cancel(job.id)
    while store.sweep():
        pass
    assert states(engine, job) == ["running", "cancelled", "cancelled", "cancelled"]
    store.commit([], [succeed(call)], [], NOW)
    assert states(engine, job) == ["succeeded", "succeeded", "cancelled", "cancelled"]
    assert check(engine.path) == []
    store.reopen(job.id)
    while store.take_back(job.id, NOW):
        pass
    assert [head.id for head in heads(store, job)] == [3]
    finish(store, job)
    assert states(engine, job) == ["succeeded"] * 4
    assert check(engine.path) == []


def test_a_kill_while_the_original_is_out_leaves_copies_waiting_with_it(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = fill(store, [b"a", b"a"])
    start_calls(store, heads(store, job))
    engine.crash(store)
    with closing(engine.open()) as again:
        again.start(INFO, NOW, ACCOUNTS)
        assert states(engine, job) == ["queued", "queued"]
        finish(again, job)
        assert states(engine, job) == ["succeeded", "succeeded"]
    assert check(engine.path) == []


def test_quarantine_holds_for_copies_too(engine):
    store = engine.open()
    job = fill(store, [b"a", b"a"])
    for _ in range(5):
        store.start(INFO, NOW, ACCOUNTS)
        start_calls(store, heads(store, job))
        engine.crash(store)
        store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    assert states(engine, job) == ["quarantined", "quarantined"]
    assert check(engine.path) == []
    assert store.retry(job.id, quarantined=True, now=NOW) == 2
    assert states(engine, job) == ["queued", "queued"]
    store.close()


def test_a_limit_counts_what_is_sent_and_copies_come_for_nothing(engine, store):
    job = fill(store, [b"a", b"a", b"b", b"a", b"c"])
    with closing(engine.reader()) as reader:
        first = list(reader.queued_ids([job.id]))[:2]
        assert first == [1, 3]
        (work,) = reader.workload([job.id])
        assert work.requests == 3
    selection = Selection(ids=tuple(first))
    lane = store.work([job.id])[0].lane
    assert [head.id for head in store.claim(job.id, lane.id, None, 10, Selection(ids=(1, 2, 3, 4)))] == [1, 3]
    chosen = store.claim(job.id, lane.id, None, 10, selection)
    assert [head.id for head in chosen] == [1, 3]
    store.commit([], [succeed(call) for call in start_calls(store, chosen)], [], NOW)
    assert states(engine, job) == ["succeeded"] * 4 + ["queued"]
    assert store.remaining([job.id], selection) == (0, 0)


@pytest.mark.parametrize("closer", [None, succeed, give_up])
def test_lines_that_are_added_join_what_is_there_whatever_became_of_it(closer, engine, store):
    job = fill(store, [b"a", b"b"])
    if closer:
        finish(store, job, closer)
    store.add(job.id, [line(n, body=body) for n, body in ((3, b"a"), (4, b"n"), (5, b"n"))], copies=[CHAT])
    assert copies(engine) == {1: None, 2: None, 3: 1, 4: None, 5: 4}
    found = states(engine, job)
    assert found[2] == found[0]
    assert 3 not in [head.id for head in heads(store, job)]
    assert check(engine.path) == []


def test_check_tells_of_a_copy_that_is_not_as_its_original(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = fill(store, [b"a", b"a", b"b"])
    finish(store, job)
    store.close()
    with closing(sqlite3.connect(engine.path)) as connection:
        connection.execute("UPDATE requests SET copy_of = 3 WHERE id = 2")
        connection.commit()
    assert any("copies" in finding for finding in check(engine.path))


class Copies(RuleBasedStateMachine):
    """Whatever happens in whatever order: each line has one state, and copies have that of what they are copies of."""

    def __init__(self):
        import tempfile
        from pathlib import Path

        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = SqliteEngine(Path(self.folder.name) / "q.db")
        self.store = self.engine.open()
        self.store.start(INFO, NOW, ACCOUNTS)
        self.job = fill(self.store, [b"%d" % (n % 4) for n in range(10)])
        self.out = []

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    @rule(n=st.integers(1, 3))
    def open(self, n):
        self.out += start_calls(self.store, heads(self.store, self.job)[:n])

    @precondition(lambda self: self.out)
    @rule(closer=st.sampled_from([succeed, give_up, try_later, stop]))
    def close(self, closer):
        self.store.commit([], [closer(self.out.pop())], [], NOW)

    @rule()
    def kill(self):
        self.engine.crash(self.store)
        self.store = self.engine.open()
        self.store.start(INFO, NOW, ACCOUNTS)
        self.late, self.out = self.out, []

    @rule()
    def cancel(self):
        self.store.cancel(self.job.id)
        while self.store.sweep():
            pass

    @rule()
    def take_back(self):
        self.store.reopen(self.job.id)
        while self.store.take_back(self.job.id, NOW):
            pass

    @rule(quarantined=st.booleans(), name=st.none() | st.integers(1, 10))
    def retry(self, quarantined, name):
        names = () if name is None else (f"id-{name}",)
        self.store.retry(self.job.id, custom_ids=names, quarantined=quarantined, now=NOW)

    @invariant()
    def copies_are_as_their_originals(self):
        assert check(self.engine.path) == []
        found = list(rows(self.engine, self.job).values())
        assert len(found) == 10
        for row in found[4:]:
            original = found[(row.line - 1) % 4]
            if original.state in ("succeeded", "failed", "quarantined"):
                assert (row.state, row.body, row.failure) == (original.state, original.body, original.failure)
            else:
                assert row.state in ("queued", "cancelled")
            assert row.attempts == 0


TestCopies = pytest.mark.slow(Copies.TestCase)
TestCopies.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


def test_a_late_answer_to_a_failed_original_is_every_copys(engine, store):
    job = fill(store, [b"a", b"a"])
    (call,) = start_calls(store, heads(store, job))
    store.rescue(NOW)
    finish(store, job, give_up)
    assert states(engine, job) == ["failed", "failed"]
    store.commit([], [succeed(call)], [], NOW)
    assert states(engine, job) == ["succeeded", "succeeded"]
    assert check(engine.path) == []
