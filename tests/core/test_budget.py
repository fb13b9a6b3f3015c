"""Budgets, pure: what is set aside, settled and refused, over several caps at once and across days."""

from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import given

from batchrunner.core.budget import Budget, Line, Period, Reach, Scope, Sheet, Spent, days_of, period_at
from batchrunner.core.clock import DAY, SECOND
from batchrunner.core.purses import Bought, Purses, Word

NOON = 20_000 * DAY + DAY // 2


def line(cap: int, *, period: Period = Period.EVER, reach: Reach | None = None, spent: Spent = Spent()) -> Line:  # noqa: B008
    scope = Scope.EVERYTHING if reach is None else Scope.JOB
    return Line(Budget(scope, "" if reach is None else "1", period, cap), period_at(period, NOON), spent, reach)


def purses(*lines: Line, at: int = NOON) -> Purses:
    return Purses(Sheet(lines, newest_attempt=10, newest_tags=5), at)


def call(hold: int | None, *, job: int = 1, tags: int | None = None, at: int = NOON, attempt: int = 0) -> Bought:
    return Bought(job, tags, at, hold, attempt)


def test_a_call_that_fits_is_let_through_and_its_worst_case_is_set_aside():
    one = purses(line(100))
    assert one.reserve(call(60)) is Word.GO
    assert one.purses[0].committed == 60
    assert one.reserve(call(60)) is Word.WAIT, "the first may turn out cheaper"
    one.settle(call(60), 30, possibly=False, in_air=True)
    assert one.reserve(call(60)) is Word.GO
    assert one.purses[0].committed == 90


def test_what_fits_exactly_fits():
    one = purses(line(100))
    assert one.reserve(call(100)) is Word.GO
    assert one.purses[0].room == 0


def test_with_nothing_in_the_air_a_call_that_does_not_fit_uses_the_budget_up_for_smaller_ones_too():
    one = purses(line(100))
    assert one.reserve(call(101)) is Word.NO
    assert one.refusing is one.purses[0]
    assert one.reserve(call(1)) is Word.NO, "input order is kept: nothing is let through before what was refused"
    assert one.purses[0].refused == 101


def test_a_refusal_is_taken_back_once_there_is_room_for_just_what_was_refused():
    one = purses(line(100, spent=Spent(open=40)))
    assert [one.reserve(call(hold)) for hold in (80, 10)] == [Word.NO, Word.NO]
    one.settle(call(20, attempt=11), 1, possibly=False, in_air=False)
    assert (one.purses[0].room, one.reopen()) == (79, False), "there is room for the smaller one: not its turn"
    one.settle(call(1, attempt=12), 0, possibly=False, in_air=False)
    assert (one.purses[0].room, one.reopen()) == (80, True)
    assert one.reserve(call(80)) is Word.GO


def test_a_worst_case_that_the_books_can_not_hold_is_as_good_as_unknown():
    one = purses(line(2**60))
    assert one.reserve(call(2**56)) is Word.UNKNOWN
    assert one.reserve(call(2**56 - 1)) is Word.GO


def test_a_call_must_fit_into_every_budget_and_takes_from_none_where_it_does_not():
    wide, narrow = line(1_000), line(10, reach=Reach(frozenset({1})))
    one = purses(wide, narrow)
    assert one.reserve(call(11)) is Word.NO
    assert [purse.committed for purse in one.purses] == [0, 0]
    assert one.reserve(call(11, job=2)) is Word.GO, "the other job has no budget of its own"
    assert [purse.committed for purse in one.purses] == [11, 0]


@pytest.mark.parametrize(
    ("cost", "possibly", "left"),
    [(0, False, 100), (20, False, 80), (None, False, 50), (None, True, 50), (20, True, 50)],
)
def test_what_is_settled_counts_by_what_is_known_of_it(cost, possibly, left):
    one = purses(line(100))
    one.reserve(call(50))
    one.settle(call(50), cost, possibly=possibly, in_air=True)
    assert one.purses[0].room == left
    assert one.purses[0].held == 0
    assert (one.purses[0].possibly, one.purses[0].settled) == ((50, 0) if left == 50 else (0, cost))


def test_what_cost_more_than_its_worst_case_is_counted_as_what_it_cost():
    one = purses(line(100))
    one.reserve(call(50))
    one.settle(call(50), 130, possibly=False, in_air=True)
    assert one.purses[0].room == -30
    assert one.reserve(call(0)) is Word.NO


def test_an_unknown_worst_case_is_refused_only_where_a_budget_counts_it():
    one = purses(line(100, reach=Reach(frozenset({1}))))
    assert one.reserve(call(None)) is Word.UNKNOWN
    assert one.reserve(call(None, job=2)) is Word.GO


def test_an_attempt_that_goes_on_later_makes_no_room_and_one_that_ends_cheaper_takes_the_refusal_back():
    one = purses(line(100))
    one.reserve(call(90))
    one.put_by(call(90))
    assert one.reserve(call(20)) is Word.NO, "nobody knows when it ends: the run does not wait for it"
    assert not one.reopen()
    one.settle(call(90, attempt=11), 10, possibly=False, in_air=False)
    assert one.reopen()
    assert one.reserve(call(20)) is Word.GO


def test_what_was_in_the_air_when_the_budgets_were_read_can_still_make_room():
    one = purses(line(100, spent=Spent(open=90)))
    one.take_up(call(90))
    assert one.reserve(call(20)) is Word.WAIT
    one.settle(call(90), 10, possibly=False, in_air=True)
    assert one.reserve(call(20)) is Word.GO
    assert one.purses[0].committed == 30


def test_a_days_budget_begins_anew_at_midnight_utc_and_settles_what_was_bought_before_it_on_its_own_day():
    one = purses(line(100, period=Period.DAY))
    late = (20_001 * DAY) - 1
    assert one.reserve(call(100, at=late)) is Word.GO
    assert one.reserve(call(1, at=late)) is Word.WAIT
    assert one.reserve(call(70, at=20_001 * DAY)) is Word.GO
    one.settle(call(100, at=late), 100, possibly=False, in_air=True)
    assert one.purses[0].committed == 70


def test_a_used_up_day_is_open_again_once_it_has_turned():
    one = purses(line(100, period=Period.DAY))
    assert one.reserve(call(101)) is Word.NO
    assert not one.turn(NOON + SECOND)
    assert one.turn(20_001 * DAY)
    assert one.reopen()
    assert one.reserve(call(100, at=20_001 * DAY)) is Word.GO


def test_a_sheet_that_was_read_just_before_midnight_counts_nothing_of_the_day_that_has_begun():
    """Nothing is bought between the read and what goes by it; what was open then belongs to the day before."""
    one = purses(line(100, period=Period.DAY, spent=Spent(settled=60, open=40)), at=20_001 * DAY)
    one.take_up(call(40))
    assert one.reserve(call(100, at=20_001 * DAY)) is Word.GO
    one.settle(call(40), 40, possibly=False, in_air=True)
    one.settle(call(100, at=20_001 * DAY), 70, possibly=False, in_air=True)
    assert (one.purses[0].committed, one.purses[0].held) == (70, 0)


def test_a_runs_own_budget_does_not_count_what_an_earlier_run_bought():
    own = Line(Budget(Scope.RUN, "", Period.EVER, 100), 0, Spent(), None, after=10)
    one = purses(own)
    one.settle(call(90, attempt=10), 20, possibly=False, in_air=False)
    assert one.purses[0].committed == 0
    one.reserve(call(90))
    one.put_by(call(90))
    one.settle(call(90, attempt=11), 40, possibly=False, in_air=False)
    assert one.purses[0].committed == 40


def test_levels_are_told_once_by_what_is_settled():
    one = purses(line(100)._replace(budget=Budget(Scope.EVERYTHING, "", Period.EVER, 100, (50, 80))))
    one.reserve(call(100))
    assert one.warnings() == [], "what is held may come back"
    one.settle(call(100), 80, possibly=False, in_air=True)
    assert [level for _, level in one.warnings()] == [80], "the highest that is reached, and reached exactly"
    assert one.warnings() == []


def test_what_may_have_been_billed_uses_a_budget_up_as_well():
    one = purses(line(100))
    one.reserve(call(90))
    one.settle(call(90), None, possibly=True, in_air=True)
    assert [level for _, level in one.warnings()] == [80]


def test_what_is_said_of_all_lines_stands_above_the_lines_own_tag_and_that_above_its_jobs():
    reach = Reach(
        jobs=frozenset({1, 4, 5}),
        sets=frozenset({7}),
        others=frozenset({8}),
        always=frozenset({4}),
        never=frozenset({5}),
    )
    assert [reach.holds(1, tags) for tags in (None, 7, 8, 9)] == [True, True, False, True]
    assert [reach.holds(2, tags) for tags in (None, 7, 8, 9)] == [False, True, False, False]
    assert [reach.holds(4, tags) for tags in (None, 7, 8, 9)] == [True, True, True, True]
    assert [reach.holds(5, tags) for tags in (None, 7, 8, 9)] == [False, False, False, False]


def test_rows_whose_tags_nobody_has_read_yet_are_known_as_such():
    assert purses().knows(None)
    assert purses().knows(5)
    assert not purses().knows(6)


@given(st.integers(0, 60_000))
def test_months_follow_the_calendar_and_their_days_know_them(day):
    month = period_at(Period.MONTH, day * DAY)
    first, last = days_of(Period.MONTH, month)
    assert first <= day <= last
    assert 28 <= last - first + 1 <= 31
    assert period_at(Period.MONTH, first * DAY - 1 if first else 0) == (month - 1 if first else month)
    assert period_at(Period.MONTH, (last + 1) * DAY) == month + 1
    assert days_of(Period.DAY, day) == (day, day)


@dataclass
class Open:
    bought: Bought
    in_air: bool = True


@given(st.data())
def test_whatever_happens_no_cap_is_passed_and_the_sums_are_those_of_a_plain_count(data):
    """A night at random, beside a list that remembers every purchase and counts them all anew each time."""
    budgets = [
        line(data.draw(st.integers(0, 300)), period=data.draw(st.sampled_from(Period)), reach=reach)
        for reach in (None, Reach(frozenset({1})), Reach(frozenset({2}), frozenset({4}), frozenset({5})))
    ]
    one, now, counted, out, attempt = purses(*budgets), NOON, [], [], 10
    for _ in range(data.draw(st.integers(1, 60))):
        match data.draw(st.sampled_from(("buy", "buy", "buy", "end", "end", "put by", "give back", "later"))):
            case "buy":
                tags = data.draw(st.sampled_from((None, 4, 5)))
                asked = call(data.draw(st.integers(0, 80)), job=data.draw(st.integers(1, 3)), tags=tags, at=now)
                if one.reserve(asked) is Word.GO:
                    attempt += 1
                    out.append(Open(asked._replace(attempt_id=attempt)))
            case "end" if out:
                each = out.pop(data.draw(st.integers(0, len(out) - 1)))
                cost = data.draw(st.one_of(st.none(), st.integers(0, each.bought.hold)))
                one.settle(each.bought, cost, possibly=cost is None, in_air=each.in_air)
                counted.append((each.bought, each.bought.hold if cost is None else cost))
                one.reopen()
            case "put by" if out:
                each = out[data.draw(st.integers(0, len(out) - 1))]
                if each.in_air:
                    one.put_by(each.bought)
                    each.in_air = False
            case "give back" if out and out[-1].in_air:
                one.give_back(out.pop().bought)
            case "later":
                now += data.draw(st.sampled_from((SECOND, DAY // 2, 20 * DAY)))
                one.turn(now)
        for purse, each in zip(one.purses, budgets, strict=True):
            period = each.budget.period
            amounts = [
                amount
                for bought, amount in [*counted, *((o.bought, o.bought.hold) for o in out)]
                if period_at(period, bought.opened) == purse.period
                and (each.reach is None or each.reach.holds(bought.job_id, bought.tag_set_id))
            ]
            assert purse.committed == sum(amounts) <= each.budget.cap
