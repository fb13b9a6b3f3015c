"""The verdict on every outcome."""

import random

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.clock import SECOND
from batchrunner.core.retry import GiveUp, RetryAt, RetryPolicy, Scope, Stop, Succeed

NOW = 1_800_000_000 * SECOND
POLICY = RetryPolicy()
REPLY = Reply(200, b"{}", None)

NEVER, FREE, AT_ONCE, THREE, FIVE, STOPS = "gives up at once", "never counts", "at once", "three", "five", "stops"
FATE = {
    FailureKind.RATE_LIMITED: FREE,
    FailureKind.OVERLOADED: FREE,
    FailureKind.TIMEOUT: THREE,
    FailureKind.CONNECTION: THREE,
    FailureKind.STALE_CONNECTION: AT_ONCE,
    FailureKind.SERVER_ERROR: FIVE,
    FailureKind.BAD_REPLY: THREE,
    FailureKind.RESPONSE_TOO_LARGE: NEVER,
    FailureKind.INVALID_REQUEST: NEVER,
    FailureKind.CONTEXT_LENGTH: NEVER,
    FailureKind.ATTACHMENT: NEVER,
    FailureKind.CONTENT_FILTER: NEVER,
    FailureKind.AUTH: STOPS,
    FailureKind.NO_CREDIT: STOPS,
    FailureKind.MODEL_UNAVAILABLE: STOPS,
    FailureKind.MISCONFIGURED: STOPS,
    FailureKind.EXPIRED: NEVER,
    FailureKind.LOST: FREE,
    FailureKind.INTERRUPTED: AT_ONCE,
}

kinds = st.sampled_from(FailureKind)
billings = st.sampled_from(Billing)
dice_values = st.floats(0, 1, exclude_max=True)
waits = st.none() | st.floats(allow_nan=True, allow_infinity=True)


def failure(kind, billing=Billing.UNKNOWN, retry_after=None):
    return Failure(kind, "the provider's words", billing, retry_after=retry_after)


def judge(outcome, tries=0, *, now=NOW, dice=0.5, **more):
    return POLICY.judge(outcome, tries, now, lambda: dice, **more)


def test_a_reply_succeeds():
    assert isinstance(judge(REPLY, 100), Succeed)


def test_every_kind_of_failure_has_its_fate():
    assert set(FATE) == set(FailureKind)


@pytest.mark.parametrize("kind", [kind for kind, fate in FATE.items() if fate == NEVER])
def test_what_would_be_refused_again_is_given_up_at_once(kind):
    assert judge(failure(kind)) == GiveUp(kind)
    assert judge(failure(kind), shared=True) == GiveUp(kind)


@pytest.mark.parametrize("kind", [kind for kind, fate in FATE.items() if fate == STOPS])
def test_what_no_row_can_mend_stops_with_the_providers_words(kind):
    scope = Scope.LANE if kind is FailureKind.MODEL_UNAVAILABLE else Scope.PROVIDER
    assert judge(failure(kind), 100) == Stop(scope, kind, "the provider's words")


@pytest.mark.parametrize("kind", [kind for kind, fate in FATE.items() if fate == FREE])
@pytest.mark.parametrize("billing", Billing)
def test_limits_and_our_own_death_never_use_up_a_row(kind, billing):
    verdict = judge(failure(kind, billing), 1_000)
    assert isinstance(verdict, RetryAt)
    assert not verdict.counts


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.OVERLOADED])
def test_a_stream_that_had_begun_was_paid_for_and_counts_whatever_it_broke_off_for(kind):
    broken = failure(kind)._replace(partial=b"{}")
    first = judge(broken, 0)
    assert isinstance(first, RetryAt)
    assert first.counts
    assert judge(broken, 2) == GiveUp(kind)
    in_an_outage = judge(broken, 2, shared=True)
    assert isinstance(in_an_outage, RetryAt)
    assert not in_an_outage.counts


@pytest.mark.parametrize("kind", [FailureKind.CONNECTION, FailureKind.TIMEOUT])
def test_a_call_that_was_never_sent_never_uses_up_a_row(kind):
    verdict = judge(failure(kind, Billing.NOT_BILLED), 1_000)
    assert isinstance(verdict, RetryAt)
    assert not verdict.counts


@pytest.mark.parametrize("kind", [kind for kind, fate in FATE.items() if fate == AT_ONCE])
def test_a_stale_connection_and_our_own_cancelling_are_tried_again_at_once_for_nothing(kind):
    assert judge(failure(kind, retry_after=30.0), 1_000) == RetryAt(NOW + 1, counts=False)
    assert judge(failure(kind), now=0) == RetryAt(1, counts=False)


@pytest.mark.parametrize(("fate", "attempts"), [(THREE, 3), (FIVE, 5)])
def test_what_may_have_been_billed_is_bought_three_times_and_a_server_error_five_times(fate, attempts):
    for kind in (kind for kind in FATE if FATE[kind] == fate):
        for tries in range(attempts - 1):
            verdict = judge(failure(kind), tries)
            assert isinstance(verdict, RetryAt)
            assert verdict.counts
        assert judge(failure(kind), attempts - 1) == GiveUp(kind)
        assert judge(failure(kind), attempts + 50) == GiveUp(kind)


@given(kinds, billings, st.integers(0, 1_000))
def test_in_an_outage_nothing_that_is_tried_again_counts(kind, billing, tries):
    verdict = judge(failure(kind, billing), tries, shared=True)
    if FATE[kind] in (NEVER, STOPS):
        assert isinstance(verdict, GiveUp | Stop)
    else:
        assert isinstance(verdict, RetryAt)
        assert not verdict.counts


failures = st.builds(failure, kinds, billings, waits)
counts = st.integers(0, 5) | st.integers(0, 2**70)


@given(failures, st.tuples(counts, counts), st.integers(0, 2**62), dice_values)
def test_every_failure_has_a_verdict_and_a_retry_is_always_later(outcome, so_far, now, dice):
    verdict = judge(outcome, so_far[0], now=now, dice=dice, attempts=so_far[1])
    if isinstance(verdict, RetryAt):
        assert type(verdict.not_before) is int
        assert now < verdict.not_before <= now + 3_600 * SECOND
    else:
        assert isinstance(verdict, GiveUp | Stop)


@given(kinds, billings, st.integers(0, 8), st.integers(0, 8))
def test_more_tries_never_help_a_row(kind, billing, fewer, more):
    fewer, more = sorted((fewer, more))
    if isinstance(judge(failure(kind, billing), fewer), GiveUp):
        assert isinstance(judge(failure(kind, billing), more), GiveUp)


def test_the_wait_is_spread_from_nothing_to_a_ceiling_that_doubles_to_a_minute():
    limited = failure(FailureKind.RATE_LIMITED)
    ceilings = [judge(limited, attempts=n, dice=0.999_999_999).not_before - NOW for n in range(9)]
    assert [round(wait / SECOND, 3) for wait in ceilings] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert judge(limited, attempts=8, dice=0.0).not_before == NOW + 1
    assert judge(limited, attempts=8, dice=0.25).not_before == NOW + 15 * SECOND


@pytest.mark.parametrize(("base", "cap"), [(1, 60), (0.5, 20), (3, 3), (1, 64), (0.001, 3_600)])
def test_the_ceilings_are_tenacitys_exponential_wait(base, cap):
    curve = tenacity.wait_exponential(multiplier=base, max=cap)
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    ceilings = RetryPolicy(base=base, cap=cap).ceilings
    for number, ceiling in enumerate([*ceilings, ceilings[-1], ceilings[-1]], 1):
        state.attempt_number = number
        assert ceiling == curve(state)


def test_drawing_the_curve_leaves_the_global_dice_alone():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    RetryPolicy(base=0.7)
    assert random.random() == expected


def test_retry_after_beats_the_curve_but_never_shortens_it():
    assert judge(failure(FailureKind.RATE_LIMITED, retry_after=17.5)).not_before == NOW + 17_500_000
    assert judge(failure(FailureKind.TIMEOUT, retry_after=17.5)).not_before == NOW + 17_500_000
    long = judge(failure(FailureKind.RATE_LIMITED, retry_after=0.1), attempts=20)
    assert long.not_before == NOW + 30 * SECOND


@pytest.mark.parametrize("wish", [10**9, float("inf"), float("nan"), -float("inf")])
def test_an_absurd_retry_after_costs_an_hour_at_most(wish):
    verdict = judge(failure(FailureKind.RATE_LIMITED, retry_after=wish))
    assert NOW < verdict.not_before <= NOW + 3_600 * SECOND


def test_a_stop_without_evidence_can_be_tried_again_for_nothing():
    again = POLICY.again(3, NOW, lambda: 0.5)
    assert again == RetryAt(NOW + 4 * SECOND, counts=False)


@pytest.mark.parametrize(
    "figures", [{"base": 0}, {"base": 61}, {"cap": float("inf")}, {"max_risky_tries": 0}, {"max_risky_tries": 6}]
)
def test_figures_that_make_no_policy_are_refused(figures):
    with pytest.raises(ValueError, match=r"base|tries"):
        RetryPolicy(**figures)
