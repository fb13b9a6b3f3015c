"""What a run asks before each purchase: the budgets as they were read last, and nothing while they are read anew."""

from typing import Any

import pytest

from batchrunner.core.attempt import Billing, Reply, Use
from batchrunner.core.budget import Budget, Line, Period, Reach, Scope, Sheet, Spent
from batchrunner.core.clock import DAY
from batchrunner.core.continuation import Continuation, Step
from batchrunner.core.pricing import PICO
from batchrunner.core.request import Closing, Continued, Head, Opening
from batchrunner.core.retry import GoOn, Succeed
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.runner.spending import Money, Spending

NOON = 20_000 * DAY + DAY // 2
CAP = 100
LATER = Continuation(Step.POLL, "video-1", b"{}", "application/json", None, NOON, 0, 0, ())


class Noon:
    def now(self) -> int:
        return NOON

    def monotonic(self) -> float:
        return 0.0


def sheet(cap: int = CAP, *, tags: int = 5, **spent: int) -> Sheet:
    everything = Line(Budget(Scope.EVERYTHING, "", Period.EVER, cap), 0, Spent(**spent), None)
    return Sheet((everything,), newest_attempt=10, newest_tags=tags)


def opening(number: int, hold: int, *, tags: int | None = None, continues: int = 0) -> Opening:
    head = Head(number, 1, 1, "chat", tags, 0, 0, 0, 10, 10, b"", continues=continues)
    return Opening(head, NOON, 1, hold)


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def spending(told: list[Any]) -> Spending:
    def paused(job: int, why: str | None) -> None:
        told.append((job, why is not None))

    return Spending([], Money(), Noon(), wake=lambda: None, paused=paused, warned=lambda _: None)


def test_nothing_is_bought_while_the_budgets_are_read(spending: Spending) -> None:
    assert not spending.active
    spending.freeze()
    assert spending.active, "a budget may have been set, and nobody knows it yet"
    assert not spending.reserve(opening(1, 1))
    spending.adopt(sheet())
    assert spending.reserve(opening(1, CAP))
    spending.freeze()
    spending.adopt(Sheet())
    assert not spending.active


def test_rows_whose_tags_are_not_known_yet_wait_until_the_budgets_are_read_anew(
    spending: Spending, told: list[Any]
) -> None:
    spending.adopt(sheet(tags=5))
    assert spending.reserve(opening(1, 1, tags=5))
    assert not spending.stale
    assert not spending.reserve(opening(2, 1, tags=6))
    assert spending.stale
    assert told == [], "that holds no job back"
    spending.adopt(sheet(tags=6, open=1))
    assert spending.reserve(opening(2, 1, tags=6))
    assert not spending.stale


def test_what_is_in_the_air_when_the_budgets_are_read_may_still_make_room(spending: Spending, told: list[Any]) -> None:
    spending.adopt(sheet())
    assert spending.reserve(opening(1, 90))
    spending.adopt(sheet(open=90))
    assert not spending.reserve(opening(2, 20))
    assert told == [], "it is asked again when the first has landed"
    spending.give_back(opening(1, 90).head)
    assert spending.reserve(opening(2, 20))


def test_a_step_of_what_was_bought_before_is_free_and_what_does_not_fit_holds_its_job_back(
    spending: Spending, told: list[Any]
) -> None:
    spending.adopt(sheet(settled=CAP))
    assert spending.reserve(opening(1, 50, continues=7))
    assert not spending.reserve(opening(2, 1))
    assert told == [(1, True)]
    (shortage,) = spending.shortages()
    assert (shortage.jobs, shortage.needed, shortage.committed) == ((1,), 1, CAP)
    assert spending.follow({1, 2}) == {1}
    spending.adopt(sheet(cap=2 * CAP, settled=CAP))
    assert told == [(1, True), (1, False)]
    assert spending.shortages() == ()


def test_a_job_that_is_held_back_goes_on_when_there_is_room_for_what_was_refused_and_is_told_of_nothing_else(
    spending: Spending, told: list[Any]
) -> None:
    spending.adopt(sheet(settled=90))
    assert not spending.reserve(opening(1, 20))
    spending.adopt(sheet(settled=90))
    spending.adopt(sheet(cap=105, settled=90))
    assert told == [(1, True), (1, True)], "once as it was, and once with the other cap"
    assert [view.used_up for view in spending.views()] == [True]
    spending.adopt(sheet(cap=110, settled=90))
    assert told[2:] == [(1, False)]
    assert spending.reserve(opening(1, 20))


def test_a_job_of_unknown_price_is_asked_again_when_the_budgets_are_read_anew(
    spending: Spending, told: list[Any]
) -> None:
    spending.adopt(sheet())
    assert not spending.reserve(opening(1, 0)._replace(hold=None))
    assert [(each.budget, each.jobs) for each in spending.shortages()] == [(None, (1,))]
    spending.adopt(sheet())
    assert told == [(1, True), (1, False)]
    assert spending.reserve(opening(1, 20))


def test_a_job_that_was_tagged_out_of_a_budget_is_not_held_back_by_it_any_more(
    spending: Spending, told: list[Any]
) -> None:
    tagged = Line(Budget(Scope.TAG, "team=a", Period.EVER, 0), 0, Spent(), Reach(frozenset({1})))
    spending.adopt(Sheet((tagged,), 10, 5))
    assert not spending.reserve(opening(1, 20))
    spending.adopt(Sheet((tagged._replace(reach=Reach(frozenset({2}))),), 10, 5))
    assert told == [(1, True), (1, False)]
    assert spending.reserve(opening(1, 20))


def closing(opened: Opening, cost: int) -> Closing:
    usage = Usage(1, 0, 1)
    return Closing(
        *(11, opened, NOON, Reply(200, b"{}", usage), Succeed(), Billing.BILLED, Use.USED, usage, UsageFrom.PROVIDER),
        cost=cost,
        ttfb=0.0,
    )


def test_a_worst_case_that_was_none_is_told_once_and_one_that_was_reached_is_none(spending: Spending) -> None:
    spending.adopt(sheet(cap=1_000))
    for number, cost in ((1, 20), (2, 21), (3, 22)):
        assert spending.reserve(opening(number, 20))
        spending.settle([closing(opening(number, 20), cost)])
        assert len(spending.notes) == int(cost > 20)
    assert "a cap may be passed by as much" in spending.notes[0]


def test_the_cap_of_a_run_keeps_what_waits_for_its_end_when_the_budgets_are_read_anew() -> None:
    spending = Spending(
        [], Money(max_cost=CAP), Noon(), wake=lambda: None, paused=lambda *_: None, warned=lambda _: None
    )
    spending.adopt(Sheet(newest_attempt=10))
    video, chat = opening(1, 40), opening(2, 30)
    assert spending.reserve(video)
    assert spending.reserve(chat)
    spending.put_by([Continued(11, video, LATER, GoOn(NOON + 1))])
    for _ in range(2):
        spending.adopt(Sheet(newest_attempt=12))
        assert spending.views()[0].committed == 70
    spending.settle([closing(video, 10)])
    assert spending.views()[0].committed == 40


def test_room_in_one_budget_lets_its_own_job_go_on_and_no_other(spending: Spending, told: list[Any]) -> None:
    spending.adopt(Sheet(tuple(of_job(job, cap) for job, cap in ((1, CAP), (2, 0))), 10, 5))
    video = opening(1, 40)
    assert spending.reserve(video)
    spending.put_by([Continued(11, video, LATER, GoOn(NOON + 1))])
    other = opening(3, 1)
    assert not spending.reserve(opening(2, 70))
    assert not spending.reserve(other._replace(head=other.head._replace(job_id=2)))
    assert told == [(1, True), (2, True)]
    spending.settle([closing(video, 10)])
    assert told[2:] == [(1, False)]
    assert [shortage.jobs for shortage in spending.shortages()] == [(2,)]


def of_job(job: int, cap: int) -> Line:
    return Line(Budget(Scope.JOB, str(job), Period.EVER, cap), 0, Spent(), Reach(frozenset({job})))


def test_a_level_is_told_once_however_often_the_budgets_are_read_and_anew_for_another_cap() -> None:
    warned: list[str] = []
    spending = Spending([], Money(), Noon(), wake=lambda: None, paused=lambda *_: None, warned=warned.append)
    for _ in range(3):
        spending.adopt(sheet(cap=100 * PICO, settled=85 * PICO))
    assert len(warned) == 1
    spending.adopt(sheet(cap=104 * PICO, settled=85 * PICO))
    assert ["$85.00 of $104.00" in each for each in warned] == [False, True]
    assert spending.notes == (warned[1],), "what was said of the other cap holds no more"
