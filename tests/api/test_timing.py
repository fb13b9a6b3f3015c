"""How long it takes: by the limits that are set, those that were learned, and how long calls take."""

from batchrunner.api.lanecost import Range
from batchrunner.api.timing import pace_of, shared, time_at_limits
from batchrunner.config.settings import LaneLimits

TOKENS = Range(1_000, 2_000, 4_000)
MINUTE_EACH = Range(*[10 * 60_000_000] * 3)
"""Ten calls of a minute."""


def pace(*, requests=10, calls=None, learned=None, concurrency=32, rpm=None, tpm=None, auto=False):
    limits = LaneLimits(concurrency, rpm, tpm, learned=auto)
    return pace_of(requests, TOKENS, calls, limits=limits, learned=learned or {})


def test_a_limit_that_is_set_bounds_it_from_below_where_nobody_knows_how_long_calls_take():
    assert time_at_limits([pace(rpm=30)], 32) == (20.0, None, None, "rpm")
    assert time_at_limits([pace(tpm=1_000)], 32) == (120.0, None, None, "tpm")
    assert time_at_limits([pace()], 32) is None


def test_what_binds_is_named_and_the_ends_are_those_of_the_tokens():
    assert time_at_limits([pace(tpm=1_000, calls=MINUTE_EACH)], 32) == (60.0, 120.0, 240.0, "tpm")
    assert time_at_limits([pace(calls=MINUTE_EACH, concurrency=5)], 5) == (120.0, 120.0, 120.0, "concurrency")


def test_more_calls_in_the_air_than_there_are_rows_make_nothing_quicker():
    assert time_at_limits([pace(calls=MINUTE_EACH)], 32) == (60.0, 60.0, 60.0, "concurrency")


def test_lanes_go_side_by_side_but_share_the_calls_in_the_air():
    lanes = [pace(calls=MINUTE_EACH, concurrency=8), pace(calls=MINUTE_EACH, concurrency=8)]
    assert time_at_limits(lanes, 10).likely == 120.0
    assert time_at_limits(lanes, 100).likely == 75.0


def test_what_was_learned_is_the_slow_end_and_likely_only_where_calls_were_refused():
    calls = Range(*[320 * 60_000_000] * 3)
    free = pace(requests=320, calls=calls, auto=True, learned={"concurrency_limit": 16.0})
    assert time_at_limits([free], 32)[:3] == (600.0, 600.0, 1_200.0)
    known = {"concurrency_limit": 16.0, "requests_rate": 1.0}
    refused = pace(requests=320, calls=calls, auto=True, learned=known)
    assert time_at_limits([refused], 32)[:3] == (600.0, 1_200.0, 1_200.0)
    slow = pace(requests=320, calls=MINUTE_EACH, auto=True, learned={"requests_rate": 0.5})
    assert time_at_limits([slow], 32).likely == 640.0


def test_an_amount_is_shared_among_lanes_as_another_is():
    parts = {1: Range(0, 10, None), 2: Range(0, 30, 1)}
    assert shared(Range(40, 80, None), parts) == {1: (10, 20, None), 2: (30, 60, None)}
    assert shared(Range(4, 4, 4), {1: Range(0, 0, 0), 2: Range(0, 0, 0)}) == {1: (2, 2, 2), 2: (2, 2, 2)}


def test_a_limit_that_is_set_counts_and_not_what_was_learned_and_a_ceiling_is_never_passed():
    assert time_at_limits([pace(rpm=30, learned={"requests_rate": 0.1})], 32).low == 20.0, "and not 100"
    calls = Range(*[320 * 60_000_000] * 3)
    most = pace(requests=320, calls=calls, auto=True, concurrency=16, learned={"concurrency_limit": 500.0})
    assert time_at_limits([most], 1_000).high == 1_200.0
