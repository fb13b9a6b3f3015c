"""Any order of load, claim, open, record, split, crash, rescue, retry and late answers, held against a simple model."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import text

from batchrunner.core.attempt import Billing, FailureKind, Reply
from batchrunner.core.corpus import Half, Item, Pack, Vectors
from batchrunner.core.request import Release
from batchrunner.core.retry import RetryAt, Split, Succeed
from batchrunner.core.usage import Usage
from batchrunner.store import rollups
from batchrunner.store.base import DuplicateIds
from tests.store.making import (
    ACCOUNTS,
    INFO,
    NOW,
    close,
    create,
    give_up,
    line,
    load,
    refusal,
    reply,
    source,
    start_calls,
    stop,
)

COSTS = st.one_of(st.none(), st.integers(0, 10**9))
TOKENS = st.integers(0, 1_000)
KINDS = st.sampled_from([FailureKind.INVALID_REQUEST, FailureKind.CONTENT_FILTER])


class Row:
    """What the model knows of one request."""

    def __init__(self, job, n):
        self.job = job
        self.n = n
        self.state = "queued"
        self.attempts = 0
        self.answer = None
        self.open = None
        self.crashes = 0
        self.pack = False


def texts_of(call):
    return json.loads(call[0].body)["input"]


def half(texts):
    return Half(json.dumps({"input": texts}).encode(), len(texts), len(texts))


class QueueMachine(RuleBasedStateMachine):
    """Subclass it with ``make_engine``."""

    calls = Bundle("calls")
    lost = Bundle("lost")

    def make_engine(self):
        raise NotImplementedError

    @initialize()
    def begin(self):
        self.engine = self.make_engine()
        self.store = self.engine.open()
        self.store.start(INFO, NOW, ACCOUNTS)
        self.reader = self.engine.reader()
        self.rows = {}
        self.jobs = []
        self.time = NOW
        self.lost_at = {}  # attempt: its request and the time of the crash, while nobody answered it late

    def teardown(self):
        if hasattr(self, "store"):
            self.reader.close()
            self.store.close()

    def claimable(self):
        found = []
        for work in self.store.work(None):
            for job_id in work.jobs:
                found += self.store.claim(job_id, work.lane.id, None, 100)
            found += self.store.claim_due(work.jobs, work.lane.id, self.time, 100)
        return found

    @rule(models=st.lists(st.sampled_from("mn"), min_size=1, max_size=4), priority=st.integers(-1, 1))
    def load(self, models, priority):
        name = f"job{len(self.jobs)}"
        lines = [line(n, model=model, priority=priority * n) for n, model in enumerate(models, 1)]
        job = load(self.store, lines, name)
        self.jobs.append(job)
        first = len(self.rows) + 1
        for n in range(len(lines)):
            self.rows[first + n] = Row(job.id, n + 1)

    @rule(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3))
    def load_corpus(self, sizes):
        job = create(self.store, f"job{len(self.jobs)}")
        corpus = self.store.create_corpus(job.id, "m", b"p", normalize=False)
        packs, items = [], []
        for n, size in enumerate(sizes):
            request_id = self.store.next_request() + n
            texts = [f"{request_id}.{pos}" for pos in range(size)]
            packs.append(Pack(request_id, half(texts).body, size, size))
            items += [
                Item(seq, 0, text, text.encode(), request_id, pos, 0, b"{}", None)
                for pos, (seq, text) in enumerate(enumerate(texts, len(items)))
            ]
            self.rows[request_id] = Row(job.id, n + 1)
            self.rows[request_id].pack = True
        self.store.add_packs(corpus, 1, packs, items)
        self.store.seal_corpus(corpus, 1, source(), len(items))
        self.jobs.append(job)

    @rule()
    def load_what_is_there_already(self):
        if self.jobs and not any(row.pack and row.job == self.jobs[-1].id for row in self.rows.values()):
            with pytest.raises(DuplicateIds) as caught:
                self.store.add(self.jobs[-1].id, [line(90), line(1)])
            assert list(caught.value.found) == [(1, "id-1", 1)]

    @rule(target=calls, most=st.integers(1, 5), hold=st.one_of(st.none(), st.integers(0, 10**6)))
    def open(self, most, hold):
        claimed = self.claimable()[:most]
        opened = start_calls(self.store, claimed, hold=hold)
        for call in opened:
            row = self.rows[call[1].head.id]
            assert row.state == "queued"
            row.state, row.open = "running", call[0].attempt_id
            row.attempts += 1
        return multiple(*opened)

    def record(self, closing, to):
        """Commit a closing; ``to`` is where it leads if its attempt decides."""
        self.time += 1
        self.store.commit([], [closing], [], self.time)
        row = self.rows[closing.opening.head.id]
        self.lost_at.pop(closing.attempt_id, None)
        current = row.open == closing.attempt_id
        if current:
            row.open = None
        if to == "succeeded":
            if row.answer is None:
                row.state, row.answer = "succeeded", closing.outcome.body
        elif current and row.state == "running":
            row.state = to

    @rule(call=consumes(calls), text=st.binary(max_size=20), cost=COSTS, tokens=st.tuples(TOKENS, TOKENS))
    def answer(self, call, text, cost, tokens):
        usage = Usage(tokens[0], 0, tokens[1], 0)
        self.record(close(call, self.reply_to(call, text, usage), Succeed(), cost=cost), "succeeded")

    def reply_to(self, call, text, usage=None):
        if not self.rows[call[1].head.id].pack:
            return reply(text, usage)
        texts = texts_of(call)
        vectors = Vectors(b"".join(text.encode().ljust(8, b"\0") for text in texts), 2, len(texts))
        return Reply(200, b"", usage, vectors=vectors)

    @rule(call=consumes(calls))
    def split(self, call):
        row = self.rows[call[1].head.id]
        if not row.pack or len(texts_of(call)) < 2:
            self.record(give_up(call), "failed")
            return
        texts = texts_of(call)
        middle = len(texts) // 2
        splits = row.open == call[0].attempt_id and row.state == "running"
        verdict = Split(self.time + 1, half(texts[:middle]), half(texts[middle:]))
        self.record(close(call, refusal(), verdict), "queued")
        if splits:
            child = self.rows[len(self.rows) + 1] = Row(row.job, row.n)
            child.pack, row.crashes = True, 0

    @rule(call=consumes(calls), wait=st.integers(0, 3), counts=st.booleans(), billing=st.sampled_from(Billing))
    def retry_later(self, call, wait, counts, billing):
        failure = refusal(FailureKind.SERVER_ERROR, billing=billing)
        self.record(close(call, failure, RetryAt(self.time + wait, counts)), "queued")

    @rule(call=consumes(calls), kind=KINDS)
    def refuse(self, call, kind):
        self.record(give_up(call, kind), "failed")

    @rule(call=consumes(calls))
    def stop(self, call):
        self.record(stop(call), "queued")

    @rule(call=consumes(calls))
    def release(self, call):
        opened, opening = call
        self.time += 1
        released, row = [Release(opened.attempt_id, opening.head)], self.rows[opening.head.id]
        if row.open != opened.attempt_id:  # a crash came between
            with pytest.raises(RuntimeError, match="0 of them were open"):
                self.store.commit([], [], [], self.time, released=released)
            return
        self.store.commit([], [], [], self.time, released=released)
        row.open, row.attempts = None, row.attempts - 1
        if row.state == "running":
            row.state = "queued"

    @rule(call=consumes(lost), good=st.booleans())
    def late(self, call, good):
        if good:
            self.record(close(call, self.reply_to(call, b"late"), Succeed()), "succeeded")
        else:
            self.record(give_up(call), "failed")

    @rule(target=lost, left=st.lists(consumes(calls), max_size=6))
    def crash(self, left):
        self.reader.close()
        self.engine.crash(self.store)
        self.store = self.engine.open()
        self.time += 1
        _, rescue = self.store.start(INFO, self.time, ACCOUNTS)
        open_rows = [row for row in self.rows.values() if row.open is not None]
        assert rescue.lost == len(open_rows)
        self.lost_at |= {row.open: (row, self.time) for row in open_rows}
        for row in open_rows:
            row.open = None
            if row.state == "running":
                row.state = "queued"
                row.crashes += 1
        suspects = [row for row in open_rows if row.state == "queued" and row.crashes >= 5]
        self.reader = self.engine.reader()
        aside = {found.id for job in self.jobs for found in self.reader.results(job.id) if found.state == "quarantined"}
        guilty = [row for key, row in self.rows.items() if key in aside and row.state != "quarantined"]
        assert rescue.quarantined == len(guilty)
        assert all(row in suspects and self.was_among_few(row) for row in guilty)
        for row in guilty:
            row.state = "quarantined"
        return multiple(*left)

    def was_among_few(self, row):
        ends = [at for _, (other, at) in sorted(self.lost_at.items()) if other is row][-2:]
        out = [sum(at == end for _, at in self.lost_at.values()) for end in ends]
        return len(out) == 2 and max(out) < 8

    @rule()
    def retry_the_quarantined(self):
        for job in self.jobs:
            expected = [row for row in self.rows.values() if row.job == job.id and row.state == "quarantined"]
            assert self.store.retry(job.id, quarantined=True, now=self.time) == len(expected)
            for row in expected:
                row.state, row.crashes = "queued", 0

    @rule(kinds=st.lists(KINDS, max_size=1))
    def retry(self, kinds):
        for job in self.jobs:
            failed = self.reader.results(job.id)
            expected = [row.id for row in failed if row.state == "failed" and (not kinds or row.failure in kinds)]
            assert self.store.retry(job.id, kinds=kinds, now=self.time) == len(expected)
            for request_id in expected:
                self.rows[request_id].state, self.rows[request_id].crashes = "queued", 0

    @invariant()
    def every_row_is_where_the_model_says(self):
        if not hasattr(self, "store"):
            return
        seen = {}
        for job in self.jobs:
            seen |= {row.id: row for row in self.reader.results(job.id)}
        assert seen.keys() == self.rows.keys()
        for request_id, row in self.rows.items():
            found = seen[request_id]
            assert (found.state.value, found.attempts, found.line) == (row.state, row.attempts, row.n)
            assert (found.body if row.state == "succeeded" else None) == (
                row.answer if row.state == "succeeded" and not row.pack else None
            )

    @invariant()
    def every_text_is_in_one_pack_and_has_its_own_vector_once_that_is_answered(self):
        if not hasattr(self, "store"):
            return
        with self.reader._session.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT i.ext_id, i.pos, b.data, r.id, r.state, substr(v.data, 1 + i.pos * 8, 8) FROM items AS i"
                " JOIN requests AS r ON r.id = i.request_id JOIN bodies AS b ON b.request_id = r.id"
                " LEFT JOIN vectors AS v ON v.request_id = r.id"
            ).all()
        packed = {}
        for name, pos, body, request_id, state, vector in rows:
            assert json.loads(body)["input"][pos] == name
            assert vector == (name.encode().ljust(8, b"\0") if state == "succeeded" else None)
            packed[request_id] = packed.get(request_id, 0) + 1
        assert packed.keys() == {key for key, row in self.rows.items() if row.pack}

    @invariant()
    def the_rollups_are_what_the_rows_add_up_to(self):
        if not hasattr(self, "store"):
            return
        with self.reader._session.read() as connection:
            for stored, recount in (
                (rollups.STORED_COUNTS, rollups.RECOUNT_COUNTS),
                (rollups.STORED_TOTALS, rollups.RECOUNT_TOTALS),
            ):
                assert sorted(connection.exec_driver_sql(stored)) == sorted(connection.exec_driver_sql(recount))

    @invariant()
    def an_open_attempt_has_a_living_runner_and_a_running_request_an_open_attempt(self):
        if not hasattr(self, "store"):
            return
        with self.reader._session.read() as connection:
            odd = connection.execute(
                text(
                    "SELECT count(*) FROM attempts WHERE ended IS NULL"
                    " AND runner_id <> (SELECT max(id) FROM runners WHERE ended IS NULL)"
                )
            ).scalar_one()
            running = set(connection.execute(text("SELECT id FROM requests WHERE state = 'running'")).scalars())
            held = set(connection.execute(text("SELECT request_id FROM attempts WHERE ended IS NULL")).scalars())
        assert odd == 0
        assert running <= held
