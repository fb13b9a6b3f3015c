"""Usage in all its shapes: exact where it is told, unknown where it can't be, never zero and never absurd."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.usage import Usage
from batchrunner.endpoints.usage import consumed, generated


def raw(value):
    return msgspec.Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


BASE = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}


@pytest.mark.parametrize(
    ("more", "usage"),
    [
        ({}, Usage(100, 0, 40, 0)),
        ({"cached_tokens": 30}, Usage(100, 30, 40, 0)),
        ({"cached_tokens": None}, Usage(100, 0, 40, 0)),
        ({"prompt_tokens_details": None, "completion_tokens_details": None}, Usage(100, 0, 40, 0)),
        ({"prompt_tokens_details": {}, "cached_tokens": 30}, Usage(100, 30, 40, 0)),
        ({"prompt_tokens_details": {"cached_tokens": None}, "cached_tokens": 30}, Usage(100, 30, 40, 0)),
        ({"prompt_tokens_details": {"cached_tokens": 20}, "cached_tokens": 30}, Usage(100, 20, 40, 0)),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 30}, Usage(100, 0, 40, 0)),
        ({"completion_tokens_details": {"reasoning_tokens": 15}}, Usage(100, 0, 40, 15)),
        ({"completion_tokens_details": {"reasoning_tokens": 41}}, Usage(100, 0, 40, 40)),
        ({"cached_tokens": 101}, Usage(100, 100, 40, 0)),
        ({"cached_tokens": -1}, Usage(100, 0, 40, 0)),
        ({"cached_tokens": "30"}, Usage(100, 0, 40, 0)),
        ({"prompt_tokens_details": "none"}, Usage(100, 0, 40, 0)),
        ({"prompt_tokens_details": [1], "cached_tokens": 30}, Usage(100, 30, 40, 0)),
        ({"completion_tokens": 40.0}, Usage(100, 0, 40, 0)),
        ({"completion_tokens": None}, Usage(100, 0, 40, 0)),
        ({"completion_tokens": 0}, Usage(100, 0, 0, 0)),
    ],
)
def test_what_was_generated_is_read_in_every_shape(more, usage):
    assert generated(raw(BASE | more)).usage == usage


@pytest.mark.parametrize(
    "sent",
    [
        b"null",
        b"",
        b"{}",
        b"[]",
        b"7",
        b'"none"',
        {"total_tokens": 140},
        {"prompt_tokens": 100},
        BASE | {"prompt_tokens": -1},
        BASE | {"completion_tokens": -1},
        BASE | {"prompt_tokens": "100"},
        BASE | {"prompt_tokens": True},
        BASE | {"prompt_tokens": 1e308},
        BASE | {"prompt_tokens": 10**9 + 1},
        BASE | {"completion_tokens": 10**30},
        BASE | {"completion_tokens": 1.5},
        BASE | {"completion_tokens": None, "total_tokens": 99},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        b'{"prompt_tokens":1e999,"completion_tokens":1}',
        b'{"prompt_tokens":' + b"9" * 5000 + b',"completion_tokens":1}',
    ],
)
def test_figures_that_cannot_be_true_are_unknown(sent):
    assert generated(raw(sent)).usage is None


def test_what_was_sent_is_kept_to_the_byte_unless_it_is_nothing_or_huge():
    sent = b'{ "prompt_tokens" : 1,\n"completion_tokens":1, "new":  {"x":[1.50]} }'
    assert generated(msgspec.Raw(sent)).raw == sent
    assert generated(raw(b"null")).raw is None
    assert generated(raw(b"")).raw is None
    assert generated(raw(b'"broken"')).raw == b'"broken"'
    assert generated(raw(BASE | {"x": "x" * 5000})) == (Usage(100, 0, 40, 0), None)


def test_embeddings_count_the_prompt_and_rankings_the_total():
    both = raw({"prompt_tokens": 5, "total_tokens": 7})
    assert consumed(both, "prompt_tokens", "total_tokens").usage == Usage(5, 0, 0, 0)
    assert consumed(both, "total_tokens", "prompt_tokens").usage == Usage(7, 0, 0, 0)
    assert consumed(raw({"total_tokens": 7}), "prompt_tokens", "total_tokens").usage == Usage(7, 0, 0, 0)
    assert consumed(raw({"prompt_tokens": 5}), "total_tokens", "prompt_tokens").usage == Usage(5, 0, 0, 0)
    assert consumed(raw({"prompt_tokens": -5}), "prompt_tokens", "total_tokens").usage is None
    assert consumed(raw({"prompt_tokens": None, "total_tokens": 7}), "prompt_tokens", "total_tokens").usage == Usage(7)
    assert consumed(raw({"prompt_tokens": "5", "total_tokens": 7}), "prompt_tokens", "total_tokens").usage is None
    assert consumed(raw({}), "prompt_tokens", "total_tokens").usage is None
    assert consumed(raw(b"null"), "prompt_tokens", "total_tokens") == (None, None)


FIGURES = st.integers(-5, 10**10) | st.none() | st.text(max_size=3) | st.floats() | st.booleans() | st.integers()
DETAILS = st.none() | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "x"]), FIGURES)


@given(
    sent=st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": FIGURES,
            "completion_tokens": FIGURES,
            "total_tokens": FIGURES,
            "cached_tokens": FIGURES,
            "prompt_tokens_details": DETAILS | FIGURES,
            "completion_tokens_details": DETAILS | FIGURES,
        },
    )
)
def test_whatever_is_sent_the_figures_are_sound_or_unknown(sent):
    for counted in (generated(raw(sent)), consumed(raw(sent), "prompt_tokens", "total_tokens")):
        usage = counted.usage
        if usage is not None:
            assert 0 <= usage.cached <= usage.input <= 10**9
            assert 0 <= usage.reasoning <= usage.output <= 10**9
            assert usage.total > 0
