"""What bodies and answers tell of pictures, sound, characters and stated costs."""

import json
from decimal import ROUND_CEILING, Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.usage import Usage
from batchrunner.endpoints.units import clip, completed, delivered, heard, heard_in, pictures, spoken, stated
from batchrunner.endpoints.usage import decimal_of, generated, itemized, milliseconds, timed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def raw(value):
    return msgspec.Raw(json.dumps(value).encode())


# --------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("body", "images", "pixels", "steps"),
    [
        ({}, 1, 1024 * 1024, 0),
        ({"width": 512, "height": 256}, 1, 512 * 256, 0),
        ({"width": 512}, 1, 512 * 1024, 0),
        ({"width": 512, "height": 256, "n": 3, "steps": 8}, 3, 3 * 512 * 256, 8),
        ({"size": "1536x1024", "n": 2}, 2, 2 * 1536 * 1024, 0),
        ({"size": "auto"}, 1, 0, 0),
        ({"size": 7}, 1, 0, 0),
        ({"size": "0x10"}, 1, 0, 0),
        ({"aspect_ratio": "16:9"}, 1, 0, 0),
        ({"image_url": "https://x/1.png"}, 1, 0, 0),
        ({"width": -5, "height": 256}, 1, 0, 0),
        ({"width": "512", "height": 256}, 1, 0, 0),
        ({"width": True, "height": 256}, 1, 0, 0),
        ({"steps": 0}, 1, 1024 * 1024, 0),
        ({"steps": "4"}, 1, 1024 * 1024, 0),
    ],
)
def test_a_body_tells_how_many_pictures_of_what_size(body, images, pixels, steps):
    assert pictures(body) == Usage(images=images, pixels=pixels, pixel_steps=pixels * steps)


@pytest.mark.parametrize("n", [0, -1, "2", 1.5, True, 10**9])
def test_a_number_of_pictures_that_can_not_be_is_no_count(n):
    assert pictures({"n": n}) is None


@given(st.dictionaries(st.sampled_from(["n", "width", "height", "size", "steps", "aspect_ratio"]), JSON))
def test_whatever_a_body_holds_its_pictures_are_bounded_whole_numbers(body):
    asked = pictures(body)
    if asked is not None:
        assert all(type(amount) is int and 0 <= amount <= 128 * 16_384**2 * 1_000 for amount in asked[:-1])
        assert asked.pixels % asked.images == 0


@given(st.integers(1, 10), st.integers(1, 2_000), st.integers(1, 2_000), st.integers(1, 50), st.integers(0, 10))
def test_the_pictures_that_came_are_as_large_as_those_that_were_asked_for(n, width, height, steps, came):
    asked = pictures({"n": n, "width": width, "height": height, "steps": steps})
    got = delivered(asked, came)
    assert (got.images, got.pixels, got.pixel_steps) == (came, came * width * height, came * width * height * steps)


def test_pictures_of_a_body_that_told_nothing_are_only_counted():
    assert delivered(None, 3) == delivered(Usage(characters=5), 3) == Usage(images=3)


# ------------------------------------------------------------------------------------------------------------ sound


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (9, 9_000), (12.34, 12_340), ("2.95", 2_950), (0.0001, 1), (1.0005, 1_001), (0.1, 100), (1e-300, 1),
        (0, None), (-1, None), (None, None), ("long", None), ("", None), (float("nan"), None), ("Infinity", None),
        (True, None), ([9], None), (10**9, None), ("9" * 500, None), ("1e-999999999", 1),
    ],
)  # fmt: skip
def test_seconds_become_whole_milliseconds_rounded_up(seconds, expected):
    assert milliseconds(seconds) == expected


def test_a_number_of_thousands_of_digits_is_none():
    assert milliseconds(10**5_000) is decimal_of(10**5_000) is None


@given(st.integers(1, 10**9))
def test_every_millisecond_comes_back_from_the_shortest_float_of_it(amount):
    assert milliseconds(amount / 1000) == amount


@given(st.decimals(min_value=Decimal("0.001"), max_value=10**6, places=5))
def test_digits_in_text_are_exact(seconds):
    assert milliseconds(str(seconds)) == int((seconds * 1_000).to_integral_value(ROUND_CEILING))


def test_the_length_of_a_transcript_is_its_duration_or_where_its_last_part_ends():
    assert heard({"duration": 12.5, "segments": [{"end": 99}]}) == Usage(milliseconds=12_500)
    assert heard({"segments": [{"end": 3.5}, {"end": 2}, {"end": None}, 7]}) == Usage(milliseconds=3_500)
    assert heard({"words": [{"end": 4.25}], "segments": [{"end": 4}]}) == Usage(milliseconds=4_250)
    assert heard({"text": "hello"}) is heard({"duration": "?"}) is heard({"segments": {}}) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"1\n00:00 --> 00:01\nhello", b"\xff", b"[" * 100_000, b'{"text":"a"}'])
def test_an_answer_that_does_not_tell_its_length_is_not_of_no_length(body):
    assert heard_in(body) is None


def test_the_bytes_of_an_answer_tell_its_length():
    assert heard_in(b'{"text":"hi","duration":1.2345,"language":"en"}') == Usage(milliseconds=1_235)


def test_characters_are_code_points():
    assert spoken("na\u00efve \U0001f600") == Usage(characters=7)


def test_a_film_is_as_long_as_its_body_asks():
    assert clip({"seconds": "5"}) == Usage(milliseconds=5_000)
    assert clip({}) is clip({"seconds": "a while"}) is None


# ----------------------------------------------------------------------------------------------------- stated costs


@pytest.mark.parametrize(
    ("usd", "pico"),
    [
        (0.28, 280_000_000_000), (1, 10**12), ("0.000000000001", 1), (0, 0), (1e-13, 1), (0.1 + 0.2, 300_000_000_001),
        (-1, None), (None, None), ("free", None), (float("inf"), None), (True, None), (10**9, None), ({}, None),
    ],
)  # fmt: skip
def test_what_a_provider_says_it_costs_is_taken_to_the_last_digit(usd, pico):
    assert stated(usd) == (None if pico is None else Usage(cost=pico))


@given(JSON)
def test_whatever_is_said_is_a_sound_cost_or_none(said):
    told = stated(said)
    assert told is None or 0 <= told.cost <= 10_000 * 10**12
    assert decimal_of(said) is None or decimal_of(said).is_finite()


# ------------------------------------------------------------------------------------ what only the body can complete


ASKED = Usage(images=4, pixels=400, pixel_steps=1_600)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, ASKED),
        (Usage(images=3), Usage(images=3, pixels=300, pixel_steps=1_200)),
        (Usage(50, 0, 4_000, images=3), None),
        (Usage(images=3, pixels=77), None),
        (Usage(images=3, cost=5), None),
        (Usage(milliseconds=5), None),
    ],
)
def test_an_answer_that_counts_too_little_is_completed_by_its_body(usage, expected):
    assert completed(usage, ASKED) == expected


def test_a_body_that_tells_nothing_completes_nothing():
    assert completed(None, None) is completed(Usage(images=3), Usage(images=4)) is None


# ---------------------------------------------------------------------------------------------------- OpenAI's usage


def test_the_tokens_of_a_picture_are_told_apart_from_those_of_its_prompt():
    sent = {
        "input_tokens": 50, "output_tokens": 4_160, "total_tokens": 4_210,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }  # fmt: skip
    assert itemized(raw(sent)).usage == Usage(50, 0, 4_160, 0, image_input=40)
    more = {**sent, "output_tokens_details": {"image_tokens": 4_100, "text_tokens": 60}}
    assert itemized(raw(more)).usage == Usage(50, 0, 4_160, 0, image_input=40, image_output=4_100)


def test_a_transcript_is_counted_by_its_seconds_or_by_tokens():
    assert timed(raw({"type": "duration", "seconds": 9})).usage == Usage(milliseconds=9_000)
    sent = {
        "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
    }  # fmt: skip
    counted = timed(raw(sent))
    assert counted.usage == Usage(14, 0, 45, 0, audio_input=10)
    assert counted.raw == bytes(raw(sent))
    assert timed(raw({"type": "duration", "seconds": "?"})).usage is None
    assert timed(raw(None)).usage is timed(msgspec.Raw()).usage is None


def test_a_response_tells_what_was_cached_and_reasoned():
    sent = {
        "input_tokens": 100, "input_tokens_details": {"cached_tokens": 60}, "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 30}, "total_tokens": 140,
    }  # fmt: skip
    assert itemized(raw(sent)).usage == Usage(100, 60, 40, 30)


def test_what_a_chat_heard_said_and_saw_is_told_apart():
    base = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
    sound = {"prompt_tokens_details": {"audio_tokens": 30}, "completion_tokens_details": {"audio_tokens": 25}}
    assert generated(raw(base | sound)).usage == Usage(100, 0, 40, 0, audio_input=30, audio_output=25)
    loose = {"prompt_tokens_details": {"audio_tokens": 30, "cached_tokens": "?"}}
    assert generated(raw(base | loose)).usage == Usage(100, 0, 40, 0, audio_input=30)
    sight = {"prompt_tokens_details": {"audio_tokens": 900, "image_tokens": 80, "cached_tokens": 10}}
    assert generated(raw(base | sight)).usage == Usage(100, 10, 40, 0, audio_input=100)
    none = {"prompt_tokens_details": {"audio_tokens": 0, "image_tokens": None}}
    assert generated(raw(base | none)).usage == Usage(100, 0, 40, 0)


FIGURES = st.integers(-5, 10**10) | st.none() | st.text(max_size=3) | st.floats() | st.booleans() | st.integers()
NAMES = ("cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens")
DETAILS = st.none() | st.dictionaries(st.sampled_from(NAMES), FIGURES) | FIGURES
GROUPS = (
    *("input_tokens_details", "input_token_details", "output_tokens_details"),
    *("prompt_tokens_details", "completion_tokens_details"),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens"), FIGURES),
            **dict.fromkeys(GROUPS, DETAILS),
            "seconds": FIGURES,
        },
    )
)
def test_whatever_is_sent_details_are_never_more_than_what_they_are_a_part_of(sent):
    for usage in (read(raw(sent)).usage for read in (generated, itemized, timed)):
        if usage is not None:
            assert all(type(amount) is int and amount >= 0 for amount in usage[:-1])
            assert usage.audio_input + usage.image_input <= usage.input
            assert usage.audio_output + usage.image_output <= usage.output
            assert usage.total > 0 or usage.milliseconds > 0
