"""``KEY=VALUE``: tags, and settings that change bodies."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.config import parse_setting, parse_tag

KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda key: key not in {"model", "input", "query"}
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("team=research", ("team", "research")),
        (" team = research ", ("team", "research")),
        ("url=a=b", ("url", "a=b")),
        ("v1.2-x_y=Grüße 你好", ("v1.2-x_y", "Grüße 你好")),
    ],
)
def test_a_tag_is_a_pair(text, pair):
    assert parse_tag(text) == pair


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("research", ["no '='", "team=research"]),
        ("=x", ["tag name ''", "team=research"]),
        ("a b=x", ["'a b'", "letters"]),
        ("team=", ["'team'", "1 to 256"]),
        pytest.param("team=" + "x" * 257, ["'team'", "1 to 256"], id="long"),
        ("team=a\x1b]0;x", ["'team'", "printable"]),
        ("k" * 65 + "=x", ["1 to 64"]),
    ],
)
def test_a_tag_that_is_none_is_refused_with_an_example(text, words):
    with pytest.raises(ValueError) as refusal:
        parse_tag(text)
    for word in words:
        assert word in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("max_tokens=512", ("max_tokens", "512")),
        ("temperature=0.70", ("temperature", "0.70")),
        ("logprobs=true", ("logprobs", "true")),
        ("seed=null", ("seed", "null")),
        ("stop=END", ("stop", '"END"')),
        ("stop=a=b", ("stop", '"a=b"')),
        ('user="007"', ("user", '"007"')),
        ('stop=["a", "b"]', ("stop", '["a", "b"]')),
        ('response_format={"type": "json_object"}', ("response_format", '{"type": "json_object"}')),
        ("suffix=Grüße", ("suffix", '"Grüße"')),
    ],
)
def test_a_setting_keeps_json_as_typed_and_quotes_bare_words(text, pair):
    assert parse_setting(text) == pair


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_tokens", ["no '='", "max_tokens=512"]),
        ("model=x", ["'model'", "--model NAME"]),
        ("stream=true", ["'stream'", "--stream"]),
        ("messages=[]", ["'messages'", "job file"]),
        ("input=x", ["'input'", "job file"]),
        ("a.b=1", ["'a.b'", "max_tokens=512"]),
        ("=1", ["''", "max_tokens=512"]),
        ("stop=", ["no value", "empty string"]),
        ("echo=True", ["True is not JSON", "echo=true"]),
        ("x=NaN", ["NaN is not JSON", "x=null"]),
        ("max_tokens=4k", ["'4k'", "max_tokens=4000", "string"]),
        ("x=1e999", ["not a JSON number"]),
        ("x=-inf", ["not a JSON number"]),
        ("x=007", ["not a JSON number"]),
        ('x={"a":', ["not valid JSON", "x=512"]),
        ('x={"a":1,"a":2}', ["a key is there twice"]),
        ("x=[NaN]", ["NaN is not a JSON value"]),
        ("x=[1e999]", ["too large"]),
        ('x="open', ["not valid JSON"]),
        pytest.param("x=" + "[" * 60_000, ["nested too deeply"], id="deep"),
        ("x=\udcff", ["not UTF-8"]),
        pytest.param("x=" + "y" * 70_000, ["65,536 characters", "job file"], id="long"),
    ],
)
def test_a_setting_that_would_fail_on_every_row_is_refused_before(text, words):
    with pytest.raises(ValueError) as refusal:
        parse_setting(text)
    for word in words:
        assert word in str(refusal.value)
    assert len(str(refusal.value)) < 300


@given(KEYS, JSON)
def test_every_json_value_survives(key, value):
    key_back, text = parse_setting(f"{key}={json.dumps(value)}")
    assert key_back == key
    assert json.loads(text) == value


@given(KEYS, st.text(max_size=40))
def test_whatever_is_taken_is_strict_json(key, text):
    try:
        _, taken = parse_setting(f"{key}={text}")
    except ValueError:
        return
    json.loads(taken.encode(), parse_constant=pytest.fail)
