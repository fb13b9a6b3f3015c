"""The circuit breaker and the rule of evidence."""

import pytest

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.breaker import Breaker, BreakerState, Evidence

REPLY = Reply(200, b"{}", None)
OUTAGE = {FailureKind.CONNECTION, FailureKind.TIMEOUT, FailureKind.SERVER_ERROR, FailureKind.OVERLOADED}
SAYS_NOTHING = {
    FailureKind.STALE_CONNECTION,
    FailureKind.BAD_REPLY,
    FailureKind.EXPIRED,
    FailureKind.LOST,
    FailureKind.INTERRUPTED,
    FailureKind.MISCONFIGURED,
    FailureKind.ATTACHMENT,
}


def failure(kind):
    return Failure(kind, "", Billing.UNKNOWN)


def breaker(limit=100, dice=0.5):
    return Breaker(limit, lambda: dice)


def call(one, outcome, now=0.0):
    assert one.allow(now)
    one.note(one.admitted(), outcome, now)


def opened(one=None, now=0.0, kind=FailureKind.CONNECTION):
    one = one or breaker()
    while one.state is BreakerState.CLOSED:
        call(one, failure(kind), now)
    return one


@pytest.mark.parametrize("kind", sorted(OUTAGE))
def test_ten_failures_in_a_row_open_it(kind):
    one = breaker()
    for _ in range(9):
        call(one, failure(kind))
    assert one.state is BreakerState.CLOSED
    call(one, failure(kind))
    assert one.state is BreakerState.OPEN
    assert not one.allow(one.until - 0.001)


def test_one_answer_between_starts_the_count_anew():
    one = breaker()
    for outcome in [failure(FailureKind.TIMEOUT)] * 9 + [REPLY] + [failure(FailureKind.TIMEOUT)] * 9:
        call(one, outcome)
    assert one.state is BreakerState.CLOSED


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - OUTAGE))
def test_what_is_no_outage_neither_opens_it_nor_resets_the_count(kind):
    one = breaker()
    for _ in range(50):
        call(one, failure(kind))
    assert one.state is BreakerState.CLOSED
    for _ in range(9):
        call(one, failure(FailureKind.TIMEOUT))
    call(one, failure(kind))
    call(one, failure(FailureKind.TIMEOUT))
    assert one.state is BreakerState.OPEN


@pytest.mark.parametrize(("dice", "factor"), [(0.0, 0.8), (0.5, 1.0), (0.999_999_999, 1.2)])
def test_it_stays_open_longer_each_time_up_to_sixteen_seconds_with_a_fifth_of_chance(dice, factor):
    one, now, waits = breaker(dice=dice), 0.0, []
    opened(one)
    for _ in range(40):
        waits.append(one.until - now)
        now = one.until
        call(one, failure(FailureKind.CONNECTION), now)
    assert waits == pytest.approx([5 * factor, 10 * factor] + [16 * factor] * 38)


def test_half_of_the_calls_failing_opens_it_once_there_are_twenty():
    one, sent = breaker(), 0
    while one.state is BreakerState.CLOSED:
        call(one, failure(FailureKind.SERVER_ERROR) if sent % 2 == 0 else REPLY, sent / 10)
        sent += 1
    assert sent in (20, 21)


@pytest.mark.parametrize(("every", "apart"), [(3, 0.1), (2, 2.0)])
def test_fewer_failures_or_the_same_over_a_longer_time_leave_it_closed(every, apart):
    one = breaker()
    for number in range(300):
        call(one, failure(FailureKind.TIMEOUT) if number % every == 0 else REPLY, number * apart)
    assert one.state is BreakerState.CLOSED


def test_exactly_one_probe_goes_at_a_time_and_two_good_ones_close_it():
    one = opened()
    now = one.until
    ticket = one.admitted()
    assert one.state is BreakerState.HALF_OPEN
    assert not one.allow(now + 1_000)
    one.note(ticket, REPLY, now + 2)
    assert one.state is BreakerState.HALF_OPEN
    call(one, REPLY, now + 2)
    assert one.state is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_again():
    one = opened()
    call(one, REPLY, one.until)
    call(one, failure(FailureKind.TIMEOUT), one.until)
    assert one.state is BreakerState.OPEN
    call(one, REPLY, one.until)
    assert one.state is BreakerState.HALF_OPEN


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - OUTAGE - SAYS_NOTHING))
def test_a_refused_probe_shows_that_someone_answers(kind):
    one = opened()
    call(one, failure(kind), one.until)
    call(one, failure(kind), one.until)
    assert one.state is BreakerState.CLOSED


@pytest.mark.parametrize("kind", sorted(SAYS_NOTHING))
def test_a_probe_that_says_nothing_makes_room_for_the_next(kind):
    one = opened()
    for _ in range(5):
        call(one, failure(kind), one.until)
        assert one.state is BreakerState.HALF_OPEN
    assert one.allow(one.until)


def test_the_room_doubles_from_one_to_the_limit():
    one = breaker(limit=100)
    opened(one)
    for _ in range(2):
        call(one, REPLY, one.until)
    rounds = []
    while len(rounds) < 8:
        tickets = []
        while one.allow(one.until) and len(tickets) < 100:
            tickets.append(one.admitted())
        rounds.append(len(tickets))
        for ticket in tickets:
            one.note(ticket, REPLY, one.until)
    assert rounds == [1, 2, 4, 8, 16, 32, 64, 100]


def test_an_outage_that_returns_while_the_room_grows_is_not_taken_for_a_first_one():
    one = opened()
    for _ in range(2):
        call(one, REPLY, one.until)
    now = one.until
    opened(one, now)
    assert one.until - now == pytest.approx(10)


def test_after_full_speed_an_outage_is_a_first_one_again():
    one = breaker(limit=4)
    opened(one)
    for _ in range(12):
        call(one, REPLY, one.until)
    now = one.until
    opened(one, now)
    assert one.until - now == pytest.approx(5)
    lone = breaker(limit=1)
    opened(lone)
    for _ in range(2):
        call(lone, REPLY, lone.until)
    now = lone.until
    opened(lone, now)
    assert lone.until - now == pytest.approx(5)


def test_late_news_of_the_outage_neither_opens_it_again_nor_closes_it():
    one = breaker()
    stragglers = [one.admitted() for _ in range(60)]
    opened(one)
    until = one.until
    for ticket in stragglers[:20]:
        one.note(ticket, failure(FailureKind.TIMEOUT), 1.0)
    assert (one.state, one.until) == (BreakerState.OPEN, until)
    probe = one.admitted()
    for ticket in stragglers[20:25]:
        one.note(ticket, REPLY, until)
    assert one.state is BreakerState.HALF_OPEN
    assert not one.allow(until)
    one.note(probe, REPLY, until)
    call(one, REPLY, until)
    for ticket in stragglers[25:]:
        one.note(ticket, failure(FailureKind.TIMEOUT), until)
    assert one.state is BreakerState.CLOSED


def test_failures_of_an_outage_are_shared_also_those_that_come_in_when_it_is_over():
    one = breaker()
    straggler, early = one.admitted(), one.admitted()
    one.note(early, failure(FailureKind.TIMEOUT), 0.0)
    assert not one.shared(early)
    opened(one)
    assert one.shared(straggler)
    for _ in range(2):
        call(one, REPLY, one.until)
    assert one.shared(straggler)
    assert not one.shared(one.admitted())


# ----------------------------------------------------------------------------------------------------------- evidence


def noted(*happened):
    evidence = Evidence()
    for now, outcome in happened:
        evidence.note(outcome, now)
    return evidence


AUTH, CREDIT, GONE = (
    failure(kind) for kind in (FailureKind.AUTH, FailureKind.NO_CREDIT, FailureKind.MODEL_UNAVAILABLE)
)
TIMEOUT = failure(FailureKind.TIMEOUT)


@pytest.mark.parametrize("once", [AUTH, CREDIT, failure(FailureKind.MISCONFIGURED)])
def test_one_refusal_may_be_a_glitch_and_a_second_one_is_evidence(once):
    assert not noted((0, once)).holds(once.kind)
    assert noted((0, once), (60, TIMEOUT), (60, once)).holds(once.kind)


FORBIDDEN = AUTH._replace(status=403)


@pytest.mark.parametrize("once", [GONE, FORBIDDEN], ids=["model", "403"])
def test_what_one_row_may_have_brought_on_itself_takes_five_rows_where_nothing_was_answered(once):
    assert not noted(*[(0, once)] * 4).holds(once.kind)
    assert noted(*[(0, once)] * 4, (0, TIMEOUT), (0, once)).holds(once.kind)


@pytest.mark.parametrize("once", [GONE, FORBIDDEN], ids=["model", "403"])
def test_where_rows_were_answered_before_it_takes_twenty_of_them_or_five_over_a_minute(once):
    assert not noted((0, REPLY), *[(1, once)] * 19).holds(once.kind)
    assert noted((0, REPLY), *[(1, once)] * 20).holds(once.kind)
    assert not noted((0, REPLY), *[(1, once)] * 19, (2, REPLY), (3, once)).holds(once.kind)
    assert noted((0, REPLY), *[(1, once)] * 4, (61, once)).holds(once.kind)


def test_an_answer_between_takes_suspicion_and_evidence_back():
    assert not noted((0, AUTH), (1, REPLY), (2, AUTH)).holds(FailureKind.AUTH)
    assert not noted((0, AUTH), (1, AUTH), (2, REPLY)).holds(FailureKind.AUTH)


def test_refusals_of_two_kinds_are_no_evidence_for_either():
    both = noted((0, AUTH), (1, GONE))
    assert not both.holds(FailureKind.AUTH)
    assert not both.holds(FailureKind.MODEL_UNAVAILABLE)


def test_old_refusals_count_only_where_nothing_came_between():
    assert not noted((0, AUTH), (30, TIMEOUT), (61, AUTH)).holds(FailureKind.AUTH)
    assert noted((0, AUTH), (200, AUTH)).holds(FailureKind.AUTH)


def test_a_row_error_is_never_evidence_against_the_lane():
    for kind in set(FailureKind) - {AUTH.kind, CREDIT.kind, GONE.kind, FailureKind.MISCONFIGURED}:
        assert not noted(*[(0, failure(kind))] * 50).holds(kind)
