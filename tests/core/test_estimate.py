"""Tokens and seconds before the call, and what answers teach."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.estimate import ASSUMED_OUTPUT, Calibration, deadline, tokens, upper
from batchrunner.core.usage import Usage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("привет", 3),
        ("漢字仮名", 4),
        ("한국어", 3),
        ("😀😀😀😀", 8),
        ("abcd漢字", 3),
        ("é", 1),
    ],
)
def test_the_rule_by_script(text, expected):
    assert tokens(text.encode()) == expected


@given(st.binary(max_size=300))
def test_an_estimate_is_never_below_a_quarter_of_the_bytes_whatever_they_are(data):
    assert tokens(data) >= -(-len(data) // 4)
    assert upper(tokens(data)) >= len(data)


@given(st.text(max_size=100))
def test_an_estimate_of_a_text_is_never_above_one_token_a_byte(text):
    assert tokens(text.encode()) <= len(text.encode())


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_longer_text_is_never_fewer_tokens(one, two):
    assert tokens((one + two).encode()) >= max(tokens(one.encode()), tokens(two.encode()))


@pytest.mark.parametrize(
    ("max_out", "seconds"), [(None, 600), (0, 120), (600, 120), (601, 120.1), (10_000, 1_060), (10**9, 3_600)]
)
def test_the_deadline_grows_with_the_output_bound_between_two_minutes_and_an_hour(max_out, seconds):
    assert deadline(max_out) == pytest.approx(seconds)


USED = Usage(150, 0, 250, 0)


def taught(answers, *, est_in=100, max_out=1_000, usage=USED):
    calibration = Calibration()
    for _ in range(answers):
        calibration.observe(est_in, max_out, usage)
    return calibration


def test_guesses_hold_until_twenty_answers_came():
    young = taught(19)
    assert (young.input(80), young.output(400), young.output(None)) == (80, 400, ASSUMED_OUTPUT)
    taught_well = taught(20)
    assert taught_well.input(80) == pytest.approx(120)
    assert taught_well.output(400) == pytest.approx(100)
    assert taught_well.output(None) == ASSUMED_OUTPUT


def test_without_a_bound_the_lanes_own_length_is_expected():
    assert taught(20, max_out=None).output(None) == pytest.approx(250)


def test_an_estimate_of_nothing_teaches_nothing_about_input():
    assert taught(30, est_in=0).input(80) == 80


def test_nothing_is_generated_where_the_bound_is_nothing():
    assert taught(30, max_out=0, usage=Usage(150)).output(0) == 0


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 9_000)), min_size=20, max_size=60))
def test_what_is_learned_makes_the_sum_of_the_estimates_right(calls):
    calibration = Calibration()
    for est_in, real in calls:
        calibration.observe(est_in, 0, Usage(real))
    corrected = sum(calibration.input(est_in) for est_in, _ in calls)
    assert corrected == pytest.approx(sum(real for _, real in calls), rel=1e-6, abs=1e-6)


def test_what_was_learned_long_ago_is_forgotten():
    calibration = taught(2_000)
    for _ in range(1_500):
        calibration.observe(100, 1_000, Usage(300, 0, 900, 0))
    assert calibration.input(100) == pytest.approx(300, rel=0.01)
    assert calibration.output(1_000) == pytest.approx(900, rel=0.01)


def test_what_was_counted_in_other_units_teaches_nothing_of_tokens():
    calibration = Calibration()
    for _ in range(30):
        calibration.observe(100, None, Usage(milliseconds=9_000))
        calibration.observe(100, 50, Usage(cost=5))
    assert calibration.learned() == Calibration().learned()


@pytest.mark.parametrize("usage", [Usage(-1), Usage(10**18), Usage(10, 0, -5), Usage(10, 0, 10**18)])
def test_an_absurd_usage_teaches_nothing(usage):
    calibration = taught(30)
    calibration.observe(100, 1_000, usage)
    assert calibration.input(100) == pytest.approx(150)
    assert calibration.output(1_000) == pytest.approx(250)


def test_what_was_learned_survives_a_restart_as_json():
    before = taught(150)
    after = Calibration(json.loads(json.dumps(before.learned())))
    assert after.learned() == before.learned()
    assert after.input(80) == before.input(80)
    assert after.output(400) == before.output(400)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, "many", None])
@pytest.mark.parametrize("part", ["input_answers", "input_guessed", "input_real"])
def test_what_can_not_have_been_learned_is_forgotten(part, value):
    calibration = Calibration(taught(150).learned() | {part: value})
    assert calibration.input(80) == 80
    assert calibration.output(400) == pytest.approx(100)
