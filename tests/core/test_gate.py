"""The gate's answers, one by one."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.breaker import LONGEST_OPEN
from batchrunner.core.gate import Gate
from batchrunner.core.hints import LimitHints
from batchrunner.core.permit import Bottleneck, Go, Headroom, LaneLimits, Stopped, Wait
from batchrunner.core.retry import RetryPolicy
from batchrunner.core.usage import Usage


def gate(concurrency=10, dice=0.0, now=0.0, learned=None, **limits):
    return Gate(LaneLimits(concurrency=concurrency, **limits), now=now, dice=lambda: dice, learned=learned)


def reply(tokens_in=100, tokens_out=100):
    return Reply(200, b"{}", Usage(tokens_in, 0, tokens_out))


def failure(kind, billing=Billing.NOT_BILLED, retry_after=None, usage=None):
    return Failure(kind, "", billing, retry_after=retry_after, usage=usage)


def admitted(one, now=0.0, est_in=100, max_out=100):
    assert isinstance(one.ask(now, est_in, max_out), Go)
    permit = one.admit(now, est_in, max_out)
    one.depart(permit)
    return permit


def call(one, outcome, now=0.0):
    permit = admitted(one, now)
    one.settle(permit, outcome, now)
    return permit


def waits(one, now=0.0, est_in=100, max_out=100):
    answer = one.ask(now, est_in, max_out)
    assert isinstance(answer, Wait)
    return answer


def test_concurrency_binds_until_an_answer_lands():
    one = gate(concurrency=2)
    first, _ = admitted(one), admitted(one)
    assert waits(one) == Wait(math.inf, Bottleneck.CONCURRENCY)
    one.landed(first)
    assert one.air == 1
    assert isinstance(one.ask(0.0, 100, 100), Go)


def test_landing_settling_and_releasing_count_once_in_any_order():
    one = gate(tpm=6_000)
    permit = admitted(one)
    one.landed(permit)
    one.landed(permit)
    one.settle(permit, reply(), 0.0)
    one.settle(permit, failure(FailureKind.TIMEOUT), 0.0)
    one.release(permit)
    assert one.air == 0


def test_requests_a_minute_bind():
    one = gate(rpm=60)
    admitted(one)
    answer = waits(one)
    assert answer.why is Bottleneck.RPM
    assert answer.until == pytest.approx(1.0, abs=1e-4)
    admitted(one, answer.until)


def test_tokens_a_minute_bind():
    one = gate(tpm=6_000)
    admitted(one)
    answer = waits(one, est_in=20, max_out=30)
    assert answer.why is Bottleneck.TPM
    assert answer.until == pytest.approx((100 + 50) / 100, abs=1e-4)
    admitted(one, answer.until, 20, 30)


def test_of_two_limits_the_one_that_takes_longer_is_named():
    assert waits_after_one(rpm=60, tpm=60_000) is Bottleneck.RPM
    assert waits_after_one(rpm=6_000, tpm=6_000) is Bottleneck.TPM


def waits_after_one(**limits):
    one = gate(**limits)
    admitted(one)
    return waits(one).why


def test_asking_changes_nothing():
    one = gate(rpm=60, tpm=6_000)
    before = one.levels(0.5)
    for _ in range(10):
        one.ask(0.5, 100, 100)
    assert one.levels(0.5) == before
    admitted(one, 0.5)


# ----------------------------------------------------------------------------------------------------- pause and outage


def test_retry_after_pauses_the_whole_lane():
    one = gate()
    call(one, failure(FailureKind.RATE_LIMITED, retry_after=30.0), now=5.0)
    assert waits(one, 5.0) == Wait(35.0, Bottleneck.PAUSED)
    assert isinstance(one.ask(35.0, 1, 1), Go)


@pytest.mark.parametrize("kind", [FailureKind.OVERLOADED, FailureKind.SERVER_ERROR, FailureKind.INVALID_REQUEST])
def test_any_refusal_may_ask_for_a_pause(kind):
    one = gate()
    call(one, failure(kind, retry_after=30.0))
    assert one.pause_until == 30.0


def test_a_refusal_that_asks_for_nothing_pauses_nothing():
    one = gate()
    call(one, failure(FailureKind.RATE_LIMITED))
    assert isinstance(one.ask(0.0, 1, 1), Go)


@pytest.mark.parametrize(("wish", "most"), [(0.0, 0.0), (0.5, 1.0), (10.0, 12.0), (100.0, 111.0), (10**9, 3_961.0)])
def test_a_pause_is_jittered_later_never_earlier(wish, most):
    ends = []
    for dice in (0.0, 1.0):
        one = gate(dice=dice)
        call(one, failure(FailureKind.RATE_LIMITED, retry_after=wish))
        ends.append(one.pause_until)
    assert ends == pytest.approx([min(wish, 3_600.0), most])


def test_a_pause_never_gets_shorter():
    one = gate()
    both = admitted(one), admitted(one)
    one.settle(both[0], failure(FailureKind.RATE_LIMITED, retry_after=30.0), 0.0)
    one.settle(both[1], failure(FailureKind.RATE_LIMITED, retry_after=1.0), 0.0)
    one.pause(3.0)
    assert one.pause_until == 30.0


def test_an_outage_lets_one_probe_through_and_shares_the_blame():
    one = gate(concurrency=50, dice=0.5)
    for _ in range(9):
        assert not one.shared(call(one, failure(FailureKind.CONNECTION)))
    assert one.shared(call(one, failure(FailureKind.CONNECTION)))
    assert waits(one) == Wait(5.0, Bottleneck.OUTAGE)
    probe = admitted(one, 5.0)
    assert waits(one, 6.0) == Wait(math.inf, Bottleneck.OUTAGE)
    one.settle(probe, reply(), 7.0)
    call(one, reply(), 8.0)
    admitted(one, 9.0)
    assert waits(one, 9.0).why is Bottleneck.OUTAGE


def test_a_probe_that_was_never_begun_makes_room_for_the_next():
    one = gate(dice=0.5)
    for _ in range(10):
        call(one, failure(FailureKind.CONNECTION))
    one.release(admitted(one, 5.0))
    admitted(one, 5.0)


# ------------------------------------------------------------------------------------------------------------ stopping


def test_one_refused_key_is_tried_again_and_the_second_is_evidence():
    one = gate()
    call(one, failure(FailureKind.AUTH))
    assert not one.evidence(FailureKind.AUTH)
    call(one, failure(FailureKind.AUTH), now=1.0)
    assert one.evidence(FailureKind.AUTH)


@given(st.floats(0, 1e9), st.integers(0, 10**6), st.none() | st.integers(0, 10**6))
def test_a_stopped_gate_never_says_go_and_keeps_its_first_reason(now, est_in, max_out):
    one = gate()
    permit = admitted(one)
    one.stop(FailureKind.NO_CREDIT, "credit used up")
    one.stop(FailureKind.AUTH, "later")
    one.settle(permit, reply(), now)
    assert one.ask(now, est_in, max_out) == Stopped(FailureKind.NO_CREDIT, "credit used up")
    assert one.stopped == Stopped(FailureKind.NO_CREDIT, "credit used up")


# ------------------------------------------------------------------------------------------------------------- settling


def level_after(outcome, **limits):
    one = gate(**{"tpm": 60_000, **limits})
    one.restore("tokens", 1_000, 0.0)
    call(one, outcome)
    return dict(one.levels(0.0))["tokens"]


def test_an_answer_is_settled_with_its_real_tokens():
    assert level_after(reply(30, 20)) == pytest.approx(950)
    assert level_after(reply(300, 400)) == pytest.approx(300)


def test_an_answer_without_usage_keeps_its_reserve():
    assert level_after(Reply(200, b"{}", None)) == pytest.approx(800)


@pytest.mark.parametrize("kind", [FailureKind.CONNECTION, FailureKind.STALE_CONNECTION, FailureKind.INVALID_REQUEST])
def test_what_was_not_billed_is_refunded(kind):
    assert level_after(failure(kind)) == pytest.approx(1_000)


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.OVERLOADED])
def test_a_limited_call_is_not_refunded_since_the_provider_may_have_counted_it(kind):
    assert level_after(failure(kind)) == pytest.approx(800)


@pytest.mark.parametrize("billing", [Billing.UNKNOWN, Billing.BILLED])
def test_a_call_that_may_have_been_billed_keeps_its_reserve_unless_it_says_what_it_used(billing):
    assert level_after(failure(FailureKind.TIMEOUT, billing)) == pytest.approx(800)
    assert level_after(failure(FailureKind.BAD_REPLY, billing, usage=Usage(30, 0, 20))) == pytest.approx(950)


def test_a_call_that_was_never_begun_returns_its_tokens_but_not_its_request():
    one = gate(tpm=60_000, rpm=60)
    one.restore("tokens", 1_000, 0.0)
    one.restore("requests", 1.0, 0.0)
    one.release(admitted(one))
    assert dict(one.levels(0.0)) == {"tokens": pytest.approx(1_000), "requests": 0.0}
    assert one.air == 0


@pytest.mark.parametrize("absurd", [10**9, 10**18, 10**400], ids=["1e9", "1e18", "1e400"])
def test_an_absurd_usage_costs_a_minute_at_most(absurd):
    one = gate(concurrency=100, tpm=60_000)
    call(one, reply(absurd, 0))
    answer = waits(one)
    assert answer.until < 63
    for _ in range(50):
        admitted(one, 200.0, 1, 1)


def test_a_negative_usage_earns_nothing():
    assert level_after(reply(-500, 100)) == pytest.approx(1_000)


# ------------------------------------------------------------------------------------------------------------ estimates


def learnt(one, answers=20, est_in=100, max_out=1_000, usage=(150, 250)):
    for _ in range(answers):
        one.settle(one.admit(0.0, est_in, max_out), reply(*usage), 0.0)
    return one


def test_the_upper_reserve_is_four_times_the_estimate_and_the_whole_bound():
    assert learnt(gate(reserve="upper")).expected(100, 1_000) == 1_400


def test_the_learned_reserve_is_the_guess_until_twenty_answers_came():
    assert gate().expected(100, 1_000) == 1_100
    assert learnt(gate(), 19).expected(100, 1_000) == 1_100
    assert learnt(gate(), 20).expected(100, 1_000) == pytest.approx(400)


def test_without_a_bound_the_output_is_assumed_and_then_learned():
    for reserve, most_input in (("learned", 100), ("upper", 400)):
        assert gate(reserve=reserve).expected(100, None) == most_input + 512
    assert learnt(gate(reserve="upper"), max_out=None).expected(100, None) == pytest.approx(650)


def test_calibrated_input_is_what_a_silent_provider_is_priced_by():
    assert gate().calibrated_input(80) == 80
    one = learnt(gate())
    assert (one.calibrated_input(80), one.calibrated_input(0)) == (120, 0)
    assert learnt(gate(), usage=(1, 1)).calibrated_input(3) == 1


def test_failures_teach_nothing():
    one = gate(concurrency=100)
    for _ in range(50):
        call(one, failure(FailureKind.BAD_REPLY, usage=Usage(900, 0, 900)))
    assert one.expected(100, 100) == 200


def test_what_was_learned_goes_into_the_next_run():
    kept = json.loads(json.dumps(learnt(gate()).learned()))
    assert gate(learned=kept).expected(100, 1_000) == pytest.approx(400)


# --------------------------------------------------------------------------------------------------------------- levels


def test_levels_are_kept_for_the_buckets_that_exist_and_restored_by_kind():
    assert gate().levels(0.0) == ()
    one = gate(rpm=600, tpm=60_000)
    one.restore("requests", 4.0, 0.1)
    one.restore("tokens", -500.0, 0.1)
    one.restore("unheard of", 1e9, 0.0)
    assert dict(one.levels(0.0)) == {"requests": pytest.approx(5.0), "tokens": pytest.approx(-400.0)}
    gate().restore("tokens", 5.0, 0.0)


def test_headroom_shows_what_is_used_of_each_limit():
    one = gate(concurrency=5, rpm=600)
    admitted(one, 0.0)
    one.settle(admitted(one, 30.0), reply(40, 10), 31.0)
    assert one.headroom(40.0) == (
        Headroom(Bottleneck.CONCURRENCY, 1, 5, "you"),
        Headroom(Bottleneck.RPM, 2, 600, "you"),
        Headroom(Bottleneck.TPM, 250, None),
    )
    assert [room.used for room in one.headroom(70.0)] == [1, 1, 50]


@pytest.mark.parametrize(
    "limits", [{"concurrency": 0}, {"rpm": 0}, {"tpm": -1}, {"tpm": float("nan")}, {"rpm": math.inf}]
)
def test_limits_that_let_nothing_through_are_refused(limits):
    with pytest.raises(ValueError, match="must be"):
        LaneLimits(**{"concurrency": 1, **limits})


@pytest.mark.parametrize(("limits", "most"), [({}, 150e-6), ({"rpm": 6e6, "tpm": 6e9}, 400e-6)])
def test_deciding_costs_a_row_microseconds(limits, most):
    """Ten times the budget: a busy machine or a coverage run passes, a wrong algorithm does not."""
    one, policy, answer = gate(concurrency=2_000, **limits), RetryPolicy(), reply()
    one.restore("tokens", 1e9, 0.0)
    one.restore("requests", 1e9, 0.0)
    in_air = [one.admit(0.0, 100, 100) for _ in range(1_000)]
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        for place in range(500):
            permit = in_air[place]
            one.landed(permit)
            one.settle(permit, answer, 1.0)
            policy.judge(answer, 0, 1, lambda: 0.5)
            assert type(one.ask(1.0, 100, 100)) is Go
            in_air[place] = one.admit(1.0, 100, 100)
        best = min(best, (time.perf_counter() - begin) / 500)
    assert best < most


def test_what_is_admitted_ahead_waits_for_room_in_the_air():
    one = gate(concurrency=2)
    first, _ = admitted(one), admitted(one)
    assert waits(one).why is Bottleneck.CONCURRENCY
    assert isinstance(one.ask(0.0, 100, 100, 1), Go)
    third = one.admit(0.0, 100, 100)
    assert isinstance(one.ask(0.0, 100, 100, 1), Wait)
    assert (one.room, one.air, one.admitted) == (False, 2, 3)
    one.settle(first, reply(), 0.0)
    assert one.room
    one.depart(third)
    assert (one.room, one.air, one.admitted) == (False, 2, 2)


def test_what_was_admitted_and_never_departed_leaves_the_air_as_it_is():
    one = gate(tpm=60_000)
    admitted(one, 5.0)
    before = one.levels(5.0)
    one.release(one.admit(5.0, 100, 100))
    assert (one.air, one.admitted) == (1, 1)
    assert one.levels(5.0) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.stop(FailureKind.AUTH, "refused"),
        lambda one: one.pause(5.0),
        lambda one: [call(one, failure(FailureKind.CONNECTION)) for _ in range(10)],
    ],
    ids=["stopped", "paused", "broken"],
)
def test_a_call_is_clear_to_go_until_its_lane_closes(change):
    one = gate()
    permit = admitted(one)
    assert one.clear(permit, 0.0)
    change(one)
    assert not one.clear(permit, 0.0)


def test_a_probe_is_clear_to_go():
    one = gate()
    for _ in range(10):
        call(one, failure(FailureKind.CONNECTION))
    assert one.clear(admitted(one, 60.0), 60.0)


# ------------------------------------------------------------------------------------------------------- learned limits


def rooms(one, now=0.0):
    return {room.what.value: (room.limit, room.who) for room in one.headroom(now)}


def test_a_lane_that_nobody_knows_starts_with_a_few_calls_and_no_rates():
    one = gate(concurrency=100, adaptive=True, rpm="auto", tpm="auto")
    for _ in range(8):
        admitted(one)
    assert waits(one) == Wait(math.inf, Bottleneck.CONCURRENCY)
    assert rooms(one) == {"concurrency": (8, "learned"), "rpm": (None, ""), "tpm": (None, "")}


def test_answers_let_the_concurrency_grow_and_it_is_kept_for_the_next_run():
    one = gate(concurrency=100, adaptive=True)
    for now in (2.0, 4.0, 6.0):
        permits = []
        while isinstance(one.ask(now, 1, 1), Go):
            permits.append(admitted(one, now))
        for permit in permits:
            one.settle(permit, reply(), now + 2)
    assert rooms(one)["concurrency"] == (64, "learned")
    assert rooms(gate(concurrency=100, adaptive=True, learned=one.learned()))["concurrency"] == (32, "learned")


def test_a_fixed_concurrency_is_there_from_the_first_call_whatever_is_refused():
    one = gate(concurrency=100)
    call(one, failure(FailureKind.RATE_LIMITED))
    for _ in range(100):
        admitted(one, 1.0)


def test_a_refusal_slows_the_requests_down_and_one_for_tokens_the_tokens():
    for short_of_tokens, limited, free in ((False, "rpm", "tpm"), (True, "tpm", "rpm")):
        one = gate(concurrency=1_000, rpm="auto", tpm="auto")
        permits = [admitted(one, place / 10) for place in range(50)]
        hints = LimitHints(short_of_tokens=short_of_tokens)
        for permit in permits[-3:]:
            one.settle(permit, failure(FailureKind.RATE_LIMITED), 5.0, hints)
        found = rooms(one, 5.0)
        assert found[limited][1] == "learned"
        assert found[free] == (None, "")


def test_a_stray_refusal_cuts_neither_rate_nor_concurrency():
    one = gate(concurrency=100, adaptive=True, rpm="auto", tpm="auto")
    permits = [admitted(one, place / 10) for place in range(8)]
    before = rooms(one)["concurrency"]
    one.settle(permits[0], failure(FailureKind.RATE_LIMITED), 1.0)
    assert rooms(one, 1.0)["rpm"] == (None, "")
    assert rooms(one, 1.0)["concurrency"] == before


def test_a_pause_that_was_asked_for_is_no_time_in_which_little_was_accepted():
    """Forty a second for four seconds, then a pause of three: forty a second were accepted, not ten."""
    one = gate(concurrency=1_000, rpm="auto")
    permits = [admitted(one, place / 40) for place in range(160)]
    one.settle(permits[-1], failure(FailureKind.RATE_LIMITED, retry_after=3.0), 4.0)
    for permit in permits[-4:-1]:
        one.settle(permit, failure(FailureKind.RATE_LIMITED), 7.0)
    assert rooms(one, 7.0)["rpm"][0] == pytest.approx(0.9 * 40 * 60, rel=0.05)


def test_an_overload_cuts_nothing():
    one = gate(concurrency=100, adaptive=True, rpm="auto")
    before = rooms(one)
    call(one, failure(FailureKind.OVERLOADED, Billing.UNKNOWN))
    assert rooms(one) == before


def test_headers_set_the_rates_of_a_lane_that_learns_and_not_of_one_that_was_told():
    hints = LimitHints(requests=10.0, tokens=5_000.0)
    learns, told = gate(rpm="auto", tpm="auto"), gate(rpm=60, tpm=60_000)
    for one in (learns, told):
        one.settle(admitted(one), reply(), 1.0, hints)
    assert rooms(learns)["rpm"] == (pytest.approx(588), "provider's header")
    assert rooms(learns)["tpm"] == (pytest.approx(294_000), "provider's header")
    assert rooms(told) == {"concurrency": (10, "you"), "rpm": (60, "you"), "tpm": (60_000, "you")}


def test_a_refusal_without_retry_after_waits_until_the_header_says_that_the_next_would_pass():
    one = gate(rpm="auto")
    one.settle(admitted(one), failure(FailureKind.RATE_LIMITED), 1.0, LimitHints(ready_in=2.0))
    assert one.pause_until == 3.0


def test_headers_of_good_answers_are_read_ten_times_a_second_at_most():
    one = gate()
    assert [one.heeds(now) for now in (0.0, 0.05, 0.1, 0.11, 0.25)] == [True, False, True, False, True]


def test_a_live_lane_can_be_tuned():
    one = gate(concurrency=2, rpm=600)
    permits = [admitted(one), admitted(one, 0.5)]
    one.tune(concurrency=4)
    admitted(one, 1.0)
    one.tune(concurrency=1, tpm=6_000.0, now=1.0)
    assert waits(one, 1.0).why is Bottleneck.CONCURRENCY
    assert rooms(one, 1.0) == {"concurrency": (1, "you"), "rpm": (600, "you"), "tpm": (6_000, "you")}
    for permit in permits:
        one.settle(permit, reply(), 2.0)
    one.tune(concurrency="auto", rpm="auto", tpm="auto", now=3.0)
    assert rooms(one, 3.0) == {"concurrency": (4, "learned"), "rpm": (None, ""), "tpm": (None, "")}


@pytest.mark.parametrize("bad", [{"concurrency": 0}, {"rpm": 0.0}, {"tpm": math.nan}, {"rpm": "fast"}])
def test_tuning_refuses_what_lets_nothing_through_and_changes_nothing(bad):
    one = gate(rpm=600)
    before = rooms(one)
    with pytest.raises(ValueError, match="must be"):
        one.tune(**bad)
    assert rooms(one) == before


def test_after_an_outage_a_lane_that_was_widened_grows_to_its_new_width():
    one = gate(concurrency=2)
    one.tune(concurrency=50)
    for _ in range(10):
        call(one, failure(FailureKind.CONNECTION))
    for _ in range(60):
        call(one, reply(), 60.0)
    for _ in range(50):
        admitted(one, 60.0)


def test_retries_of_failing_calls_wait_for_the_budget_and_those_of_refused_ones_do_not():
    one = gate()
    permit = call(one, failure(FailureKind.SERVER_ERROR))
    assert {one.retry_wait(permit, FailureKind.RATE_LIMITED, 0.5, 0.0) for _ in range(50)} == {0.5}
    waited = [one.retry_wait(permit, FailureKind.SERVER_ERROR, 0.5, 0.0) for _ in range(50)]
    assert waited[0] == 0.5
    assert waited[-1] == pytest.approx(40.0, abs=0.2)


def test_in_an_outage_no_row_backs_off_for_longer_than_until_the_next_probe():
    one = gate()
    permits = [call(one, failure(FailureKind.SERVER_ERROR)) for _ in range(10)]
    assert {one.retry_wait(permit, FailureKind.SERVER_ERROR, 60.0, 0.0) for permit in permits * 9} == {LONGEST_OPEN}
    assert one.retry_wait(permits[0], FailureKind.SERVER_ERROR, 3.0, 0.0) == 3.0


@given(st.dictionaries(st.sampled_from(["requests_rate", "tokens_rate", "concurrency_limit"]), st.floats() | st.text()))
def test_kept_limits_that_make_no_sense_do_no_harm(kept):
    one = gate(concurrency=50, adaptive=True, rpm="auto", tpm="auto", learned=kept)
    assert isinstance(one.ask(0.0, 1, 1), Go)
    assert 1 <= rooms(one)["concurrency"][0] <= 50
