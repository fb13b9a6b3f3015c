"""Answers are checked against the schemas of their own requests, and hostile schemas get nowhere."""

import json
import sys
import time

import pytest

from batchrunner.endpoints.schemas import MissingExtraError, Schemas
from batchrunner.endpoints.structured import CHAT_FORMS, fault, raised
from batchrunner.endpoints.unfolding import Unfolding, Unusable

PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["age"]}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "who?"}]}


@pytest.fixture
def schemas():
    pytest.importorskip("jsonschema_rs", reason="the extra `schema` is not installed")
    return Schemas()


def asked(response_format):
    return json.dumps({**ASKED, "response_format": response_format}).encode()


def answered(*texts, **more):
    choices = [{"message": {"content": text, **more}, "finish_reason": "stop"} for text in texts]
    return json.dumps({"choices": choices}).encode()


SPELLINGS = {
    "openai": {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}},
    "together": {"type": "json_schema", "schema": PERSON},
    "together of 2024": {"type": "json_object", "schema": PERSON},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_schema_is_found_in_every_spelling(schemas, spelling):
    body = asked(SPELLINGS[spelling])
    assert fault(CHAT_FORMS, body, answered('{"age": 3}'), schemas) is None
    found = fault(CHAT_FORMS, body, answered('{"age": "3"}'), schemas)
    assert found.flag == 'schema: $.age: "3" is not of type "integer"'
    assert found.said == '{"age": "3"}'
    assert fault(CHAT_FORMS, body, answered("{}"), schemas).flag == 'schema: $: "age" is a required property'


@pytest.mark.parametrize("wish", [None, {"type": "text"}, {"type": "regex", "pattern": "a"}, "json"])
def test_a_request_that_asks_for_no_json_is_not_checked(wish):
    assert fault(CHAT_FORMS, asked(wish), answered("Hello"), None) is None


@pytest.mark.parametrize("text", ["Certainly!", '{"a": 1', "```json\n{}\n```", '{"a": NaN}', "{} {}"])
def test_json_mode_is_checked_for_being_json_without_the_extra(text):
    found = fault(CHAT_FORMS, asked({"type": "json_object"}), answered(text), None)
    assert found.flag.startswith("not_json: the answer is not JSON")
    assert fault(CHAT_FORMS, asked({"type": "json_object"}), answered('{"a": [1.5e3]}'), None) is None


def test_the_reasoning_before_an_answer_is_no_part_of_it():
    wish = asked({"type": "json_object"})
    assert fault(CHAT_FORMS, wish, answered('<think>Is it {"a"?</think>\n{"a": 1}'), None) is None
    assert fault(CHAT_FORMS, wish, answered("<think>hm</think>"), None).flag == "empty"


def test_every_choice_is_checked_and_tool_calls_are_not():
    wish = asked({"type": "json_object"})
    assert fault(CHAT_FORMS, wish, answered("{}", "no"), None).said == "no"
    assert fault(CHAT_FORMS, wish, answered(None, tool_calls=[{"id": "c"}]), None) is None


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(MissingExtraError, match="not installed") as caught:
        Schemas()
    assert "batchrunner[schema]" in caught.value.hint


def doubling(levels):
    both = {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(levels)}
    return {"$defs": {**both, f"a{levels}": False}, "$ref": "#/$defs/a0"}


def nested(levels, schema):
    for _ in range(levels):
        schema = {"not": schema}
    return schema


HOSTILE = {
    "from the network": ({"$ref": "http://127.0.0.1:9/schema"}, 1),
    "from the disk": ({"$ref": "file:///etc/passwd"}, 1),
    "from beside an id": ({"$id": "http://127.0.0.1:9/a/", "$ref": "b"}, 1),
    "a metaschema of its own": ({"$schema": "http://127.0.0.1:9/meta"}, 1),
    "refers to itself": ({"$ref": "#"}, 1),
    "doubles and doubles": (doubling(60), 1),
    "tree of two sides": (
        {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["b"]}] * 2},
        json.loads('{"a":' * 90 + "1" + "}" * 90),
    ),
    "a huge pattern": ({"pattern": "(((a{1,100}){1,100}){1,100}){1,100}"}, "a"),
    "looks ahead": ({"pattern": "^(?=a)"}, "a"),
    "too deep": (nested(900, True), 1),
    "no schema": ({"type": 3}, 1),
    "a number": (3, 1),
    "huge": ({"enum": ["x" * 300_000]}, 1),
    "a schema with an id inside": ({"properties": {"a": {"$id": "http://127.0.0.1:9/x"}}}, 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_h_hostile_schema_ends_in_a_flag_within_a_second(schemas, name):
    schema, value = HOSTILE[name]
    began = time.process_time()
    found = schemas.problem(json.dumps(schema).encode(), value, 200)
    assert found.startswith("unchecked: its schema can't be used: "), found
    assert time.process_time() - began < 1, "of the processor, whoever else is at work here"
    assert len(found) < 350


def test_a_pattern_that_would_take_ages_elsewhere_takes_no_time(schemas):
    began = time.process_time()
    found = schemas.problem(b'{"pattern": "^(a+)+$"}', "a" * 100_000 + "b", 1)
    assert found.startswith("schema: $: ")
    assert time.process_time() - began < 1, "of the processor, whoever else is at work here"


def test_schemas_that_refer_to_themselves_are_checked_where_the_answer_is_no_tower(schemas):
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "v": {"type": "integer"}}}
    good = {"v": 1, "left": {"v": 2}, "right": {"left": {"v": 3}}}
    assert schemas.problem(json.dumps(tree).encode(), good, 8) is None
    good["right"]["left"]["v"] = "3"
    assert schemas.problem(json.dumps(tree).encode(), good, 8).startswith('schema: $.right.left.v: "3"')


def test_a_schema_is_compiled_once_and_few_are_kept(schemas):
    for n in range(200):
        assert schemas.problem(b'{"const": %d}' % n, n, 1) is None
    assert len(schemas._kept) == 64


def test_the_size_of_a_schema_is_counted_with_its_references_written_out():
    assert [Unfolding(doubling(levels)).size for levels in range(4)] == [2, 6, 14, 30]  # each doubles two references
    assert Unfolding({"properties": {"a": {"$ref": "#"}}}).size is None
    with pytest.raises(Unusable, match="take too long"):
        Unfolding(doubling(40)).refuse_work(1, 1)
    Unfolding(doubling(10)).refuse_work(1, 1)


def test_raising_a_bound_raises_each_that_is_set_and_nothing_else():
    body = b'{"model": "m", "max_tokens": 15, "max_completion_tokens":10,"n":3}'
    assert raised(body, 1.5) == b'{"model":"m","max_tokens":23,"max_completion_tokens":15,"n":3}'
    assert raised(b'{"model": "m", "n": 3}', 2) is None
    assert raised(b'{"max_tokens": null}', 2) is None


def test_asking_again_appends_an_exchange_and_leaves_the_rest_as_it_is():
    body = b'{"model":"m","messages": [ {"role":"user","content":"h\\u00e9"} ],"x":1.0}'
    again = CHAT_FORMS.again(body, '{"a"', 'it is "bad"')
    said = json.loads(again)
    assert again.startswith(b'{"model":"m","messages":[ {"role":"user","content":"h\\u00e9"},{"role":"assistant"')
    assert again.endswith(b'],"x":1.0}')
    assert said["messages"][1] == {"role": "assistant", "content": '{"a"'}
    assert 'it is "bad"' in said["messages"][2]["content"]
    twice = json.loads(CHAT_FORMS.again(again, "{", "worse"))
    assert [message["role"] for message in twice["messages"]] == ["user", "assistant", "user", "assistant", "user"]
