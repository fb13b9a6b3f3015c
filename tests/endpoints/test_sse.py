"""Server-sent events, whatever the network cuts them into."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.endpoints.sse import Event, SseParser, TooLong


def parsed(*pieces, limit=1 << 20):
    parser = SseParser(limit)
    events = [event for piece in pieces for event in parser.take(piece)]
    return events + parser.end()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_are_read_at_every_split_point(end):
    lines = (b"event: ping", b"data: one", b": a comment", b"data:two", b"id: 7", b"", b"data", b"data:  x", b"", b"")
    text = end.join(lines) + end
    wanted = [Event(b"ping", b"one\ntwo"), Event(b"", b"\n x")]
    for at in range(len(text) + 1):
        assert parsed(text[:at], text[at:]) == wanted
    assert parsed(*(text[at : at + 1] for at in range(len(text)))) == wanted


def test_line_ends_may_be_mixed():
    assert parsed(b"data: a\r\n\ndata: b\r\rdata: c\n\r\ndata: d\r", b"\n\r", b"\n") == [
        Event(b"", data) for data in (b"a", b"b", b"c", b"d")
    ]


def test_a_byte_order_mark_is_passed_over_only_at_the_beginning():
    assert parsed(b"\xef", b"\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [Event(b"", b"a")]


def test_nothing_is_an_event_without_data():
    assert parsed(b": only\n\n: comments\n\nevent: ping\n\ndata\n\ndata:\n\nretry: 5\n\n") == []


def test_a_name_belongs_to_its_own_event_only():
    assert parsed(b"event: a\n\ndata: x\n\nevent: b\ndata: y\n\ndata: z\n\n") == [
        Event(b"", b"x"), Event(b"b", b"y"), Event(b"", b"z"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r"])
def test_the_last_event_may_lack_its_end(text):
    assert parsed(text) == [Event(b"", b"[DONE]")]


def test_a_line_or_an_event_beyond_the_limit_is_told_and_not_kept():
    for pieces in (itertools.repeat(b"x" * 100), itertools.repeat(b"data: y\n"), itertools.repeat(b"data:\n")):
        parser, few = SseParser(1000), list(itertools.islice(pieces, 1100))
        with pytest.raises(TooLong):
            list(map(parser.take, few))
        assert parser.held < 1200
    assert parsed(b": comment\n" * 10_000, limit=1000) == []


@given(
    st.lists(st.sampled_from([b"data: ", b"data", b"\r", b"\n", b"\r\n", b":", b"event: e", b"x", b"\xff", b"\x00"]))
)
def test_how_the_bytes_are_cut_changes_nothing(parts):
    text = b"".join(parts)
    whole = parsed(text)
    assert parsed(*parts) == whole
    assert parsed(*(bytes([byte]) for byte in text)) == whole
    assert all(event.data for event in whole)
