"""What is odd about a good answer is flagged, whatever shape it comes in; what is not odd has no flags."""

import json

import pytest

from batchrunner.core.attempt import Reply
from batchrunner.core.flags import word_of
from batchrunner.endpoints.registry import CHAT, COMPLETIONS
from tests.endpoints.replies import reply, together

LONG = "It is a quiet evening, and nothing in this sentence is odd at all, nor is it short."
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def flags(message, finish="stop", more=()):
    choices = [{"message": message, "finish_reason": finish}, *more]
    outcome = CHAT.read(reply(json.dumps({"id": "x", "choices": choices}).encode()), together)
    assert isinstance(outcome, Reply), outcome
    return outcome.flags


def words(*given, **named):
    return tuple(map(word_of, flags(*given, **named)))


@pytest.mark.parametrize(
    "message",
    [
        {"content": LONG},
        {"content": LONG, "tool_calls": [], "refusal": None},
        {"content": "ok"},
        {"content": [{"type": "text", "text": "ok"}]},
        {"content": None, "tool_calls": [CALL]},
        {"content": "", "function_call": {"name": "f", "arguments": "{}"}},
    ],
)
def test_an_ordinary_answer_has_no_flags(message):
    assert flags(message) == ()


@pytest.mark.parametrize("content", [None, "", "  \n ", []])
def test_an_answer_without_a_sign_is_empty(content):
    assert words({"content": content}) == ("empty",)
    assert words({"content": content, "tool_calls": []}) == ("empty",)


def test_a_missing_content_is_empty_too():
    assert words({"role": "assistant"}) == ("empty",)


def test_an_answer_that_met_its_bound_is_cut_off():
    assert words({"content": LONG}, "length") == ("cut_off",)
    assert words({"content": None}, "length") == ("cut_off", "empty")


def test_a_refusal_is_not_called_empty():
    assert words({"content": None, "refusal": "I won't."}) == ("refused",)


def test_what_a_filter_withheld_is_not_called_empty():
    assert words({"content": None}, "content_filter") == ("filtered",)


@pytest.mark.parametrize("arguments", ['{"a": 1', "", "a=1", None, {"a": 1}, '{"a": NaN}'])
def test_arguments_that_are_not_json_are_flagged_with_the_call(arguments):
    good, bad = CALL, {**CALL, "function": {"name": "look_up", "arguments": arguments}}
    (found,) = flags({"content": None, "tool_calls": [good, bad]}, "tool_calls")
    assert found.startswith("tool_arguments: call 1 (look_up): its arguments are ")


def test_one_odd_choice_of_several_is_enough_and_each_flag_is_there_once():
    odd = {"message": {"content": ""}, "finish_reason": "length"}
    assert words({"content": LONG}, more=[odd, odd]) == ("cut_off", "empty")


def test_an_empty_completion_is_flagged():
    body = json.dumps({"choices": [{"text": "", "finish_reason": "length"}]}).encode()
    outcome = COMPLETIONS.read(reply(body), together)
    assert tuple(map(word_of, outcome.flags)) == ("cut_off", "empty")
