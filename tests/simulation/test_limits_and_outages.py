"""Done when 1 and 2 of the promises: outages cost little and fail nothing; limits that move are found and used."""

from itertools import product

import pytest

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.breaker import BreakerState
from batchrunner.core.permit import LaneLimits
from tests.simulation.scenarios import moving_limit, outage, sdk_outage, strays
from tests.simulation.scheduler import run
from tests.simulation.servers import Flaky, Moving

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("headers", "retry_after"), [*product(["none", "together"], [False, True]), ("openai", True)])
def test_a_limit_that_moves_is_used_and_hardly_ever_passed(headers, retry_after):
    found = moving_limit(1, headers=headers, retry_after=retry_after)
    flags = f" --headers {headers}" + (" --retry-after" if retry_after else "")
    assert found.holds(headers=headers), f"{found}; replay: python -m tests.simulation limits --seed 1{flags}"


@pytest.mark.parametrize(
    "variant",
    [
        {"concurrency": 32},  # as far as a concurrency grows that nobody set: two seconds of the highest rate
        {"tokens": 300},  # tokens are limited, and more are used than estimated
        {"tokens": 150, "headers": "together"},
        {"headers": "openai", "lie": 2.0},  # a tier's limit, while the dynamic one is half of it
    ],
    ids=str,
)
def test_so_is_one_of_tokens_and_one_that_headers_overstate_and_with_few_calls_in_the_air(variant):
    found = moving_limit(1, **variant)
    assert found.holds(headers=variant.get("headers", "none")), found


def test_a_header_that_says_less_than_is_true_is_obeyed():
    found = moving_limit(1, headers="together", lie=0.5)
    assert 0.45 <= found.used <= 0.5


@pytest.mark.parametrize("adaptive", [False, True])
def test_h16_a_long_outage_fails_no_row_and_full_speed_is_soon_back(adaptive):
    found = outage(1, adaptive=adaptive)
    flag = " --adaptive" if adaptive else ""
    assert found.holds(), f"{found}; replay: python -m tests.simulation outage --seed 1{flag}"


@pytest.mark.parametrize("minutes", [0.5, 10, 480])
@pytest.mark.parametrize("kind", [FailureKind.SERVER_ERROR, FailureKind.OVERLOADED])
def test_h16_outages_of_any_length_cost_a_probe_in_five_seconds_at_most(minutes, kind):
    found = outage(2, minutes=minutes, kind=kind)
    assert found.failed_rows == 0
    assert found.to_full_speed is not None
    assert found.to_full_speed <= 90
    assert found.longest_gap <= 20
    assert found.failing_calls <= 200 + 20 + 60 * minutes / 5 + 5


@pytest.mark.parametrize("rows", [3, 30])
def test_h16_the_last_rows_of_a_job_are_probed_for_as_often_and_do_not_fail(rows):
    found = outage(1, rows=rows, begins=1.0)
    assert found.failed_rows == 0
    assert found.longest_gap <= 20


def test_on_the_same_trace_the_official_clients_lose_most_rows():
    """What the figures above are to be read against: it also shows that the trace is a hard one."""
    found = sdk_outage(1)
    assert found.failed_rows > 12_000
    assert found.failing_calls > 36_000


def test_h15_a_burst_of_server_errors_is_not_made_worse():
    server = Flaky(60.0, 90.0, seed=3)
    story = run(server, LaneLimits(concurrency=200, adaptive=True, rpm="auto", tpm="auto"), seed=3, until=300.0)
    during = [at for at in story.calls if 60 <= at < 120]
    assert len(during) <= 1.2 * 100 * 60
    retries = len(story.calls) - story.first
    assert retries <= 0.2 * len(story.calls)
    assert story.failed_rows == 0


@pytest.mark.parametrize("seed", range(3))
def test_h6_a_storm_of_refusals_that_do_not_say_when_to_come_back_is_obeyed_within_half_a_minute(seed):
    """From nothing known, calls per second are at most a tenth above what is allowed after 30 s."""
    server = Moving([(0.0, 1_200.0), (120.0, 120.0)], seed=seed)
    story = run(server, LaneLimits(concurrency=100, adaptive=True, rpm="auto"), seed=seed, until=300.0)
    later = [at for at in story.calls if at >= 150.0]
    assert len(later) <= 1.1 * 2.0 * 150
    assert story.failed_rows == 0


def test_refusals_at_random_do_not_starve_a_lane():
    """Two of a hundred are refused, however few are sent: a fault, or other users of the account; not our rate."""
    refused = Failure(FailureKind.RATE_LIMITED, "", Billing.NOT_BILLED, 429)
    server = Flaky(0.0, 1e9, share=0.02, failure=refused, seed=5)
    story = run(server, LaneLimits(concurrency=200, rpm="auto"), seed=5, until=600.0)
    assert story.answered >= 0.8 * 100 * 600


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("share", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("seconds", [0.3, 2.0])
def test_h7_strays_cost_hardly_more_than_the_pauses_that_they_ask_for(share, retry_after, seconds):
    """Nothing is limited but the concurrency; learning must not make a limit of refusals at random."""
    for seed in (1, 2):
        found = strays(seed, share=share, retry_after=retry_after, seconds=seconds)
        flags = f" --share {share} --latency {seconds}" + (" --retry-after" if retry_after else "")
        assert found.holds(), f"{found}; replay: python -m tests.simulation strays --seed {seed}{flags}"


def test_strays_do_not_hide_a_limit_that_moves_nor_starve_its_lane():
    """Two of a hundred are strays: both are told apart well enough to use most of what is allowed."""
    found = moving_limit(1, strays=0.02)
    assert found.used >= 0.85
    assert found.refused <= 0.10
    assert not found.failed_rows


def test_h18_slow_answers_bring_no_storm_of_retries():
    """Ten times slower at once, and a part of the calls past their deadline: fewer are sent, not twice as many."""
    timeout = Failure(FailureKind.TIMEOUT, "", Billing.UNKNOWN)
    server = Flaky(60.0, 400.0, share=0.05, failure=timeout, seed=7, seconds=20.0)
    story = run(server, LaneLimits(concurrency=64, adaptive=True, rpm="auto"), seed=7, until=600.0)
    assert len(story.calls) - story.first <= 0.2 * len(story.calls)
    assert story.gate._breaker.state is BreakerState.CLOSED


def test_a_story_replays_from_its_seed():
    assert outage(11) == outage(11)
