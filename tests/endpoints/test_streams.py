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
    BOTH,
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
"""Examples of each of the three fuzz tests; 3,000 take about 20 s in all."""


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


SLOW = pytest.mark.slow
ENDS = [
    pytest.param(b"\n", id="LF"),
    pytest.param(b"\r\n", id="CRLF", marks=SLOW),
    pytest.param(b"\r", id="CR", marks=SLOW),
]


def cuts(text):
    """Every way to cut a text in two, and the text byte by byte."""
    yield by_byte(text)
    for at in range(len(text) + 1):
        yield text[:at], text[at:]


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_is_put_together_to_the_ordinary_answer(name):
    text, wanted = CHATS[name]
    outcome = read(text)
    assert isinstance(outcome, Reply)
    assert json.loads(outcome.body) == wanted
    assert outcome.finish == wanted["choices"][0]["finish_reason"]
    assert outcome.request_id == "o1"
    assert outcome.usage == (Usage(45, 0, 3, 0) if "usage" in wanted else None)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("end", ENDS)
def test_a_chat_is_the_same_at_every_split_point_with_every_line_end(name, end):
    text = CHATS[name][0].replace(b"\n", end)
    whole_at_once = fed(CHATS[name][0]).whole()
    assert all(fed(*pieces).whole() == whole_at_once for pieces in cuts(text))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("end", ENDS)
def test_a_completion_is_put_together_at_every_split_point_with_every_line_end(name, end):
    text, wanted = TEXTS[name]
    how = {"asked": ASKED_TEXT, "endpoint": COMPLETIONS}
    for pieces in cuts(text.replace(b"\n", end)):
        assert whole(*pieces, **how) == wanted
    assert isinstance(read(text, **how), Reply)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_two_choices_that_come_in_turns_are_the_same_at_every_split_point(name):
    text, wanted = BOTH[name]
    asked = ASKED.replace(b'"stream"', b'"n":2,"stream"')
    outcome = read(text, asked=asked)
    assert isinstance(outcome, Reply)
    assert outcome.usage == Usage(45, 0, 3, 0)
    got = json.loads(outcome.body)
    for choice, expected in zip(got["choices"], wanted["choices"], strict=True):
        assert {key: choice[key] for key in expected} == expected
    assert {key: got[key] for key in wanted if key != "choices"} == {
        key: wanted[key] for key in wanted if key != "choices"
    }
    assert all(fed(*pieces, asked=asked).whole() == outcome.body for pieces in cuts(text))


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHATS])
def test_no_beginning_of_a_stream_is_an_answer_before_its_finish_reason(name):
    text, wanted = CHATS[name]
    finish = b'"finish_reason": "%s"' % wanted["choices"][0]["finish_reason"].encode()
    first = text.index(finish) + len(finish)
    for at in range(first):
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


@pytest.mark.parametrize("name", CHATS)
def test_an_error_at_whatever_place_before_the_end_is_a_failure(name):
    events = [part + b"\n\n" for part in CHATS[name][0].split(b"\n\n") if part]
    for place in range(len(events)):
        for end in (events[place:], events[-1:], []):
            outcome = read(*events[:place], event({"error": {"message": "no", "code": 503}}), *end)
            assert isinstance(outcome, Failure)
            assert outcome.kind is FailureKind.OVERLOADED


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
GOLDEN = [text for text, _ in (*CHATS.values(), *BOTH.values(), *TEXTS.values())] + [SEVERAL]
EVENTS = [[json.loads(part[6:]) for part in text.split(b"\n\n") if part[6:7] == b"{"] for text in GOLDEN]
VALUES = st.sampled_from([
    None, True, 0, -1, 2**70, 1.5, "", "x", "\u2028", "\U0001f642", [], [None], [[]], [{}], {}, {"": 0},
    {"error": {"code": 429}}, "stop", "length", {"content": "x"}, [{"index": 5, "delta": {"content": "y"}}],
    {"prompt_tokens": -1}, {"prompt_tokens": 10**30, "completion_tokens": "7"}, {"function": {"arguments": None}},
])  # fmt: skip
"""What may stand in the place of any value of an event."""
ACTS = [*["change"] * 6, "lose", "twice", "move", "stray"]


@st.composite
def mutated(draw):
    text = draw(st.sampled_from(GOLDEN))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + draw(st.sampled_from([0, 1, 8, 300])))))
        text = text[:start] + draw(st.sampled_from(SPLICES) | st.binary(max_size=4)) + text[end:]
    return text


def places_in(value, path=()):
    """The paths of everything in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places_in(each, (*path, key))


def put(value, path, new):
    """The value with something else at a path."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


@st.composite
def replayed(draw):
    """A stream whose events are changed inside, lost, doubled, in another order, or of another stream."""
    events = list(draw(st.sampled_from(EVENTS)))
    for _ in range(draw(st.integers(1, 6))):
        act, at = draw(st.sampled_from(ACTS)), draw(st.integers(0, max(0, len(events) - 1)))
        if act == "move" and events:
            events.insert(draw(st.integers(0, len(events) - 1)), events.pop(at))
        elif act == "lose":
            del events[at : at + 1]
        elif act == "twice":
            events[at:at] = events[at : at + 1]
        elif act == "stray":
            events.insert(at, draw(st.sampled_from(draw(st.sampled_from(EVENTS)))))
        elif events:
            places = list(places_in(events[at]))
            path = draw(st.sampled_from([place for place in places if len(place) > 2] or places))
            events[at] = put(events[at], path, draw(VALUES))
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    text = b"".join(map(event, events)) + draw(st.sampled_from([b"data: [DONE]\n\n", b"", b": ping\n\n"]))
    return text.replace(b"\n", end)


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
        assert feed.settled
        assert all(choice["finish_reason"] is not None for choice in json.loads(body)["choices"])
    return body


@pytest.mark.slow
@settings(max_examples=FUZZ)
@given(pieces=cut(mutated()))
def test_a_mutated_stream_never_raises_and_its_pieces_do_not_matter(pieces):
    for endpoint, asked in ((CHAT, ASKED), (COMPLETIONS, ASKED_TEXT)):
        assert landed(endpoint, asked, pieces) == landed(endpoint, asked, [b"".join(pieces)])


@pytest.mark.slow
@settings(max_examples=FUZZ)
@given(pieces=cut(replayed()))
def test_a_stream_whose_events_are_changed_never_raises_and_its_pieces_do_not_matter(pieces):
    for endpoint, asked in ((CHAT, ASKED), (COMPLETIONS, ASKED_TEXT)):
        body = landed(endpoint, asked, pieces)
        assert body == landed(endpoint, asked, [b"".join(pieces)])
        assert body is None or not body or json.loads(body)["choices"] is not None, "an answer, whole or not, is JSON"


@settings(max_examples=FUZZ)
@given(pieces=cut(st.binary(max_size=300)))
def test_random_bytes_never_raise_and_are_never_an_answer(pieces):
    body = landed(CHAT, ASKED, pieces)
    if body is not None:
        assert isinstance(CHAT.read(HttpReply(200, {}, body, RECEIVED), generic), Failure)
