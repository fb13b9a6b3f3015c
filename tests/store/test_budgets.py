"""What the store tells of budgets is what the attempts, one by one, come to; and only what was bought is claimed."""

from itertools import product

import pytest

from batchrunner.core.attempt import Billing
from batchrunner.core.budget import Budget, Period, Scope, Spent
from batchrunner.core.continuation import Continuation, Step
from batchrunner.core.request import Beside, Continued
from batchrunner.core.retry import GoOn
from batchrunner.store.tagging import TagsOf
from tests.store.making import (
    ACCOUNTS,
    DAY,
    INFO,
    NOW,
    SqliteEngine,
    heads,
    line,
    load,
    start_calls,
    succeed,
    try_later,
)


@pytest.fixture
def store(tmp_path):
    with SqliteEngine(tmp_path / "q.db").open() as opened:
        opened.start(INFO, NOW, ACCOUNTS)
        yield opened


def budget(scope: Scope, ref: str = "", period: Period = Period.EVER, cap: int = 10**12) -> Budget:
    return Budget(scope, ref, period, cap)


def spent(store, now: int = NOW) -> dict[str, Spent]:
    return {each.budget.name: each.spent for each in store.sheet(now).lines}


def test_each_budget_counts_costs_and_holds_of_what_it_reaches_and_nothing_else(store):
    rows = [line(1), line(2, tags=(("team", "b"),)), line(3, tags=(("team", "a"),)), line(4), line(5), line(6)]
    one = load(store, rows, tags=(("team", "a"),))
    two = load(store, 2, "two")
    first = start_calls(store, heads(store, one), hold=1_000)
    other = start_calls(store, heads(store, two), hold=50, opened=NOW - DAY)
    closings = [
        succeed(first[0], cost=7),
        succeed(first[1], cost=20),
        try_later(first[2]),
        succeed(first[4], cost=None),
    ]
    closings.append(try_later(first[5])._replace(billing=Billing.NOT_BILLED))
    store.commit([], [*closings, succeed(other[0], cost=3)], [], NOW)
    for each in (
        budget(Scope.EVERYTHING), budget(Scope.EVERYTHING, period=Period.DAY), budget(Scope.JOB, str(one.id)),
        budget(Scope.TAG, "team=a"), budget(Scope.TAG, "team=b", Period.MONTH),
    ):  # fmt: skip
        store.keep_budget(each, NOW)
    assert spent(store) == {
        "all": Spent(7 + 20 + 3, 1_000 + 1_000, 1_000 + 50),
        "day": Spent(27, 2_000, 1_000),
        f"job {one.id}": Spent(27, 2_000, 1_000),
        "tag team=a": Spent(7, 2_000, 1_000),
        "tag team=b a month": Spent(20, 0, 0),
    }
    tomorrow = spent(store, NOW + DAY)
    assert tomorrow["day"] == Spent()
    assert tomorrow["all"].committed == 3_080


RETAGS = (
    (),
    (("a", False),),
    (("b", True),),
    ((None, True),),
    (("a", True), (None, False)),
    (("b", True), ("a", True)),
)


def test_a_tags_budget_counts_by_the_tags_that_hold_now_whatever_retag_said(store):
    """Each attempt is laid to the tag that ``costs`` shows it under, in the sheet as for the rows that a run buys."""
    rows = [line(n, tags=tags(team)) for n, team in enumerate(("a", "b", None))]
    for number, (own, said) in enumerate(product(("a", "b", None), RETAGS)):
        job = load(store, rows, f"job-{number}", tags=tags(own))
        calls = start_calls(store, heads(store, job), hold=100 * 4**number)
        store.commit([], [succeed(calls[0], cost=4**number), try_later(calls[1])], [], NOW)
        for team, lines in said:
            store.retag(job.id, [("team", team)], lines=lines, now=NOW)
    for team in ("a", "b"):
        store.keep_budget(budget(Scope.TAG, f"team={team}"), NOW)
    with store._session.read() as connection:
        query = "SELECT job_id, tag_set_id, CASE WHEN billing = 'billed' THEN cost ELSE hold END FROM attempts"
        bought, known = connection.exec_driver_sql(query).all(), TagsOf(connection)
    for each in store.sheet(NOW).lines:
        mine = [known.of(job, own or 0).get("team") == each.budget.ref[-1] for job, own, _ in bought]
        assert [each.reach.holds(job, own) for job, own, _ in bought] == mine
        assert each.spent.committed == sum(row[2] for row, counts in zip(bought, mine, strict=True) if counts)


def tags(team: str | None) -> tuple[tuple[str, str], ...]:
    return () if team is None else (("team", team),)


def test_attempts_without_a_known_worst_case_are_counted_apart(store):
    store.keep_budget(budget(Scope.EVERYTHING), NOW)
    calls = start_calls(store, heads(store, load(store, 3)), hold=None)
    store.commit([], [succeed(calls[0], cost=None), try_later(calls[1])], [], NOW)
    assert spent(store) == {"all": Spent(0, 0, 0, 3)}


def test_what_a_crash_left_open_stays_committed_at_its_hold(tmp_path):
    engine = SqliteEngine(tmp_path / "q.db")
    with engine.open() as store:
        store.start(INFO, NOW, ACCOUNTS)
        store.keep_budget(budget(Scope.EVERYTHING), NOW)
        start_calls(store, heads(store, load(store, 2)), hold=400)
        assert spent(store) == {"all": Spent(0, 0, 800)}
    with engine.open() as store:
        store.start(INFO, NOW + 1, ACCOUNTS)
        assert spent(store) == {"all": Spent(0, 800, 0)}


def test_whatever_becomes_of_an_attempt_it_counts_once_and_on_the_day_on_which_it_was_opened(tmp_path):
    engine = SqliteEngine(tmp_path / "q.db")
    with engine.open() as store:
        store.start(INFO, NOW - DAY, ACCOUNTS)
        job = load(store, 5)
        calls = start_calls(store, heads(store, job), hold=100, opened=NOW - DAY)
        later = Continuation(Step.POLL, "video-1", b"{}", "application/json", None, NOW, 0, 0, ())
        goes_on = Continued(calls[1][0].attempt_id, calls[1][1], later, GoOn(NOW + 10))
        store.commit([], [succeed(calls[0], cost=7)], [], NOW, beside=Beside([goes_on]))
    with engine.open() as store:
        store.start(INFO, NOW, ACCOUNTS)
        for period in Period:
            store.keep_budget(budget(Scope.EVERYTHING, period=period), NOW)

        def counted() -> Spent:
            today, (before, ever) = spent(store), (spent(store, NOW - DAY)[name] for name in ("day", "all"))
            assert today["day"] == Spent()
            assert before == ever == today["all"]
            return before

        assert counted() == Spent(7, 300, 100), "three are lost, and one goes on"
        store.commit([], [succeed(calls[2], cost=9)], [], NOW)
        assert counted() == Spent(16, 200, 100), "a late answer costs what it cost, and no longer its hold"
        store.cancel(job.id)
        while store.sweep():
            pass
        assert counted() == Spent(16, 300, 0), "nobody asks for it any more, and it may be billed"
        store.reopen(job.id)
        while store.take_back(job.id, NOW):
            pass
        assert counted() == Spent(16, 200, 100)


def test_a_budget_is_replaced_by_one_of_the_same_scope_and_period_and_can_be_removed(store):
    for cap, period in ((5, Period.EVER), (7, Period.EVER), (9, Period.DAY)):
        store.keep_budget(budget(Scope.EVERYTHING, period=period, cap=cap)._replace(warn=(50, 95)), NOW)
    caps = [(each.budget.period, each.budget.cap, each.budget.warn) for each in store.sheet(NOW).lines]
    assert caps == [(Period.EVER, 7, (50, 95)), (Period.DAY, 9, (50, 95))]
    assert store.drop_budget(budget(Scope.EVERYTHING))
    assert not store.drop_budget(budget(Scope.EVERYTHING))
    assert len(store.sheet(NOW).lines) == 1


def test_of_jobs_that_are_held_back_only_what_goes_on_is_claimed(store):
    job = load(store, 3)
    calls = start_calls(store, heads(store, job))
    lane = calls[0][1].head.lane_id
    later = Continuation(Step.POLL, "video-1", b"{}", "application/json", None, NOW, 0, 0, ())
    goes_on = Continued(calls[0][0].attempt_id, calls[0][1], later, GoOn(NOW + 10))
    store.commit([], [try_later(calls[1])], [], NOW, beside=Beside([goes_on]))
    (head,) = store.claim_due([], lane, NOW + 100, 10, bought=[job.id])
    assert (head.id, head.continues) == (calls[0][1].head.id, calls[0][0].attempt_id)
    assert store.next_due([], lane, 0, bought=[job.id]) == NOW + 10
    assert store.next_due([job.id], lane, NOW + 10) == NOW + 50
    assert len(store.claim_due([job.id], lane, NOW + 100, 10)) == 2
