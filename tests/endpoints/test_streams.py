"""Streams become the ordinary answer, or a failure: in every dialect, at every split point."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.http import BadStream, HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.registry import CHAT, COMPLETIONS
from tests.endpoints.replies import RECEIVED, generic
from tests.endpoints.streamed import (
    CALLS,
    CHATS,
    OPENAI,
    SEVERAL,
    TEXTS,
    TOGETHER,
    TOGETHER_TOOLS,
    USAGE,
    answer,
    chunk,
    event,
    together,
)

ASKED = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}'
ASKED_TEXT = b'{"model":"m","prompt":"x","stream":true}'
FUZZ = int(os.environ.get("BATCHRUNNER_FUZZ_EXAMPLES", "200"))
"""Examples of each fuzz test; some 20,000 take about 20 s."""


def fed(*pieces, asked=ASKED, endpoint=CHAT):
    feed = endpoint.feed(asked)
    for piece in pieces:
        feed.take(piece)
    return feed


def whole(*pieces, **how):
    return json.loads(fed(*pieces, **how).whole())


def read(*pieces, asked=ASKED, endpoint=CHAT):
    body = fed(*pieces, asked=asked, endpoint=endpoint).whole()
    return endpoint.read(HttpReply(200, {"content-type": "text/event-stream"}, body, RECEIVED), generic)


def by_byte(text):
    return (text[at : at + 1] for at in range(len(text)))


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_is_put_together_to_the_ordinary_answer_at_every_split_point(name):
    text, wanted = CHATS[name]
    assert whole(text) == wanted
    assert whole(*by_byte(text)) == wanted
    for at in range(0, len(text), 7):
        assert whole(text[:at], text[at:]) == wanted
    outcome = read(text)
    assert isinstance(outcome, Reply)
    assert outcome.finish == wanted["choices"][0]["finish_reason"]
    assert outcome.request_id == "o1"
    assert outcome.usage == (Usage(45, 0, 3, 0) if "usage" in wanted else None)


@pytest.mark.parametrize("name", TEXTS)
def test_a_completion_is_put_together_at_every_split_point(name):
    text, wanted = TEXTS[name]
    how = {"asked": ASKED_TEXT, "endpoint": COMPLETIONS}
    for pieces in ([text], by_byte(text), *([text[:at], text[at:]] for at in range(0, len(text), 5))):
        assert whole(*pieces, **how) == wanted
    assert isinstance(read(text, **how), Reply)


@pytest.mark.parametrize("name", CHATS)
def test_comments_line_ends_and_other_fields_change_nothing(name):
    text, wanted = CHATS[name]
    noisy = b"\xef\xbb\xbf: OPENROUTER PROCESSING\n\nretry: 3\nid: 1\n" + text.replace(b"\n\n", b"\nid: 2\n\n: x\n\n")
    for end in (b"\n", b"\r\n", b"\r"):
        other = noisy.replace(b"\n", end)
        assert whole(other) == wanted
        assert whole(*by_byte(other)) == wanted
    assert whole(text.replace(b"\n\n", b"\n")) == wanted  # a server that leaves the empty lines out


def test_several_choices_are_kept_apart_and_the_cut_off_one_speaks():
    asked = ASKED.replace(b'"stream"', b'"n":2,"stream"')
    outcome = read(SEVERAL, asked=asked)
    assert isinstance(outcome, Reply)
    assert outcome.finish == "length"
    assert [choice["message"]["content"] for choice in json.loads(outcome.body)["choices"]] == ["zero 0", "one 1"]


def test_a_choice_that_never_began_makes_the_answer_no_whole_one_unless_the_provider_says_it_is():
    asked = ASKED.replace(b'"stream"', b'"n":3,"stream"')
    assert isinstance(read(SEVERAL, asked=asked), Reply)
    outcome = read(SEVERAL.replace(b"data: [DONE]\n\n", b""), asked=asked)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.BAD_REPLY


@pytest.mark.parametrize("name", [*CHATS])
def test_no_beginning_of_a_stream_is_an_answer_before_its_finish_reason(name):
    text, wanted = CHATS[name]
    finish = b'"finish_reason": "%s"' % wanted["choices"][0]["finish_reason"].encode()
    first = text.index(finish) + len(finish)
    for at in range(0, first, 3):
        feed = fed(text[:at])
        assert not feed.settled
        assert isinstance(CHAT.read(HttpReply(200, {}, feed.whole(), RECEIVED), generic), Failure)
    assert fed(text).settled


def test_the_end_is_known_by_done_or_by_the_finish_reasons():
    without = OPENAI.replace(b"data: [DONE]\n\n", b"")
    feed = fed(without)
    assert (feed.begun, feed.ended, feed.settled) == (True, False, True)
    assert isinstance(read(without), Reply)
    assert fed(OPENAI).ended
    only_done = read(event(together("Hel")), b"data: [DONE]\n\n")
    assert isinstance(only_done, Failure)
    assert "no finish_reason" in only_done.message


def test_an_empty_finish_reason_counts_only_once_the_provider_has_said_that_this_is_all():
    said = event(together("Hel", finish_reason="")), event(together("lo", finish_reason=""))
    assert isinstance(read(*said), Failure)
    outcome = read(*said, b"data: [DONE]\n\n")
    assert isinstance(outcome, Reply)
    assert outcome.finish == ""


def test_the_first_token_is_told_apart_from_empty_events():
    feed = CHAT.feed(ASKED)
    for quiet in (b": hi\n\n", event(chunk({"delta": {"role": "assistant", "content": ""}})), event(chunk(None))):
        feed.take(quiet)
        assert not feed.begun
    feed.take(event(chunk({"delta": {"reasoning": "Hm"}})))
    assert feed.begun
    assert fed(TOGETHER_TOOLS[: TOGETHER_TOOLS.index(b"\n\n") + 2]).begun


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"message": "Slow down", "type": "rate_limit", "code": 429}}, FailureKind.RATE_LIMITED),
        ({"error": {"message": "Engine died", "code": None}}, FailureKind.SERVER_ERROR),
        ({"error": "out of memory"}, FailureKind.SERVER_ERROR),
        ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, FailureKind.INVALID_REQUEST),
        ({"detail": "gone"}, FailureKind.SERVER_ERROR),
    ],
)
def test_an_error_in_the_stream_is_a_failure_and_after_a_token_it_may_have_been_billed(error, kind):
    for end in (b"data: [DONE]\n\n", b""):
        late = read(event(together("Hel")), event(error), end)
        assert isinstance(late, Failure)
        assert (late.kind, late.billing) == (kind, Billing.UNKNOWN)
        early = read(event(error), end)
        assert isinstance(early, Failure)
        assert early.kind is kind
    assert fed(event(together("Hel")), event(error)).settled


def test_an_event_named_error_is_one_whatever_its_data():
    outcome = read(event(together("Hel")), b"event: error\ndata: upstream broke\n\n")
    assert isinstance(outcome, Failure)
    assert "upstream broke" in outcome.message
    assert isinstance(read(b'event: error\ndata: {"code":503,"type":"x"}\n\n'), Failure)


def test_an_error_beside_its_usage_was_billed():
    outcome = read(event(together("Hel") | {"usage": USAGE}), event({"error": {"message": "no"}}))
    assert isinstance(outcome, Failure)
    assert (outcome.billing, outcome.usage) == (Billing.BILLED, Usage(45, 0, 3, 0))


@pytest.mark.parametrize("data", [b"{", b"[]", b"null", b"7", b'"x"', b'{"choices":{}}', b'{"choices":[7]}', b"<html>"])
def test_an_event_that_is_no_json_object_ends_the_stream_with_a_reason(data):
    with pytest.raises(BadStream) as problem:
        fed(event(together("Hel")), event(data))
    assert str(problem.value)


def test_a_reason_shows_no_key():
    with pytest.raises(BadStream) as problem:
        fed(b"data: sk-0123456789abcdefghij is no key\n\n")
    assert "0123456789" not in str(problem.value)


def test_pings_and_news_of_other_kinds_say_nothing():
    noise = b'event: ping\ndata: {"type": "ping"}\n\nevent: stats\ndata: {"message": "3 before you"}\n\n'
    assert whole(noise, TOGETHER, b"data: after the end\n\n") == CHATS["together"][1]


@pytest.mark.parametrize(
    "body",
    [json.dumps(answer({"content": "plain"})).encode(), b"<html>busy</html>", b"", b"  ", b"database is down", b"dat"],
)
def test_a_body_that_is_no_stream_comes_back_as_it_is(body):
    for pieces in ([body], by_byte(body)):
        assert fed(*pieces).whole() == body
    assert isinstance(read(body), Reply) == body.startswith(b"{")


def test_a_stream_of_nothing_but_comments_is_no_answer():
    outcome = read(b": one\n\n: two\n\n")
    assert isinstance(outcome, Failure)
    assert "no choices" in outcome.message


def test_a_whole_message_in_one_event_is_taken():
    said = whole(event(answer({"content": "all at once"})), b"data: [DONE]\n\n")
    assert said["choices"][0]["message"]["content"] == "all at once"
    assert said["object"] == "chat.completion"


def test_a_character_whose_halves_come_apart_is_whole_again_and_half_a_one_is_no_harm():
    halves = [event(b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % half) for half in (rb"\ud83d", rb"\ude42")]
    end = event(chunk({"delta": {}, "finish_reason": "stop"}))
    assert json.loads(fed(*halves, end).whole())["choices"][0]["message"]["content"] == "\U0001f642"
    outcome = read(halves[0], end)
    assert isinstance(outcome, Reply)
    assert CHAT.text(outcome.body) == "\ufffd"


def test_bytes_that_are_no_utf8_are_no_answer_unless_they_only_came_apart():
    euro = "€".encode()
    apart = [event(b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % part) for part in (euro[:1], euro[1:])]
    end = event(chunk({"delta": {}, "finish_reason": "stop"}))
    assert CHAT.text(fed(*apart, end).whole()) == "€"
    assert isinstance(read(apart[0], end), Failure)


def test_tool_calls_are_told_apart_without_an_index_and_with_a_wrong_one():
    def calls(*deltas):
        events = [event(chunk({"delta": {"tool_calls": [delta]}})) for delta in deltas]
        return whole(*events)["choices"][0]["message"]["tool_calls"]

    no_index = calls(
        {"id": "a", "function": {"name": "f", "arguments": "{"}}, {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    )  # fmt: skip
    assert no_index == [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]
    always_first = calls(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "f", "arguments": "[]"}},
    )
    assert [call["function"]["arguments"] for call in always_first] == ["{}", "[]"]
    new_ids = calls(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 0, "id": "other", "function": {"arguments": "}"}},
        {"index": 0, "id": "", "function": {"name": None, "arguments": None}},
    )
    assert [call["function"] for call in new_ids] == [{"name": "f", "arguments": "{}"}]
    assert whole(TOGETHER_TOOLS)["choices"][0]["message"]["tool_calls"] == CALLS


def test_the_old_function_call_and_audio_are_joined_too():
    said = whole(
        event(chunk({"delta": {"function_call": {"name": "f", "arguments": "{"}, "audio": {"id": "x", "data": "AA"}}})),
        event(chunk({"delta": {"function_call": {"arguments": "}"}, "audio": {"data": "BB"}, "annotations": [1]}})),
        event(chunk({"delta": {"annotations": [2]}, "token_ids": [1]})),
        event(chunk({"delta": {"annotations": []}, "token_ids": [2], "finish_reason": "function_call"})),
    )["choices"][0]
    assert said["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert said["message"]["audio"] == {"id": "x", "data": "AABB"}
    assert (said["message"]["annotations"], said["token_ids"]) == ([1, 2], [1, 2])


def test_what_is_held_is_told_and_choices_without_end_are_refused():
    feed = CHAT.feed(ASKED)
    for _ in range(300):
        feed.take(event(together("x" * 1000)))
    assert 250_000 < feed.size < 600_000
    many = [event(chunk({"index": index, "delta": {}})) for index in range(5_000)]
    with pytest.raises(BadStream, match="choices"):
        list(map(feed.take, many))


SPLICES = (
    b"null", b"[]", b"{}", b'""', b"\xff", b"\x00", b'"', b"\\", b"\n", b"\n\n", b"\r", b"data: ", b"[" * 10_000,
    b"[DONE]", b"event: error\n", b'{"error":{"code":429}}', b'"index":-1', b'"index":1e9', b"\\ud83d",
    b'"choices":[{}]', b":",
)  # fmt: skip
GOLDEN = [text for text, _ in (*CHATS.values(), *TEXTS.values())] + [SEVERAL]


@st.composite
def mutated(draw):
    text = draw(st.sampled_from(GOLDEN))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + draw(st.sampled_from([0, 1, 8, 300])))))
        text = text[:start] + draw(st.sampled_from(SPLICES) | st.binary(max_size=4)) + text[end:]
    return text


@st.composite
def cut(draw, texts):
    text = draw(texts)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def landed(endpoint, asked, pieces):
    """What a transport would make of these pieces; anything but BadStream is a bug."""
    feed = endpoint.feed(asked)
    try:
        for piece in pieces:
            feed.take(piece)
    except BadStream as problem:
        feed.whole()
        return None if 0 < len(str(problem)) <= 500 else pytest.fail(f"a reason of {len(str(problem))} characters")
    body = feed.whole()
    outcome = endpoint.read(HttpReply(200, {}, body, RECEIVED), generic)
    if isinstance(outcome, Reply):
        assert endpoint.text(body) is None or endpoint.text(body).encode() is not None
        assert feed.settled or not body.startswith(b"data")
    return body


@settings(max_examples=FUZZ)
@given(pieces=cut(mutated()))
def test_a_mutated_stream_never_raises_and_its_pieces_do_not_matter(pieces):
    for endpoint, asked in ((CHAT, ASKED), (COMPLETIONS, ASKED_TEXT)):
        assert landed(endpoint, asked, pieces) == landed(endpoint, asked, [b"".join(pieces)])


@settings(max_examples=FUZZ)
@given(pieces=cut(st.binary(max_size=300)))
def test_random_bytes_never_raise_and_are_never_an_answer(pieces):
    body = landed(CHAT, ASKED, pieces)
    if body is not None:
        assert isinstance(CHAT.read(HttpReply(200, {}, body, RECEIVED), generic), Failure)
