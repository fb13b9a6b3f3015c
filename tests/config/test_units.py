"""Human units are read exactly, or refused with an example."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchrunner.config import PICO, parse_count, parse_duration, parse_money, parse_rate
from batchrunner.config.units import shown

READERS = (parse_count, parse_rate, parse_duration, parse_money)
ANYTHING = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="0123456789._+-kKMGmshd$eE ", max_size=50),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3k", 3_000),
        ("3K", 3_000),
        ("2M", 2_000_000),
        ("1G", 1_000_000_000),
        ("1_000", 1_000),
        ("2.5k", 2_500),
        (" 64 ", 64),
        ("0", 0),
        ("-1", -1),
        (1200, 1_200),
        (3.0, 3),
        (Decimal("1e3"), 1_000),
    ],
)
def test_a_count_is_a_whole_number(text, number):
    assert parse_count(text) == number
    assert isinstance(parse_count(text), int)


@pytest.mark.parametrize(
    ("text", "rate"), [("0.3", 0.3), ("3k", 3_000.0), ("2M", 2e6), (600, 600.0), (Decimal("0.6"), 0.6)]
)
def test_a_rate_may_be_a_fraction(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("10s", 10.0),
        ("5m", 300.0),
        ("6h", 21_600.0),
        ("2d", 172_800.0),
        ("1h30m", 5_400.0),
        ("1m500ms", 60.5),
        ("1.5s", 1.5),
        ("60", 60.0),
        (90, 90.0),
        (Decimal("0.25"), 0.25),
        ("0", 0.0),
    ],
)
def test_a_duration_is_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("12.50", 12_500_000_000_000),
        ("$12.50", 12_500_000_000_000),
        ("$ 1", PICO),
        ("2k", 2_000 * PICO),
        ("0.000000000001", 1),
        ("0", 0),
        (5, 5 * PICO),
        (0.1, 100_000_000_000),
        (Decimal("0.29"), 290_000_000_000),
    ],
)
def test_money_is_whole_pico_dollars(text, pico):
    assert parse_money(text) == pico


@pytest.mark.parametrize(
    ("parse", "given_", "words"),
    [
        (parse_count, "2.5", ["'2.5'", "not a whole number", "500, 3k or 2M"]),
        (parse_count, "many", ["'many'", "500, 3k or 2M"]),
        (parse_count, "3m", ["'3m'", "a million is a capital M"]),
        (parse_count, "1,000", ["'1,000'", "500, 3k or 2M"]),
        (parse_count, "1e6", ["'1e6'", "500, 3k or 2M"]),
        (parse_count, "\u0663", ["\\u0663", "500, 3k or 2M"]),
        (parse_count, "", ["''", "500, 3k or 2M"]),
        (parse_count, True, ["True", "500, 3k or 2M"]),
        (parse_count, float("nan"), ["nan", "500, 3k or 2M"]),
        (parse_count, Decimal("1e999999999"), ["1E+999999999", "500, 3k or 2M"]),
        pytest.param(parse_count, 16**9_999, ["a huge number", "500, 3k or 2M"], id="huge"),
        (parse_rate, "NaN", ["'NaN'", "600, 3k or 2M"]),
        (parse_rate, "inf", ["'inf'", "600, 3k or 2M"]),
        (parse_rate, float("inf"), ["inf", "600, 3k or 2M"]),
        (parse_money, "0.0000000000001", ["trillionth", "12.50"]),
        (parse_money, "-1", ["negative", "12.50"]),
        (parse_money, "12,50", ["'12,50'", "12.50"]),
        (parse_duration, "10 parsecs", ["'10 parsecs'", "50ms, 10s, 5m or 6h"]),
        (parse_duration, "1m1h", ["'1m1h'", "50ms, 10s, 5m or 6h"]),
        (parse_duration, "3k", ["'3k'", "50ms, 10s, 5m or 6h"]),
        (parse_duration, "-5", ["negative", "50ms, 10s, 5m or 6h"]),
        (parse_duration, "", ["''", "50ms, 10s, 5m or 6h"]),
    ],
)
def test_what_can_not_be_read_is_refused_with_an_example(parse, given_, words):
    with pytest.raises(ValueError) as refusal:
        parse(given_)
    for word in words:
        assert word in str(refusal.value)


@given(ANYTHING)
@example("9" * 41)
@example(16**9_999)
@example("1" * 100_000)
def test_anything_is_read_or_refused_in_a_short_printable_message(raw):
    for parse in READERS:
        try:
            parse(raw)
        except ValueError as refusal:
            assert len(str(refusal)) < 200  # noqa: PT017
            assert str(refusal).isascii()  # noqa: PT017
            assert str(refusal).isprintable()  # noqa: PT017


@given(st.integers(min_value=0, max_value=10**18), st.sampled_from([("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9)]))
def test_a_suffix_is_its_factor(number, suffix):
    letter, factor = suffix
    assert parse_count(f"{number}{letter}") == number * factor
    assert parse_count(f"{number:_}{letter}") == number * factor


@given(st.integers(min_value=0, max_value=10**24))
def test_every_amount_of_pico_dollars_survives_being_written_in_dollars(pico):
    assert parse_money(f"${pico // PICO}.{pico % PICO:012d}") == pico


@given(
    st.integers(0, 40), st.integers(0, 400), st.integers(0, 4_000), st.integers(0, 40_000), st.integers(0, 4_000_000)
)
def test_a_compound_duration_is_the_sum_of_its_parts(days, hours, minutes, seconds, millis):
    total = days * 86_400_000 + hours * 3_600_000 + minutes * 60_000 + seconds * 1_000 + millis
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s{millis}ms") == total / 1_000


@given(st.text())
def test_what_is_shown_in_a_message_is_short_and_can_not_steer_a_terminal(text):
    assert len(shown(text)) <= 40
    assert shown(text).isprintable()
