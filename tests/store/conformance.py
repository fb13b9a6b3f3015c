"""What every engine must do. A test module that imports all of this and has an ``engine`` fixture runs it."""

import pytest

from batchrunner.core.attempt import Billing, FailureKind
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import JobOptions, JobState
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Release, RequestState
from batchrunner.core.retry import RetryAt, Succeed
from batchrunner.core.usage import Usage, UsageFrom, units_value
from batchrunner.runner.workloads import Workloads
from batchrunner.store.base import (
    BY_HAND,
    BucketLevel,
    CostRow,
    Counts,
    DuplicateIds,
    Pause,
    Rescue,
    Selection,
    Target,
)
from batchrunner.store.check import check
from tests.store.making import (
    ACCOUNTS,
    CHAT,
    DAY,
    INFO,
    NOW,
    USAGE,
    close,
    create,
    give_up,
    heads,
    line,
    load,
    opening,
    refusal,
    reply,
    source,
    start_calls,
    stop,
    succeed,
    try_later,
)

# ---- fixtures


@pytest.fixture
def store(engine):
    opened = engine.open()
    yield opened
    opened.close()


@pytest.fixture
def reader(engine, store):
    opened = engine.reader()
    yield opened
    opened.close()


@pytest.fixture
def running(store):
    """A store whose runner has started."""
    store.start(INFO, NOW, ACCOUNTS)
    return store


def rows(reader, job):
    return list(reader.results(job.id))


def only_cost(reader, job):
    (row,) = reader.costs([], job.id)
    return row


# ---- loading


def test_a_job_comes_back_as_it_was_given(store):
    options = JobOptions(provider="openai", endpoint=CHAT, model="x", settings=(("max_tokens", "5"), ("top_p", "0.5")))
    job = create(store, "night", options=options, tags=(("team", "ml"), ("näme", "ü")))
    assert job.state is JobState.LOADING
    assert (job.name, job.source, job.options) == ("night", source("/data/night.jsonl"), options)
    assert job.tags == (("team", "ml"), ("näme", "ü"))
    assert store.job_by_key("key of night") == job
    assert store.job_by_key("another") is None


def test_a_name_that_is_taken_is_made_unique(store):
    names = [create(store, "a", key=str(n)).name for n in range(3)]
    assert names == ["a", "a-2", "a-3"]


def test_jobs_of_one_file_come_newest_first(store):
    first = create(store, "a", key="1")
    second = create(store, "a", key="2")
    create(store, "b")
    assert [job.id for job in store.jobs_by_path("/data/a.jsonl")] == [second.id, first.id]


def test_a_loading_job_is_nothing_to_work_on_until_it_is_sealed(store):
    job = create(store)
    store.add(job.id, [line(1), line(2)])
    assert store.work(None) == store.work([job.id]) == []
    sealed = store.seal(job.id, source("/data/moved.jsonl"), "new key")
    assert (sealed.state, sealed.lines, sealed.source.path, sealed.key) == (
        *(JobState.OPEN, 2, "/data/moved.jsonl"),
        "new key",
    )
    (work,) = store.work(None)
    assert (work.lane.provider, work.lane.model, work.jobs, work.queued) == ("together", "m", (job.id,), 2)


def test_an_id_that_comes_twice_is_reported_with_both_lines_and_nothing_is_added(store, reader):
    job = load(store, 2)
    with pytest.raises(DuplicateIds) as caught:
        store.add(job.id, [line(7), line(8, custom_id="id-2"), line(9), line(10, custom_id="id-9", model="other")])
    assert list(caught.value.found) == [(8, "id-2", 2), (10, "id-9", 9)]
    assert reader.counts(job.id, NOW).total == 2
    store.add(job.id, [line(7, model="other")])
    assert {item.lane.model: item.queued for item in store.work(None)} == {"m": 2, "other": 1}


def test_two_jobs_may_use_the_same_ids(store):
    first, second = load(store, 2), load(store, 2, "b")
    assert len(heads(store, first)) == len(heads(store, second)) == 2


def test_a_discarded_job_leaves_nothing(store, reader):
    kept = load(store, 2)
    job = create(store, "b")
    store.add(job.id, [line(n, body=b"x" * 100) for n in range(1, 12_001)])
    store.discard(job.id)
    assert [each.name for each in reader.jobs()] == ["a"]
    assert reader.counts(job.id, NOW) == Counts(0, 0, 0, 0, 0, 0, 0, 0)
    assert len(rows(reader, kept)) == 2
    again = load(store, 2, "b")
    assert len(rows(reader, again)) == 2


def test_only_a_loading_job_can_be_discarded(store):
    job = load(store, 1)
    with pytest.raises(ValueError, match="open"):
        store.discard(job.id)
    assert len(heads(store, job)) == 1


def test_digests_are_told_for_the_ids_that_a_job_has(store):
    job = load(store, [line(1), line(2, custom_id='it\'s "quoted" é')])
    load(store, 3, "b")
    wanted = ["id-1", 'it\'s "quoted" é', "id-3", "missing"]
    assert store.digests(job.id, wanted) == {"id-1": line(1).digest, wanted[1]: line(2).digest}


# ---- claim


def test_higher_priority_goes_first_and_then_input_order(store):
    job = load(store, [line(1), line(2, priority=5), line(3, priority=-1), line(4), line(5, priority=5)])
    lane = store.work(None)[0].lane.id
    order = [head.est_in - 100 for head in store.claim(job.id, lane, None, 10)]
    assert order == [2, 5, 1, 4, 3]
    for size in (1, 2, 3):
        after, seen = None, []
        while page := store.claim(job.id, lane, after, size):
            assert len(page) <= size
            seen += [head.est_in - 100 for head in page]
            after = (page[-1].priority, page[-1].id)
        assert seen == order


def test_a_head_tells_what_the_gate_and_the_ledger_need(store):
    job = load(store, [line(1, max_out=None, tags=(("k", "v"),)), line(2, tags=(("k", "v"),)), line(3)])
    lane = store.work(None)[0].lane.id
    first, second, third = store.claim(job.id, lane, None, 10)
    assert (first.job_id, first.lane_id, first.endpoint, first.tries, first.attempts) == (job.id, lane, CHAT, 0, 0)
    assert (first.est_in, first.max_out, first.digest, second.max_out) == (101, None, line(1).digest, 50)
    assert first.tag_set_id == second.tag_set_id is not None
    assert third.tag_set_id is None


def test_a_claim_keeps_to_its_job_and_lane_and_writes_nothing(store):
    job = load(store, [line(1), line(2, model="other"), line(3)])
    load(store, 2, "b")
    lanes = {work.lane.model: work.lane.id for work in store.work([job.id])}
    claimed = store.claim(job.id, lanes["m"], None, 10)
    assert [head.est_in for head in claimed] == [101, 103]
    assert store.claim(job.id, lanes["m"], None, 10) == claimed


def test_work_names_jobs_oldest_first_and_knows_lanes_apart(store):
    first = load(store, [line(1), line(2, model="other")])
    second = load(store, 2, "b")
    third = load(store, 1, "c", provider="openai")
    found = {(work.lane.provider, work.lane.model): (work.jobs, work.queued) for work in store.work(None)}
    assert found == {
        ("together", "m"): ((first.id, second.id), 3),
        ("together", "other"): ((first.id,), 1),
        ("openai", "m"): ((third.id,), 1),
    }
    assert [work.jobs for work in store.work([second.id])] == [(second.id,)]


@pytest.mark.parametrize("selection", [Selection(upto=3), Selection(ids=(2, 5))])
def test_a_selection_narrows_every_look_at_the_queue(running, reader, selection):
    job = load(running, [line(n, priority=n) for n in range(1, 7)])
    lane = running.work(None)[0].lane.id
    wanted = {1, 2, 3} if selection.upto else {2, 5}
    fresh = running.claim(job.id, lane, None, 10, selection)
    assert {head.id for head in fresh} == wanted
    assert running.claim(job.id, lane, (fresh[0].priority, fresh[0].id), 10, selection) == fresh[1:]
    assert running.remaining(None, selection) == (len(wanted), 0)
    assert [(item.requests, item.est_in) for item in reader.workload(None, selection)] == [
        (len(wanted), sum(100 + n for n in wanted))
    ]
    calls = start_calls(running, heads(running, job))
    running.commit([], [try_later(call, NOW + call[1].head.id) for call in calls], [], NOW)
    assert [head.id for head in running.claim_due([job.id], lane, NOW + 9, 10, selection)] == sorted(wanted)
    assert running.next_due([job.id], lane, 0, selection) == NOW + min(wanted)


# ---- open and record


def test_opening_brings_the_bodies_in_the_order_asked(running):
    job = load(running, [line(n, body=b"body %d" % n) for n in range(1, 6)])
    claimed = heads(running, job)[::-1]
    calls = start_calls(running, claimed)
    assert [call[0].body for call in calls] == [b"body %d" % n for n in (5, 4, 3, 2, 1)]
    assert len({call[0].attempt_id for call in calls}) == 5


def test_a_body_that_is_composed_at_send_time_says_so(running):
    lines = [line(1), line(2, composed=True), line(3, composed=True, files=2)]
    job = load(running, lines)
    assert [call[0].composed for call in start_calls(running, heads(running, job))] == [False, True, True]


def test_jobs_whose_queued_rows_refer_to_files_are_known_by_their_first_ones(running):
    plain = load(running, [line(1), line(2, composed=True)])
    late = [line(n) for n in range(1, 1200)] + [line(1200, composed=True, files=1)]
    beyond = load(running, late, "beyond")
    filed = load(running, [line(1), line(2, composed=True, files=1)], "filed")
    assert not running.refers_to_files([plain.id])
    assert not running.refers_to_files([beyond.id]), "no whole job is read for it"
    assert running.refers_to_files([filed.id])
    assert running.refers_to_files(None)
    call = start_calls(running, heads(running, filed))[1]
    assert not running.refers_to_files([filed.id])
    running.commit([], [try_later(call)], [], NOW)
    assert running.refers_to_files([filed.id]), "one that waits counts too"


def test_an_opened_request_runs_and_is_not_offered_again(running, reader):
    job = load(running, 3)
    start_calls(running, heads(running, job)[:2])
    counts = reader.counts(job.id, NOW)
    assert (counts.total, counts.queued, counts.running) == (3, 1, 2)
    assert [head.est_in for head in heads(running, job)] == [103]
    assert running.remaining(None) == (3, 0)


@pytest.mark.parametrize("other", [try_later, succeed, None], ids=["waiting since", "answered", "running"])
def test_opening_with_a_stale_head_is_refused_and_writes_nothing(running, reader, other):
    job = load(running, 2)
    first, second = heads(running, job)
    (call,) = start_calls(running, [first])
    if other:
        running.commit([], [other(call)], [], NOW)
    before = reader.counts(job.id, NOW)
    with pytest.raises(RuntimeError, match="not queued"):
        start_calls(running, [second, first])
    assert reader.counts(job.id, NOW) == before
    assert [row.attempts for row in rows(reader, job)] == [1, 0]
    (again,) = start_calls(running, [second])
    assert again[0].body == line(2).body


def test_a_success_is_kept_with_everything_that_came_with_it(running, reader):
    job = load(running, [line(1, extras=b'{"metadata":{}}'), line(2)])
    call, _ = start_calls(running, heads(running, job))
    running.commit([], [succeed(call, b"\x00 answer \xff")], [], NOW)
    answered, waiting = rows(reader, job)
    assert (answered.state, answered.body, answered.status) == (RequestState.SUCCEEDED, b"\x00 answer \xff", 200)
    assert (answered.line, answered.custom_id, answered.provider, answered.model) == (1, "id-1", "together", "m")
    assert (answered.attempt_id, answered.request_id, answered.echoed_model) == (call[0].attempt_id, "req-1", "m-turbo")
    assert (answered.opened, answered.ended, answered.usage) == (NOW, NOW + 1_000, tuple(USAGE))
    assert (answered.usage_from, answered.billing, answered.cost) == ("provider", "billed", 77)
    assert (answered.failure, answered.message, answered.attempts) == (None, None, 1)
    assert (answered.extras, waiting.extras) == (b'{"metadata":{}}', None)
    assert (waiting.state, waiting.body, waiting.attempt_id, waiting.cost) == (RequestState.RUNNING, None, None, None)


def test_results_come_in_input_order_however_they_were_answered(running, reader):
    job = load(running, [line(n, priority=n % 3) for n in range(1, 2_502)])
    other = load(running, 5, "b")
    calls = start_calls(running, heads(running, job, 3_000))
    running.commit([], [succeed(call, b"%d" % call[1].head.est_in) for call in calls[::-2]], [], NOW)
    found = rows(reader, job)
    assert [row.line for row in found] == list(range(1, 2_502))
    assert all(row.body is None or row.body == b"%d" % (100 + row.line) for row in found)
    assert sum(row.body is not None for row in found) == len(calls[::-2])
    assert len(rows(reader, other)) == 5


def test_a_retry_waits_in_the_table_and_counts_only_if_it_is_told_to(running, reader):
    job = load(running, 2)
    lane = running.work(None)[0].lane.id
    first, second = start_calls(running, heads(running, job))
    running.commit([], [try_later(first, NOW + 90), try_later(second, NOW + 60, counts=False)], [], NOW)
    assert running.claim(job.id, lane, None, 10) == []
    assert running.next_due([job.id], lane) == NOW + 60
    assert running.next_due([job.id], lane, NOW + 60) == NOW + 90
    assert running.next_due([job.id], lane, NOW + 90) is None
    assert running.next_due([job.id + 1], lane) is None
    assert running.claim_due([job.id], lane, NOW + 59, 10) == []
    due = running.claim_due([job.id], lane, NOW + 90, 10)
    assert [(head.id, head.tries, head.attempts) for head in due] == [(2, 0, 1), (1, 1, 1)]
    assert running.claim_due([job.id], lane, NOW + 90, 1) == due[:1]
    assert reader.counts(job.id, NOW + 60).waiting == 1
    assert [(row.state, row.failure) for row in rows(reader, job)] == [(RequestState.QUEUED, None)] * 2


def test_a_stop_gives_the_row_back_as_it_was(running):
    job = load(running, 1)
    lane = running.work(None)[0].lane.id
    (call,) = start_calls(running, heads(running, job))
    running.commit([], [stop(call)], [], NOW + 7)
    (head,) = running.claim_due([job.id], lane, NOW + 7, 10)
    assert (head.tries, head.attempts) == (0, 1)


def test_a_released_attempt_leaves_no_trace_and_its_head_can_be_opened_again(running, reader):
    job = load(running, [line(1), line(2), line(3)])
    claimed = heads(running, job)
    (_, kept), *unsent = start_calls(running, claimed)
    released = [Release(opened.attempt_id, intent.head) for opened, intent in unsent]
    again = running.commit([opening(claimed[1])], [], [], NOW, released=released)
    assert again[0].attempt_id > max(opened.attempt_id for opened, _ in unsent)
    assert again[0].body == unsent[0][0].body
    assert [row.attempts for row in reader.results(job.id)] == [1, 1, 0]
    assert [row.state for row in reader.results(job.id)] == ["running", "running", "queued"]
    assert [head.id for head in heads(running, job)] == [claimed[2].id]
    assert kept.head.attempts == 0


@pytest.mark.parametrize("end", [succeed, try_later])
def test_an_attempt_that_has_ended_can_not_be_released(running, end):
    job = load(running, [line(1), line(2)])
    ended, still_open = start_calls(running, heads(running, job))
    running.commit([], [end(ended)], [], NOW)
    released = [Release(opened.attempt_id, intent.head) for opened, intent in (still_open, ended)]
    with pytest.raises(RuntimeError, match="released"):
        running.commit([], [], [], NOW, released=released)
    running.commit([], [succeed(still_open)], [], NOW)


def test_giving_up_keeps_the_refusal_to_read_but_not_all_of_a_flood(running, reader):
    job = load(running, 2)
    first, second = start_calls(running, heads(running, job))
    flood = b"<html>" + b"x" * 100_000
    running.commit([], [give_up(first), give_up(second, FailureKind.CONTEXT_LENGTH, body=flood, status=413)], [], NOW)
    one, two = rows(reader, job)
    assert (one.state, one.failure, one.message, one.status) == (RequestState.FAILED, "invalid_request", "no", 400)
    assert (one.body, one.attempt_id, one.billing, one.cost) == (
        *(b'{"error":"no"}', first[0].attempt_id),
        *("not_billed", None),
    )
    assert (two.status, two.body) == (413, flood[: 16 * 1024])


def test_a_streams_first_token_is_kept_and_of_one_that_broke_for_good_the_whole_part(running, reader):
    job = load(running, 3)
    good, broken, again = start_calls(running, heads(running, job))
    part = b'{"choices":' + b" " * 100_000 + b"[]}"
    streamed = succeed(good)._replace(ttft=0.125)
    retried = try_later(again, partial=part)
    running.commit([], [streamed, give_up(broken, FailureKind.TIMEOUT, partial=part, status=None), retried], [], NOW)
    one, two, three = rows(reader, job)
    assert (one.ttft, one.partial) == (125_000, False)
    assert (two.state, two.body, two.partial, two.ttft) == (RequestState.FAILED, part, True, None)
    assert (three.body, three.partial) == (None, False)


def test_closing_an_attempt_twice_or_one_that_never_was_is_refused(running, reader):
    job = load(running, 2)
    first, second = start_calls(running, heads(running, job))
    running.commit([], [succeed(first)], [], NOW)
    before = reader.counts(job.id, NOW), only_cost(reader, job)
    for wrong in (succeed(first), succeed(second, attempt_id=99)):
        with pytest.raises(RuntimeError, match="attempt"):
            running.commit([], [succeed(second), wrong], [], NOW)
    assert (reader.counts(job.id, NOW), only_cost(reader, job)) == before


def test_one_commit_closes_and_opens_together(running, reader):
    job = load(running, 4)
    claimed = heads(running, job)
    calls = start_calls(running, claimed[:2])
    openings = [call[1]._replace(head=head) for call, head in zip(calls, claimed[2:], strict=True)]
    opened = running.commit(openings, [succeed(calls[0]), give_up(calls[1])], [], NOW)
    assert [each.body for each in opened] == [line(3).body, line(4).body]
    assert reader.counts(job.id, NOW) == Counts(4, 0, 0, 2, 1, 1, 0, 0)


def test_what_a_provider_says_can_not_break_the_group_it_is_committed_with(running, reader):
    job = load(running, 4)
    calls = start_calls(running, heads(running, job))
    odd = refusal(message="bad \ud800 \x00 é" + "x" * 5_000, model="\udfff")
    running.commit(
        [],
        [
            close(calls[0], odd, RetryAt(NOW, True)),
            close(calls[1], reply(usage=Usage(2**70, 0, 5, 0)), Succeed(), cost=2**70),
            close(calls[2], reply(usage=Usage(-5, 0, 5, 0)), Succeed()),
            succeed(calls[3]),
        ],
        [],
        NOW,
    )
    assert [row.state.value for row in rows(reader, job)] == ["queued", "succeeded", "succeeded", "succeeded"]
    assert [row.cost for row in rows(reader, job)] == [None, None, None, 77]
    cost = only_cost(reader, job)
    assert (cost.recorded, cost.unpriced, cost.input) == (77, 2, 10)


def test_a_priority_of_any_size_and_an_empty_body_are_fine(running, reader):
    job = load(running, [line(1, body=b""), line(2, priority=10**12)])
    calls = start_calls(running, heads(running, job))
    assert [call[0].body for call in calls] == [line(2).body, b""]
    running.commit([], [succeed(calls[0], b""), succeed(calls[1])], [], NOW)
    assert [row.body for row in rows(reader, job)] == [b'{"choices":[]}', b""]


# ---- crash and rescue


def test_what_a_dead_runner_left_open_is_lost_priced_and_queued_again(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 4)
    claimed = heads(store, job)
    start_calls(store, claimed[:1], hold=700)
    start_calls(store, claimed[1:2], hold=None)
    (done,) = start_calls(store, claimed[2:3])
    store.commit([], [succeed(done)], [], NOW)
    engine.crash(store)

    store = engine.open()
    _, rescue = store.start(INFO, NOW + 100, ACCOUNTS)
    assert rescue == Rescue(lost=2, hold=700, unpriced=1)
    lane = store.work(None)[0].lane.id
    due = store.claim_due([job.id], lane, NOW + 100, 10)
    assert [(head.id, head.tries, head.attempts) for head in due] == [(1, 0, 1), (2, 0, 1)]
    assert [head.id for head in store.claim(job.id, lane, None, 10)] == [4]
    assert store.start(INFO, NOW + 200, ACCOUNTS)[1] == Rescue(0, 0, 0)
    reader = engine.reader()
    cost = only_cost(reader, job)
    assert (cost.attempts, cost.possibly_billed, cost.recorded, cost.unpriced) == (3, 700, 77, 1)
    reader.close()
    store.close()


def crash_and_rescue(engine, store, now=NOW + 100):
    engine.crash(store)
    store = engine.open()
    store.start(INFO, now, ACCOUNTS)
    return store


def test_a_late_answer_for_a_lost_attempt_is_taken_since_it_was_paid_for(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 1)
    (call,) = start_calls(store, heads(store, job))
    store = crash_and_rescue(engine, store)
    store.commit([], [succeed(call, b"late")], [], NOW)
    reader = engine.reader()
    (row,) = rows(reader, job)
    assert (row.state, row.body) == (RequestState.SUCCEEDED, b"late")
    cost = only_cost(reader, job)
    assert (cost.attempts, cost.recorded, cost.possibly_billed) == (1, 77, 0)
    assert heads(store, job) == []
    reader.close()
    store.close()


def test_a_late_success_wins_over_a_failure_but_a_late_failure_over_nothing(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 2)
    late = start_calls(store, heads(store, job))
    store = crash_and_rescue(engine, store)
    now = start_calls(store, heads(store, job))
    store.commit([], [give_up(now[0]), succeed(now[1], b"first")], [], NOW)
    store.commit([], [succeed(late[0], b"late"), give_up(late[1])], [], NOW)
    reader = engine.reader()
    assert [(row.state.value, row.body, row.failure) for row in rows(reader, job)] == [
        ("succeeded", b"late", None),
        ("succeeded", b"first", None),
    ]
    reader.close()
    store.close()


@pytest.mark.parametrize("late_first", [True, False], ids=["late first", "late last"])
@pytest.mark.parametrize("end", [give_up, try_later, stop])
def test_a_late_success_wins_over_a_failure_of_the_same_commit(engine, end, late_first):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 1)
    (late,) = start_calls(store, heads(store, job))
    store = crash_and_rescue(engine, store)
    (call,) = start_calls(store, heads(store, job))
    closings = [succeed(late, b"late"), end(call)]
    store.commit([], closings if late_first else closings[::-1], [], NOW)
    reader = engine.reader()
    (row,) = rows(reader, job)
    assert (row.state, row.body, row.attempt_id) == (RequestState.SUCCEEDED, b"late", late[0].attempt_id)
    assert reader.counts(job.id, NOW).succeeded == 1
    reader.close()
    store.close()


@pytest.mark.parametrize("size", [1, 63, 64, 65, 150])
def test_a_commit_of_any_size_keeps_every_attempt_with_its_own_request(running, reader, size):
    job = load(running, size)
    claimed = heads(running, job, size)[::-1]
    calls = start_calls(running, claimed)
    assert [opened.body for opened, _ in calls] == [b'{"n":%d}' % n for n in range(size, 0, -1)]
    running.commit([], [succeed(call, b'{"of":%d}' % call[1].head.id, cost=call[1].head.id) for call in calls], [], NOW)
    made = {call[1].head.id: call[0].attempt_id for call in calls}
    rows = list(reader.results(job.id))
    assert len(rows) == size
    for row in rows:
        assert (row.state, row.attempts, row.attempt_id) == (RequestState.SUCCEEDED, 1, made[row.id])
        assert (row.body, row.cost, row.custom_id) == (b'{"of":%d}' % row.id, row.id, f"id-{row.line}")


@pytest.mark.parametrize("late_end", [give_up, try_later, stop])
def test_a_late_failure_leaves_the_attempt_that_runs_now_alone(engine, late_end):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 1)
    (late,) = start_calls(store, heads(store, job))
    store = crash_and_rescue(engine, store)
    (call,) = start_calls(store, heads(store, job))
    store.commit([], [late_end(late)], [], NOW)
    reader = engine.reader()
    assert [row.state.value for row in rows(reader, job)] == ["running"]
    store.commit([], [succeed(call)], [], NOW)
    assert [row.state.value for row in rows(reader, job)] == ["succeeded"]
    reader.close()
    store.close()


def test_the_first_complete_answer_wins_and_the_second_is_kept_as_wasted(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 1)
    (late,) = start_calls(store, heads(store, job))
    store = crash_and_rescue(engine, store)
    (call,) = start_calls(store, heads(store, job))
    store.commit([], [succeed(call, b"first"), succeed(late, b"second", cost=33)], [], NOW)
    reader = engine.reader()
    (row,) = rows(reader, job)
    assert (row.body, row.attempt_id, row.cost) == (b"first", call[0].attempt_id, 77 + 33)
    cost = only_cost(reader, job)
    assert (cost.attempts, cost.succeeded, cost.recorded, cost.wasted) == (2, 1, 77, 33)
    reader.close()
    store.close()


# ---- retry


def test_failed_requests_are_queued_again_by_kind_or_id_or_all(running, reader):
    job = load(running, 4)
    kinds = [FailureKind.INVALID_REQUEST, FailureKind.CONTENT_FILTER, FailureKind.INVALID_REQUEST]
    calls = start_calls(running, heads(running, job))
    running.commit([], [give_up(call, kind) for call, kind in zip(calls, kinds, strict=False)], [], NOW)
    running.commit([], [succeed(calls[3])], [], NOW)
    assert running.retry(job.id, kinds=["content_filter"], custom_ids=["id-1"], now=NOW) == 0
    assert running.retry(job.id, kinds=["content_filter"], now=NOW) == 1
    assert running.retry(job.id, custom_ids=["id-1", "id-4", "missing"], now=NOW) == 1
    assert running.retry(job.id, now=NOW) == 1
    assert running.retry(job.id, now=NOW) == 0
    again = heads(running, job)
    assert sorted((head.id, head.tries, head.attempts) for head in again) == [(1, 0, 1), (2, 0, 1), (3, 0, 1)]
    assert {(row.failure, row.body) for row in rows(reader, job)[:3]} == {(None, None)}
    (second,) = start_calls(running, again[:1])
    running.commit([], [succeed(second)], [], NOW)
    assert reader.counts(job.id, NOW) == Counts(4, 2, 0, 0, 2, 0, 0, 0)


# ---- costs


def test_the_four_sums_of_money_are_never_mixed(running, reader):
    job = load(running, 6)
    calls = start_calls(running, heads(running, job), hold=1_000)
    running.commit(
        [],
        [
            succeed(calls[0], cost=1),
            close(
                calls[1], reply(usage=None), Succeed(), usage=Usage(5, 0, 6, 0), usage_from=UsageFrom.ESTIMATED, cost=20
            ),
            try_later(calls[2])._replace(cost=5),
            close(calls[3], refusal(billing=Billing.BILLED, usage=USAGE), RetryAt(NOW, True), cost=300),
            give_up(calls[4]),
            succeed(calls[5], cost=None),
        ],
        [],
        NOW,
    )
    cost = only_cost(reader, job)
    assert (cost.recorded, cost.estimated, cost.possibly_billed, cost.wasted) == (1, 20, 1_000, 300)
    assert (cost.attempts, cost.succeeded, cost.unpriced) == (6, 3, 1)
    assert (cost.input, cost.cached, cost.output, cost.reasoning) == (10 * 3 + 5, 4 * 3, 20 * 3 + 6, 3 * 3)


def test_costs_can_be_sliced_by_any_of_their_keys_and_every_slicing_adds_up(running, reader):
    first = load(running, [line(1), line(2, model="other", endpoint="/v1/embeddings")])
    second = load(running, 1, "b", provider="openai")
    for n, job in enumerate((first, second)):
        calls = start_calls(running, heads(running, job), opened=NOW + n * DAY)
        running.commit([], [succeed(call, cost=10 + n) for call in calls], [], NOW)
    assert {row.key: row.recorded for row in reader.costs(["provider", "model"])} == {
        ("openai", "m"): 11,
        ("together", "m"): 10,
        ("together", "other"): 10,
    }
    assert [(row.key, row.recorded) for row in reader.costs(["day"])] == [(("2024-10-04",), 20), (("2024-10-05",), 11)]
    assert {row.key for row in reader.costs(["account"])} == {("",), ("key-1a2b",)}
    assert [row.key for row in reader.costs(["job"])] == [("a",), ("b",)]
    assert [row.key for row in reader.costs(["endpoint"], first.id)] == [(CHAT,), ("/v1/embeddings",)]
    for by in (["model"], ["job", "day"], ["endpoint", "account", "provider"], []):
        assert sum(row.recorded for row in reader.costs(by)) == 31
    with pytest.raises(ConfigurationError, match="moon"):
        reader.costs(["moon"])


def test_a_database_without_attempts_has_one_row_of_zero_costs(store, reader):
    assert reader.costs([])[0][1:] == (0,) * (len(CostRow._fields) - 1)
    assert reader.costs(["model"]) == []


def test_equal_rate_cards_share_one_id(store):
    card = RateCard(provider="together", model="m", valid_from=0, input=880_000, output=880_000)
    other = RateCard(provider="together", model="m", valid_from=0, input=880_000, output=880_001)
    first = store.rate(card)
    assert store.rate(other) != first
    assert store.rate(RateCard(provider="together", model="m", valid_from=0, input=880_000, output=880_000)) == first


# ---- other units than tokens


PICTURES = Usage(images=2, pixels=2_097_152, pixel_steps=8_388_608)
SOUND = Usage(30, 0, 5, 0, milliseconds=12_340, audio_input=28)
FILM = Usage(milliseconds=5_000, cost=280_000_000_000)


def test_every_unit_is_kept_summed_and_told_and_tokens_alone_stay_as_they_are(running, reader, engine):
    job = load(running, 4)
    calls = start_calls(running, heads(running, job))
    used = (PICTURES, SOUND, FILM, USAGE)
    running.commit([], [close(call, reply(usage=one), Succeed()) for call, one in zip(calls, used, strict=True)], [], 5)
    assert [row.usage for row in rows(reader, job)] == list(used)
    cost = only_cost(reader, job)
    assert (cost.images, cost.pixels, cost.pixel_steps) == (2, 2_097_152, 8_388_608)
    assert (cost.milliseconds, cost.audio_input, cost.input, cost.output) == (17_340, 28, 40, 25)
    assert (cost.characters, cost.searches, cost.unpriced) == (0, 0, 0)
    assert check(engine.path) == []


def test_what_a_late_answer_used_is_summed_once(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 1)
    (call,) = start_calls(store, heads(store, job))
    engine.crash(store)
    store = engine.open()
    store.start(INFO, NOW + 5, ACCOUNTS)
    store.commit([], [close(call, reply(usage=PICTURES), Succeed())], [], NOW + 9)
    reader = engine.reader()
    cost = only_cost(reader, job)
    assert (cost.attempts, cost.images, cost.pixels) == (1, 2, 2_097_152)
    assert check(engine.path) == []
    reader.close()
    store.close()


@pytest.mark.parametrize("absurd", [{"pixels": 10**13}, {"images": -1}, {"characters": 2**70}])
def test_a_unit_that_can_not_be_true_makes_the_usage_unknown(running, reader, absurd):
    job = load(running, 1)
    (call,) = start_calls(running, heads(running, job))
    running.commit([], [close(call, reply(usage=Usage(1, **absurd)), Succeed(), cost=5)], [], NOW)
    (row,) = rows(reader, job)
    assert (row.usage, row.usage_from, row.cost) == (None, "none", None)
    assert only_cost(reader, job).unpriced == 1


def test_what_a_body_tells_of_its_units_walks_with_its_head(store):
    job = load(store, [line(1), line(2, units=PICTURES), line(3, units=Usage())])
    found = {head.est_in - 100: head.units for head in heads(store, job)}
    assert found.keys() == {1, 2, 3}
    assert (found[1], found[3]) == (None, None)
    assert units_value(found[2]) == PICTURES


def test_the_workload_knows_the_units_of_what_is_queued(store, reader):
    job = load(store, [line(1), line(2, units=PICTURES), line(3, model="other"), line(4, units=PICTURES)])
    found = {work.lane.model: work for work in reader.workload([job.id])}
    assert found["m"].requests == 3
    assert found["m"].counted == 2
    assert found["m"].units == (Usage(images=4, pixels=4_194_304, pixel_steps=16_777_216),)
    assert (found["other"].counted, found["other"].units) == (0, ())


def test_pictures_of_different_steps_are_not_mixed_in_the_workload(store, reader):
    flat, steep = Usage(images=1, pixels=100), Usage(images=1, pixels=100, pixel_steps=5_000)
    speech = Usage(characters=7)
    job = load(store, [line(n, units=one) for n, one in enumerate((flat, steep, steep, speech), 1)])
    (work,) = reader.workload([job.id])
    assert set(work.units) == {
        Usage(images=1, pixels=100, characters=7),
        Usage(images=2, pixels=200, pixel_steps=10_000),
    }


# ---- the runner's own facts


def test_bucket_levels_and_what_was_learned_survive(engine):
    store = engine.open()
    load(store, 1)
    lane = store.work(None)[0].lane.id
    store.commit([], [], [BucketLevel(lane, "requests", 1.5, NOW, 0), BucketLevel(lane, "tokens", 7.0, NOW, 0)], NOW)
    store.commit([], [], [BucketLevel(lane, "requests", -2.5, NOW + 1, NOW + 9)], NOW)
    assert store.learned(lane) is None
    runner, _ = store.start(INFO, NOW, ACCOUNTS)
    store.beat(runner, NOW, b"{}", learned={lane: '{"ratio":"é"}'.encode()})
    engine.crash(store)
    store = engine.open()
    assert sorted(store.levels()) == [
        BucketLevel(lane, "requests", -2.5, NOW + 1, NOW + 9),
        BucketLevel(lane, "tokens", 7.0, NOW, 0),
    ]
    assert store.learned(lane) == '{"ratio":"é"}'.encode()
    store.close()


def test_pauses_are_seen_on_their_lanes_until_the_next_start(running, reader):
    load(running, [line(1), line(2, model="other")])
    load(running, 1, "b", provider="openai")
    runner, _ = running.start(INFO, NOW, ACCOUNTS)
    model = Pause("lane", "together other", "model_unavailable", "404", NOW)
    running.beat(runner, NOW, b"{}", pauses=[model, Pause("provider", "openai", "auth", "401", NOW)])
    assert {(row.lane.provider, row.lane.model): row.pause for row in reader.lanes()} == {
        ("together", "m"): None,
        ("together", "other"): "model_unavailable",
        ("openai", "m"): "auth",
    }
    running.start(INFO, NOW + 1, ACCOUNTS)
    assert {row.pause for row in reader.lanes()} == {None}


def test_a_pause_that_is_over_is_not_seen_any_more_and_may_come_again_in_the_same_beat(running, reader):
    load(running, 1)
    lane = reader.lanes()[0].lane
    runner, _ = running.start(INFO, NOW, ACCOUNTS)
    pause = Pause("provider", lane.provider, "auth", "401", NOW)
    running.beat(runner, NOW, b"{}", pauses=[pause])
    running.beat(runner, NOW, b"{}", resumed=[("provider", lane.provider)])
    assert reader.lanes()[0].pause is None
    running.beat(runner, NOW, b"{}", pauses=[pause])
    again = pause._replace(reason="no_credit")
    running.beat(runner, NOW, b"{}", pauses=[again], resumed=[("provider", lane.provider)])
    assert reader.lanes()[0].pause == "no_credit"
    running.beat(runner, NOW, b"{}", resumed=[("lane", lane.provider), ("provider", "another")])
    assert reader.lanes()[0].pause == "no_credit"


def test_lanes_tell_what_is_queued_and_until_when_they_are_paused(running, reader):
    job = load(running, 3)
    load(running, 2, "b")
    lane = running.work(None)[0].lane.id
    running.commit(
        [], [], [BucketLevel(lane, "requests", 0.0, NOW, NOW + 5), BucketLevel(lane, "tokens", 0.0, NOW, 0)], NOW
    )
    (everything,) = reader.lanes()
    assert (everything.queued, everything.paused_until) == (5, NOW + 5)
    assert [row.queued for row in reader.lanes(job.id)] == [3]


def test_the_newest_runner_is_seen_with_its_last_snapshot_and_its_end(store, reader):
    assert reader.runner() is None
    first, _ = store.start(INFO, NOW, ACCOUNTS)
    second, _ = store.start(INFO._replace(pid=5), NOW + 1, ACCOUNTS)
    assert second != first
    store.beat(second, NOW + 2, b'{"rate":1}')
    seen = reader.runner()
    assert (seen.id, seen.host, seen.pid, seen.started, seen.heartbeat) == (second, "host", 5, NOW + 1, NOW + 2)
    assert (seen.ended, seen.end_reason, seen.snapshot) == (None, None, b'{"rate":1}')
    store.finish(second, NOW + 3, "finished")
    assert reader.runner()[5:7] == (NOW + 3, "finished")


# ---- reading


@pytest.mark.parametrize("ref", ["2", "b", "/data/b.jsonl"])
def test_a_job_is_found_by_number_name_or_path(store, reader, ref):
    load(store, 1)
    job = load(store, 1, "b")
    assert reader.job(ref) == job


def test_a_job_that_is_not_there_is_answered_with_those_that_are(store, reader):
    with pytest.raises(ConfigurationError, match="nope") as nothing:
        reader.job("nope")
    assert "load" in nothing.value.hint
    load(store, 1)
    with pytest.raises(ConfigurationError, match="nope") as caught:
        reader.job("nope")
    assert "1 a" in caught.value.hint


def test_failures_are_grouped_by_kind_and_status_with_one_to_look_at(running, reader):
    job = load(running, 5)
    calls = start_calls(running, heads(running, job))
    running.commit(
        [],
        [give_up(calls[4], message="last")]
        + [give_up(call, message=f"no {n}") for n, call in enumerate(calls[1:3])]
        + [give_up(calls[0], FailureKind.CONTENT_FILTER, status=403, message="bad words")],
        [],
        NOW,
    )
    assert [tuple(group) for group in reader.failures(job.id)] == [
        ("invalid_request", 400, 3, "id-2", 2, "no 0"),
        ("content_filter", 403, 1, "id-1", 1, "bad words"),
    ]


def test_queued_ids_and_workload_tell_what_is_to_do(running, reader):
    job = load(running, [line(1), line(2, max_out=None), line(3, model="other"), line(4, priority=9)])
    load(running, 1, "b")
    start_calls(running, heads(running, job)[:1])
    assert list(reader.queued_ids([job.id])) == [1, 2, 3]
    assert list(reader.queued_ids(None)) == [1, 2, 3, 5]
    found = {work.lane.model: work[1:5] for work in reader.workload([job.id])}
    assert found == {"m": (2, 203, 50, 1), "other": (1, 103, 50, 0)}


def test_the_workload_counts_every_request_without_a_bound(store, reader):
    job = load(store, [line(n, max_out=None) for n in range(1, 6)] + [line(6)])
    (work,) = reader.workload([job.id])
    assert (work.requests, work.max_out, work.unbounded) == (6, 50, 5)


def test_long_prompts_are_apart_in_the_workload_and_a_file_tells_the_same_as_the_queue(store, reader):
    lengths = (10, 4_095, 4_096, 5_000, 5_793, 900_000, 10**7, 2 * 10**7)
    lines = [
        line(n, est_in=length, max_out=None if n % 3 else 7, units=PICTURES if n == 2 else None)
        for n, length in enumerate(lengths, 1)
    ]
    job = load(store, lines)
    (work,) = reader.workload([job.id])
    assert work.long == (
        (2, 9_096, 7, 1, 5_000),
        (1, 5_793, 0, 1, 5_793),
        (1, 900_000, 7, 0, 900_000),
        (2, 3 * 10**7, 0, 2, 2 * 10**7),
    )
    of_file = Workloads("together")
    for one in lines:
        of_file.add(one)
    (same,) = of_file.values()
    assert same._replace(lane=work.lane) == work
    (first,) = reader.workload([job.id], Selection(upto=3))
    assert first.long == ((1, 4_096, 7, 0, 4_096),)


def test_rows_that_were_drawn_tell_what_their_attempts_came_to_since_then_and_no_others_do(running, reader):
    job = load(running, [line(1), line(2, max_out=None, units=Usage(images=2)), line(3), line(4)])
    first, second, third, _ = start_calls(running, heads(running, job))
    running.commit([], [try_later(first), succeed(second, cost=None), succeed(third)], [], NOW)
    again = start_calls(running, heads(running, job)[-1:], opened=NOW + 9_000)[0]
    assert again[1].head.id == first[1].head.id
    running.commit([], [succeed(again, cost=500, usage_from=UsageFrom.ESTIMATED, ended=NOW + 10_000)], [], NOW)

    one, two, four = reader.drawn([4, 2, 1], NOW)
    assert (one.lane.model, one.est_in, one.max_out, one.state, one.calls) == ("m", 101, 50, RequestState.SUCCEEDED, 2)
    assert (one.input, one.output, one.microseconds) == (USAGE.input, USAGE.output, 1_000 + 1_000)
    assert (one.recorded, one.estimated, one.possibly_billed, one.wasted) == (0, 500, 1_000, 0)
    assert (one.unpriced, one.unknown, one.billed) == (0, 0, 500)
    assert (two.max_out, two.units, two.unpriced, two.unknown) == (None, Usage(images=2), 1, 1)
    assert (four.state, four.calls, four.microseconds, four.billed) == (RequestState.RUNNING, 0, 0, 0)
    (late,) = reader.drawn([1], NOW + 1)
    assert (late.calls, late.possibly_billed, late.estimated) == (1, 0, 500)
    assert reader.paces() == [(1, 3, 3_000)]


def test_what_was_learned_of_a_lane_can_be_read_by_its_name(running, reader):
    load(running, 1)
    assert reader.learned("together", "m") is None
    running.beat(1, NOW, b"{}", learned={1: b'{"input_answers":3.0}'})
    assert reader.learned("together", "m") == b'{"input_answers":3.0}'
    assert reader.learned("together", "other") is None


def test_a_reader_sees_each_commit_at_once_and_never_a_part(running, reader):
    job = load(running, 2)
    calls = start_calls(running, heads(running, job))
    seen = reader.results(job.id)
    running.commit([], [succeed(call) for call in calls], [], NOW)
    assert [row.state.value for row in seen] == ["succeeded", "succeeded"]


# ---- pause, resume, cancel


def lanes_with_work(store):
    return {(work.lane.model, work.jobs) for work in store.work(None)}


def test_a_paused_job_lane_or_provider_is_nothing_to_work_on_until_it_is_resumed(store, reader):
    first = load(store, [line(1), line(2, model="n")])
    second = load(store, [line(1)], "b", provider="openai")
    everything = {("m", (first.id,)), ("n", (first.id,)), ("m", (second.id,))}
    assert lanes_with_work(store) == everything
    for target, left in (
        (Target("job", str(first.id)), {("m", (second.id,))}),
        (Target("lane", "together m"), {("n", (first.id,)), ("m", (second.id,))}),
        (Target("provider", "openai"), {("m", (first.id,)), ("n", (first.id,))}),
    ):
        (pause,) = store.pause([target], "because", NOW)
        assert pause == Pause(*target, BY_HAND, "because", NOW)
        assert lanes_with_work(store) == left
        assert {work.lane.model for work in reader.workload(None)} == {model for model, _ in left}
        assert store.remaining(None) == (3, 0), "what is paused is left, and not gone"
        assert store.pauses() == reader.pauses() == [pause]
        assert store.pause([target], "again", NOW + 5) == [], "it stands already, with its reason"
        assert store.resume([target], NOW + 9) == [pause]
        assert store.resume([target], NOW + 9) == []
        assert lanes_with_work(store) == everything
    assert reader.pauses() == []


def test_a_pause_by_hand_outlives_runs_and_those_of_a_run_do_not(store):
    load(store, 1)
    store.start(INFO, NOW, ACCOUNTS)
    store.beat(1, NOW, b"{}", pauses=[Pause("provider", "together", "auth", "the key", NOW)])
    store.pause([Target("lane", "together m")], "", NOW)
    assert store.resume([Target("provider", "together")], NOW) == [], "what a run paused ends with its cause"
    store.start(INFO, NOW + 1, ACCOUNTS)
    assert [pause.reason for pause in store.pauses()] == [BY_HAND]
    assert len(store.resume(None, NOW + 2)) == 1


def test_cancel_gives_up_what_is_queued_and_keeps_what_is_in_the_air(running, reader):
    store, job = running, load(running, 6)
    other = load(running, 2, "b")
    flying = start_calls(store, heads(store, job)[:3])
    store.commit([], [try_later(start_calls(store, heads(store, job)[:1])[0])], [], NOW)
    assert store.cancel(job.id)
    assert not store.cancel(job.id), "once is enough"
    assert (store.sweep(), store.sweep()) == (3, 0)
    assert reader.job("a").state is JobState.CANCELLED
    assert store.work([job.id]) == []
    store.commit([], [succeed(flying[0]), try_later(flying[1])], [], NOW)
    store.commit([], [], [], NOW, released=[Release(flying[2][0].attempt_id, flying[2][1].head)])
    counts = reader.counts(job.id, NOW)
    assert (counts.succeeded, counts.cancelled, counts.queued, counts.running) == (1, 5, 0, 0)
    assert reader.counts(other.id, NOW).queued == 2


def test_what_dies_in_the_air_of_a_cancelled_job_is_cancelled_by_the_next_runner(engine):
    store = engine.open()
    store.start(INFO, NOW, ACCOUNTS)
    job = load(store, 3)
    start_calls(store, heads(store, job)[:2])
    store.cancel(job.id)  # and dies before it has swept anything
    engine.crash(store)
    store = engine.open()
    assert store.rescue(NOW).lost == 2
    reader = engine.reader()
    assert reader.counts(job.id, NOW).cancelled == 3
    reader.close()
    store.close()


def test_a_cancel_can_be_taken_back_in_steps(running, reader, monkeypatch):
    monkeypatch.setattr("batchrunner.store.verbs.MOVED_AT_ONCE", 2)
    store, job = running, load(running, 5)
    before = heads(store, job)
    store.commit([], [try_later(start_calls(store, before[:1])[0])], [], NOW)
    store.cancel(job.id)
    while store.sweep():
        pass
    assert store.reopen(job.id)
    assert not store.reopen(job.id)
    moved = []
    while step := store.take_back(job.id, NOW):
        moved.append(step)
    assert moved == [2, 2, 1]
    assert reader.job("a").state is JobState.OPEN
    assert reader.counts(job.id, NOW).queued == 5
    lane = store.work([job.id])[0].lane.id
    assert [head.id for head in store.claim(job.id, lane, None, 9)] == [head.id for head in before[1:]]
    assert [head.id for head in store.claim_due([job.id], lane, NOW, 9)] == [before[0].id], "it was tried: it is due"


def test_lanes_whose_rows_are_all_in_the_air_are_work_for_who_asks(running):
    store, job = running, load(running, 1)
    start_calls(store, heads(store, job))
    assert store.work([job.id]) == []
    (work,) = store.work([job.id], running=True)
    assert (work.lane.model, work.jobs, work.queued) == ("m", (job.id,), 1)
