"""Streams without a socket: what the events say, what the ledger says of them, and how they go wrong."""

import json

import pytest

STREAM = {"stream": True, "max_tokens": 12}


def chunks(answer):
    return [event.removeprefix("data: ") for event in answer.body.decode().split("\n\n") if event]


def test_the_events_are_the_body_and_come_at_the_pace_of_the_tokens(desk):
    counter = desk(tokens_per_second=4, latency=1.0, latency_jitter=0)
    answer = counter.chat(**STREAM)
    assert answer.headers["Content-Type"] == "text/event-stream;charset=utf-8"
    assert b"".join(answer.pieces) == answer.body
    assert (answer.delay, answer.pace) == (1.0, 0.25)
    plain = counter.chat(max_tokens=12)
    assert (plain.delay, plain.pace, plain.pieces) == (4.0, 0.0, ())


def test_together_tells_its_usage_beside_the_second_finish_reason(desk):
    *_, before, last, done = chunks(desk().chat(**STREAM))
    assert done == "[DONE]"
    first, second = json.loads(before), json.loads(last)
    assert first["choices"][0]["finish_reason"] == second["choices"][0]["finish_reason"]
    assert first["usage"] is None
    assert second["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize("asked", [True, False])
def test_openai_tells_its_usage_in_an_event_of_its_own_where_it_is_asked_to(desk, asked):
    counter = desk(flavour="openai")
    answer = counter.chat(**STREAM, stream_options={"include_usage": asked})
    *_, last, done = chunks(answer)
    assert done == "[DONE]"
    assert (json.loads(last)["choices"] == []) == asked
    assert (counter.ledger.entries[-1].usage is not None) == asked
    assert counter.ledger.entries[-1].output_tokens == 12


def test_the_old_name_of_stream_is_togethers_alone(desk):
    assert desk().chat(stream_tokens=True).pieces
    assert not desk(flavour="openai").chat(stream_tokens=True).pieces


def test_obfuscation_can_be_switched_off(desk):
    counter = desk(flavour="openai")
    assert b"obfuscation" in counter.chat(**STREAM).body
    assert b"obfuscation" not in counter.chat(**STREAM, stream_options={"include_obfuscation": False}).body


def test_streams_go_wrong_as_they_are_told_and_are_billed(desk):
    def faulty(kind):
        counter = desk(faults={kind: 1.0})
        answer = counter.chat(**STREAM)
        entry = counter.ledger.entries[-1]
        assert (entry.billed, entry.output_tokens, entry.streamed) == (True, 12, True)
        return answer, entry

    answer, entry = faulty("stream_error")
    assert json.loads(chunks(answer)[-2])["error"]["type"] == "server_error"
    assert entry.usage is None
    answer, entry = faulty("stream_cut")
    assert "[DONE]" not in chunks(answer)
    assert entry.usage is None
    answer, entry = faulty("stream_stall")
    assert answer.fault == "stream_stall"
    assert entry.usage is None
    answer, entry = faulty("stream_comments")
    assert chunks(answer)[::2][:3] == [": still here"] * 3
    assert entry.usage["completion_tokens"] == 12


def test_a_call_that_asks_for_no_stream_meets_no_fault_of_streams(desk):
    counter = desk(faults={"stream_error": 1.0})
    assert json.loads(counter.chat().body)["choices"]
    assert counter.ledger.entries[-1].fault is None


@pytest.mark.parametrize("kind", ["no_usage", "same_id", "no_finish", "truncated_json", "html200", "odd_json"])
def test_faults_of_the_body_are_those_of_streams_too(desk, kind):
    counter = desk(faults={kind: 1.0})
    body = counter.chat(**STREAM).body
    wanted = {
        "no_usage": b"completion_tokens" not in body,
        "same_id": b'"id":"the-same-id-for-everybody"' in body,
        "no_finish": b'"finish_reason":"' not in body,
        "truncated_json": not body.endswith(b"[DONE]\n\n"),
        "html200": body.startswith(b"<html>"),
        "odd_json": body.startswith(b'data: {"odd":'),
    }
    assert wanted[kind]


def test_a_chat_that_ends_with_a_tools_answer_or_forbids_tools_gets_a_text(desk):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"n": {"enum": [3]}}}}}]

    def message(**body):
        return json.loads(desk().post("/v1/chat/completions", {"model": "m", "tools": tools} | body).body)["choices"][0]

    ask = {"role": "user", "content": "x"}
    (call,) = message(messages=[ask])["message"]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"n":3}'}
    assert message(messages=[ask], tool_choice={"type": "function", "function": {"name": "f"}})["finish_reason"] == (
        "tool_calls"
    )
    assert message(messages=[ask], tool_choice="none")["message"]["content"]
    assert message(messages=[ask, {"role": "tool", "content": "7"}])["message"]["content"]
