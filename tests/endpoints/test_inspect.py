"""What a body must have before it is queued, and what the queue learns of it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.endpoints.base import BadBody, Facts
from batchrunner.endpoints.registry import CHAT, COMPLETIONS, EMBEDDINGS, RERANK

USER = {"role": "user", "content": "Hi"}
CHAT_BODY = {"model": "m", "messages": [USER]}


def inspect(endpoint, body, **changes):
    value = body | changes if isinstance(body, dict) else body
    return endpoint.inspect(value if isinstance(value, bytes) else json.dumps(value).encode())


def refusal(endpoint, body, **changes):
    with pytest.raises(BadBody) as caught:
        inspect(endpoint, body, **changes)
    return caught.value


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"messages": [USER]}, "model", "`model` is missing"),
        ({"model": "", "messages": [USER]}, "model", "that is not empty"),
        ({"model": 7, "messages": [USER]}, "model", "`model`: expected a string, got a whole number"),
        ({"model": "m"}, "messages", "`messages` is missing"),
        ({"model": "m", "messages": []}, "messages", "that is not empty"),
        ({"model": "m", "messages": None}, "messages", "expected a list, got null"),
        ({"model": "m", "messages": {"role": "user"}}, "messages", "expected a list, got an object"),
        ({"model": "m", "messages": [USER, "Hi"]}, "messages", "`messages[1]`: expected an object, got a string"),
        ({"model": "m", "messages": [USER, {"content": "Hi"}]}, "messages", "`messages[1].role` is missing"),
        ({"model": "m", "messages": [{"role": None}]}, "messages", "`messages[0].role`: expected a string, got null"),
        (CHAT_BODY | {"stream": "yes"}, "stream", "expected true or false or null, got a string"),
        (CHAT_BODY | {"max_tokens": -1}, "max_tokens", "of at least 0"),
        (CHAT_BODY | {"max_tokens": "64"}, "max_tokens", "expected a whole number or null, got a string"),
        (CHAT_BODY | {"max_tokens": True}, "max_tokens", "got true or false"),
        (CHAT_BODY | {"max_completion_tokens": 10**30}, "max_completion_tokens", "`max_completion_tokens`"),
        (CHAT_BODY | {"n": 0}, "n", "of at least 1"),
        (CHAT_BODY | {"n": 129}, "n", "of at most 128"),
    ],
)
def test_a_chat_body_that_cannot_be_sent_is_refused_with_its_place(body, field, reason):
    found = refusal(CHAT, body)
    assert found.field == field
    assert reason in found.reason


@pytest.mark.parametrize("nothing", [{"stream": False}, {"stream": None}, {"stream_tokens": False}, {"n": None}])
def test_a_key_that_asks_for_nothing_is_no_reason_to_refuse(nothing):
    assert inspect(CHAT, CHAT_BODY, **nothing).max_out is None


@pytest.mark.parametrize(
    ("settings", "max_out"),
    [
        ({}, None),
        ({"n": 3}, None),
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 0}, 0),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": None}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 9}, 9),
        ({"max_completion_tokens": 9, "max_tokens": 7, "n": 128}, 1152),
    ],
)
def test_a_chat_body_allows_the_larger_bound_for_each_choice(settings, max_out):
    assert inspect(CHAT, CHAT_BODY, **settings).max_out == max_out


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","model":"dear","messages":[{"role":"user"}]}',
        b'{"model":"cheap","messages":[{"role":"user"}],"mod\\u0065l" : "dear"}',
        b'{"m\\u006fdel":"cheap","messages":[{"role":"user"}],"model":"dear"}',
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user"}],"max_tokens":100000}',
        b'{"model":"m","n":128,"messages":[{"role":"user"}],"n" :1}',
        b'{"model":"m","stream":true,"messages":[{"role":"user"}],"stream":false}',
        b'{"model":"m","max_completion_tokens":100000,"messages":[{"role":"user"}],"max_completion_tokens":null}',
    ],
)
def test_a_key_that_decides_about_money_must_not_be_there_twice(body):
    assert "is there twice" in refusal(CHAT, body).reason


def test_the_same_name_deeper_down_is_no_repeat():
    schema = {"type": "object", "properties": {"model": {"type": "string"}, "n": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}] * 2
    said = [{"role": "user", "content": '"model": "x", "model": "y", \u0006 and \\u0065'}]
    assert inspect(CHAT, {"model": "m", "messages": said, "tools": tools}).model == "m"


def test_the_input_is_estimated_from_the_messages_and_four_tokens_for_each():
    body = b'{"model":"m","messages":[{"role":"user","content":"12345678"}],"temperature":0.123456789}'
    messages = b'[{"role":"user","content":"12345678"}]'
    assert len(messages) == 38
    assert CHAT.inspect(body).est_in == 10 + 4
    twice = b'{"model":"m","messages":[{"role":"user","content":"12345678"},{"role":"user","content":"12345678"}]}'
    assert CHAT.inspect(twice).est_in == 19 + 8


def test_tools_and_schemas_are_part_of_the_prompt():
    alone = inspect(CHAT, CHAT_BODY).est_in
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 400}}]
    assert inspect(CHAT, CHAT_BODY, tools=tools).est_in >= alone + 100
    assert inspect(CHAT, CHAT_BODY, functions=tools).est_in >= alone + 100
    assert (
        inspect(CHAT, CHAT_BODY, response_format={"type": "json_schema", "json_schema": tools[0]}).est_in >= alone + 100
    )


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def test_an_image_counts_as_the_most_an_image_costs_and_its_bytes_as_nothing():
    text = {"type": "text", "text": "What is this?"}
    data = "data:image/png;base64," + "A" * 1_000_000
    parts = [text, image(data), image("https://example.com/a.png"), image(data)]
    estimate = inspect(CHAT, {"model": "m", "messages": [USER, {"role": "user", "content": parts}]}).est_in
    assert 3 * 6404 < estimate < 3 * 6404 + 120


def test_the_words_image_url_in_a_text_are_text():
    plain = inspect(CHAT, {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]})
    named = inspect(
        CHAT, {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "text": "a"}]}]}
    )
    assert named.est_in - plain.est_in in (1, 2)


def test_parts_of_an_unknown_kind_are_counted_as_text():
    body = {"model": "m", "messages": [{"role": "user", "content": [7, image("data:" + "A" * 4000)]}]}
    assert inspect(CHAT, body).est_in > 1000


@pytest.mark.parametrize(
    ("prompt", "settings", "max_out"),
    [
        ("a", {}, None),
        ("a", {"max_tokens": 5}, 5),
        ("a", {"max_tokens": 5, "n": 2}, 10),
        ("a", {"max_tokens": 5, "n": 2, "best_of": 4}, 20),
        (["a", "b", "c"], {"max_tokens": 5, "n": 2}, 30),
        ([1, 2, 3], {"max_tokens": 5}, 5),
        ([[1, 2], [3]], {"max_tokens": 5}, 10),
    ],
)
def test_a_completion_is_bounded_for_each_prompt_and_each_choice(prompt, settings, max_out):
    assert inspect(COMPLETIONS, {"model": "m", "prompt": prompt} | settings).max_out == max_out


NO_TEXTS = [None, 7, True, {}, {"text": "a"}, [], [None], [1.5], ["a", 1], [[1], "a"], [["a"]], [True], [[1], 2], [[]]]


@pytest.mark.parametrize("input_", [*NO_TEXTS, [[1], []]])
@pytest.mark.parametrize(("endpoint", "field"), [(COMPLETIONS, "prompt"), (EMBEDDINGS, "input")])
def test_an_input_of_another_shape_is_refused(endpoint, field, input_):
    found = refusal(endpoint, {"model": "m", field: input_})
    assert found.field == field
    assert f"`{field}" in found.reason


@pytest.mark.parametrize("empty", ["", [""], ["a", ""]])
def test_no_text_to_be_embedded_may_be_empty(empty):
    assert refusal(EMBEDDINGS, {"model": "m", "input": empty}).field == "input"
    assert inspect(COMPLETIONS, {"model": "m", "prompt": empty}).est_in >= 1


def test_tokens_are_counted_not_estimated():
    assert inspect(EMBEDDINGS, {"model": "m", "input": [[1] * 70, [2] * 30]}) == Facts("m", 100, 0)
    assert inspect(COMPLETIONS, {"model": "m", "prompt": [1] * 100}).est_in == 100


@pytest.mark.parametrize("asked", [{"stream": True}, {"stream_tokens": True}])
def test_a_body_that_asks_for_a_stream_gets_one_and_no_other_does(asked):
    body = {"model": "m", "prompt": "a", "max_tokens": 3}
    assert inspect(COMPLETIONS, body | asked) == inspect(COMPLETIONS, body)
    assert inspect(CHAT, CHAT_BODY | asked) == inspect(CHAT, CHAT_BODY)
    for endpoint, plain in ((COMPLETIONS, body), (CHAT, CHAT_BODY)):
        assert endpoint.feed(json.dumps(plain | asked).encode()) is not None
        assert endpoint.feed(json.dumps(plain).encode()) is None
        assert endpoint.feed(json.dumps(plain | {"stream": False}).encode()) is None
        assert endpoint.feed(json.dumps(plain | {"user": '"stream": true'}).encode()) is None


def test_a_key_written_in_escapes_asks_for_a_stream_all_the_same():
    assert CHAT.feed(b'{"model":"m","messages":[],"str\\u0065am":true}') is not None
    assert (
        refusal(CHAT, b'{"model":"m","messages":[{"role":"user"}],"stream":true,"str\\u0065am":false}').field
        == "stream"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": "m", "documents": ["a"]}, "query"),
        ({"model": "m", "query": "", "documents": ["a"]}, "query"),
        ({"model": "m", "query": "q"}, "documents"),
        ({"model": "m", "query": "q", "documents": []}, "documents"),
        ({"model": "m", "query": "q", "documents": "a"}, "documents"),
        ({"model": "m", "query": "q", "documents": ["a", 7]}, "documents"),
    ],
)
def test_a_ranking_needs_a_query_and_documents(body, field):
    assert refusal(RERANK, body).field == field


def test_the_query_is_read_with_every_document():
    few = inspect(RERANK, {"model": "m", "query": "x" * 400, "documents": ["a"] * 2}).est_in
    many = inspect(RERANK, {"model": "m", "query": "x" * 400, "documents": ["a"] * 12}).est_in
    assert many - few >= 1000


ODDITIES = [0, 1, 1.5, "", "a", [], [[]], {}, ["a"], [""], [1], [[1], []], [USER], {"role": 1}]
VALUES = st.none() | st.booleans() | st.integers() | st.sampled_from(ODDITIES)
GOOD = {"model": "m", "messages": [USER], "prompt": "a", "input": ["a"], "query": "q", "documents": ["d"]}
MORE = ["n", "max_tokens", "max_completion_tokens", "stream", "tools", "suffix", "best_of", "other"]
KEYS = st.sampled_from([*GOOD, *MORE])


@given(changes=st.dictionaries(KEYS, VALUES, max_size=3))
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, EMBEDDINGS, RERANK], ids=lambda endpoint: endpoint.name)
def test_every_body_is_either_refused_or_gives_sound_facts(endpoint, changes):
    with contextlib.suppress(BadBody):
        facts = inspect(endpoint, GOOD, **changes)
        assert facts.model == changes.get("model", "m") != ""
        assert facts.est_in >= 1
        assert facts.max_out is None or facts.max_out >= 0
