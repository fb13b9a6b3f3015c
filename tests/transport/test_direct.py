"""The short way to the wire is taken only where aiohttp is what it takes it to be, and leaves nothing half done."""

import asyncio
import traceback

import aiohttp
import httpx
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector, Connection
from aiohttp.streams import StreamReader
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.transport import direct, wire
from batchrunner.transport.connections import Connector
from batchrunner.transport.direct import works_with_this_aiohttp
from batchrunner.transport.wire import Head
from tests.canary import CANARY_KEY
from tests.transport.raw import PATH, answer, call, client, every, good, hangs, served, serving, taken, waits, writes


def count_sessions(monkeypatch):
    """Return a list that gets an entry for every call that goes by aiohttp's session."""
    calls, request = [], aiohttp.ClientSession._request

    async def counted(self, *args, **options):
        calls.append(args)
        return await request(self, *args, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", counted)
    return calls


async def test_a_post_takes_the_short_way_and_a_get_the_session(monkeypatch):
    by_session = count_sessions(monkeypatch)
    async with serving(good) as server, client(server.url) as transport:
        assert isinstance(await transport.send(call()), HttpReply)
        assert by_session == []
        assert isinstance(await transport.get("/v1/models", deadline=5.0), HttpReply)
    assert len(by_session) == 1
    assert server.connections == 1, "both ways share the connections"


async def other_connect(self, request, *, timeout):
    raise AssertionError("not called")


@pytest.mark.parametrize(
    "change",
    [
        (BaseConnector, "connect", other_connect),
        (ResponseHandler, "set_response_params", lambda self, *, timer=None: None),
        (StreamReader, "read_nowait", None),
        (Connection, "protocol", None),
        (aiohttp.ClientRequest, "connection_key", None),
        (direct, "RawResponseMessage", object),
    ],
    ids=lambda change: change[1],
)
def test_an_aiohttp_that_is_built_otherwise_is_noticed(monkeypatch, change):
    assert works_with_this_aiohttp()
    monkeypatch.setattr(*change)
    assert not works_with_this_aiohttp()


async def test_with_an_aiohttp_that_is_built_otherwise_calls_go_by_its_session(monkeypatch):
    by_session = count_sessions(monkeypatch)
    monkeypatch.setattr(direct, "RawResponseMessage", object)
    async with serving(good) as server, client(server.url) as transport:
        reply = await transport.send(call(b"abc"))
    assert isinstance(reply, HttpReply)
    assert (reply.body, len(by_session)) == (b"abc", 1)


@pytest.mark.parametrize("way", ["shortcut", "session"])
async def test_headers_are_read_alike_on_both_ways(monkeypatch, way):
    if way == "session":
        monkeypatch.setattr(direct, "RawResponseMessage", object)
    answers = [
        ["X-Request-Id: first", "x-request-id: second"],
        ["X-Said: caf\u00e9"],
        [f"X-Echo: Bearer {CANARY_KEY}", "CF-Ray: r"],
    ]
    turns = [turn for fields in answers for turn in (taken, writes(answer(b"{}", "200 OK", *fields)))]
    async with serving(every(*turns, hangs)) as server, client(server.url) as transport:
        twice, latin, echo = [(await transport.send(call())).headers for _ in answers]
    assert (twice.get("x-request-id"), twice.get("content-type"), twice.get("x-none")) == (
        *("first", "application/json", None),
    )
    assert latin.get("x-said") == "caf\u00e9".encode().decode("latin-1"), "RFC 9110 5.5"
    assert (echo.get("x-echo"), echo.get("cf-ray")) == ("Bearer ***", "r")


@pytest.mark.parametrize("way", ["shortcut", "session"])
async def test_interim_responses_are_passed_over(monkeypatch, way):
    if way == "session":
        monkeypatch.setattr(direct, "RawResponseMessage", object)
    early = writes(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    behave = every(taken, early, waits(0.01), writes(answer(b"{}")), hangs)
    async with serving(behave) as server, client(server.url) as transport:
        reply = await transport.send(call())
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (200, b"{}")


async def test_n29_a_body_in_slices_is_put_together_and_its_connection_used_again():
    said = answer(b"0123456789")
    torn = every(taken, writes(said[:-7]), waits(0.02), writes(said[-7:-3]), waits(0.02), writes(said[-3:]))
    async with serving(every(torn, torn)) as server, client(server.url) as transport:
        for _ in range(2):
            reply = await transport.send(call())
            assert isinstance(reply, HttpReply)
            assert reply.body == b"0123456789"
    assert server.connections == 1


@pytest.mark.parametrize("way", ["shortcut", "session"])
async def test_a_connection_whose_request_is_not_out_yet_is_never_used_again(monkeypatch, way):
    if way == "session":
        monkeypatch.setattr(direct, "RawResponseMessage", object)

    async def first_early(peer):
        if peer.server.connections > 1:
            await served(peer)
            return
        await peer.write(answer(b"early", "413 x"))
        await hangs(peer)

    async with serving(first_early) as server, client(server.url) as transport:
        early = await transport.send(call(b"x" * 8_000_000))
        later = await transport.send(call(b"2", deadline=2.0))
    assert isinstance(early, HttpReply)
    assert isinstance(later, HttpReply)
    assert (early.status, later.status, server.connections) == (413, 200, 2)


@pytest.mark.parametrize("way", ["shortcut", "session"])
async def test_a_new_connection_on_which_the_server_has_spoken_is_not_sent_to(monkeypatch, way):
    if way == "session":
        monkeypatch.setattr(direct, "RawResponseMessage", object)
    connect = Connector.connect

    async def slow(self, *args, **options):
        connection = await connect(self, *args, **options)
        await asyncio.sleep(0.05)
        return connection

    monkeypatch.setattr(Connector, "connect", slow)
    async with serving(every(writes(b"HTTP/1.1 2"), hangs)) as server, client(server.url) as transport:
        failure = await transport.send(call(deadline=0.5))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing, server.bodies) == (FailureKind.CONNECTION, Billing.NOT_BILLED, [])


async def test_a_call_starts_no_task_of_its_own():
    async with serving(hangs) as server, client(server.url) as transport:
        sending = asyncio.create_task(transport.send(call(b"x" * 8_000_000, deadline=0.3)))
        await asyncio.sleep(0.1)
        assert [task for task in asyncio.all_tasks() if "aiohttp" in repr(task.get_coro())] == []
        await sending


TEXT = st.binary(max_size=20).filter(lambda text: not set(text) & {*range(9), *range(10, 32), 127})
URL = httpx.URL(f"http://localhost{PATH}")


@given(st.lists(st.tuples(st.from_regex(rb"[A-Za-z-]{1,12}", fullmatch=True), TEXT), max_size=8), st.binary())
def test_a_message_holds_each_field_once_in_its_order_and_then_the_body(fields, body):
    head, _, rest = Head(URL, fields).with_body(body, "a-7").partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    assert (start, rest) == (f"POST {PATH} HTTP/1.1".encode(), body)
    last = [(b"X-Client-Request-Id", b"a-7"), (b"Content-Length", b"%d" % len(body))]
    assert [tuple(line.split(b": ", 1)) for line in lines] == [*fields, *last]


@given(st.sampled_from([*range(9), *range(10, 32), 127]), st.integers(0, 4))
def test_a_control_character_in_a_field_is_refused_without_quoting_any(code, at):
    value = b"abcd"[:at] + bytes([code]) + b"abcd"[at:]
    with pytest.raises(ValueError, match="control character") as refused:
        Head(URL, [(b"Authorization", CANARY_KEY.encode()), (b"X-Other", value)])
    frames = traceback.TracebackException.from_exception(refused.value, capture_locals=True).stack
    assert CANARY_KEY not in str(refused.value)
    assert [frame for frame in frames if frame.filename == wire.__file__ and CANARY_KEY in str(frame.locals)] == []


@pytest.mark.parametrize("mark", ["1\r\nX-Evil: 1", "a\x00", "\u00e9", "\x7f"])
def test_an_id_that_would_change_the_head_is_refused(mark):
    with pytest.raises(ValueError, match="id of a call"):
        Head(URL, []).with_body(b"{}", mark)


def test_a_head_does_not_show_its_key():
    assert CANARY_KEY not in repr(Head(URL, [(b"Authorization", CANARY_KEY.encode())]))
