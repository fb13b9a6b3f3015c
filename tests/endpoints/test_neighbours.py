"""Responses, moderations and scores: what may be asked, and what is odd about an answer."""

import json

import pytest

from batchrunner.core.attempt import Failure, Reply
from batchrunner.core.flags import word_of
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.reasoning import flattened
from batchrunner.endpoints.registry import MODERATIONS, RESPONSES, SCORE
from batchrunner.endpoints.structured import FORMS, fault
from tests.endpoints.replies import openai, reply
from tests.endpoints.test_golden import CASES


def response(**changes):
    body = json.loads((CASES / "responses/openai/reply.json").read_text())
    outcome = RESPONSES.read(reply({**body, **changes}), openai)
    assert isinstance(outcome, Reply), outcome
    return outcome


def said(text, kind="output_text"):
    return {"type": "message", "content": [{"type": kind, kind.replace("output_", ""): text}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ()),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, ("cut_off",)),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, ("filtered",)),
        ({"status": "incomplete", "incomplete_details": {"reason": "a new one"}}, ("incomplete",)),
        ({"status": "incomplete", "incomplete_details": None}, ("incomplete",)),
        ({"output": []}, ("empty",)),
        ({"output": [said(" ")]}, ("empty",)),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}, ("refused",)),
        ({"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, ()),
        ({"output": [{"type": "function_call", "name": "f", "arguments": "{"}]}, ("tool_arguments",)),
        ({"output": [{"type": "web_search_call"}]}, ()),
    ],
)
def test_a_response_is_flagged_by_its_status_and_its_items(changes, words):
    assert tuple(map(word_of, response(**changes).flags)) == words


@pytest.mark.parametrize("change", [{"status": "failed"}, {"status": "cancelled"}, {"output": None}, {"status": None}])
def test_what_is_no_finished_response_is_a_failure(change):
    body = json.loads((CASES / "responses/openai/reply.json").read_text())
    assert isinstance(RESPONSES.read(reply({**body, **change}), openai), Failure)


def test_the_reasoning_of_a_response_is_kept_apart():
    body = (CASES / "responses/openai/reply.json").read_bytes()
    assert flattened(RESPONSES, body) == ("Because of Rayleigh scattering.", "Blue is scattered.")


@pytest.mark.parametrize(
    ("endpoint", "body", "said"),
    [
        (RESPONSES, {"input": ""}, "`input`"),
        (RESPONSES, {"input": 1}, "`input`"),
        (RESPONSES, {}, "`input` is missing"),
        (RESPONSES, {"input": "x", "stream": True}, "stream"),
        (RESPONSES, {"input": "x", "background": True}, "background"),
        (MODERATIONS, {"input": []}, "`input`"),
        (SCORE, {"text_1": "a", "text_2": []}, "`text_2`"),
        (SCORE, {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "expected one text, or 2"),
    ],
)
def test_what_can_not_be_asked_is_refused(endpoint, body, said):
    with pytest.raises(BadBody) as caught:
        endpoint.inspect(json.dumps({"model": "m", **body}).encode())
    assert said in caught.value.reason


def test_an_image_in_the_input_counts_as_an_image_not_as_its_bytes():
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 1_000_000}
    body = {"model": "m", "input": [{"role": "user", "content": [picture]}]}
    assert 6_404 <= RESPONSES.inspect(json.dumps(body).encode()).est_in < 7_000


def test_a_text_that_is_scored_against_many_counts_as_often():
    one = SCORE.inspect(b'{"model":"m","text_1":"%b","text_2":"b"}' % (b"a" * 400)).est_in
    ten = SCORE.inspect(json.dumps({"model": "m", "text_1": "a" * 400, "text_2": ["b"] * 10}).encode()).est_in
    assert ten > 9 * one


def test_the_form_of_a_response_is_checked_and_asked_for_again():
    forms = FORMS["/v1/responses"]
    body = b'{"model":"m","input":"Why?","text":{"format":{"type":"json_object"}},"max_output_tokens":20}'
    answer = json.dumps({"output": [said("No.")]}).encode()
    found = fault(forms, body, answer, None)
    assert word_of(found.flag) == "not_json"
    again = json.loads(forms.again(body, found.said, "it is not JSON"))
    assert [item["role"] for item in again["input"]] == ["user", "assistant", "user"]
    assert again["input"][0] == {"role": "user", "content": "Why?"}
    assert again["max_output_tokens"] == 20
    assert fault(forms, body, json.dumps({"output": [said("{}")]}).encode(), None) is None
    assert fault(forms, b'{"model":"m","input":"json_"}', answer, None) is None
