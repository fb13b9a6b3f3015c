"""Streams on their way: how long they may be silent, when their first token came, what is left when they break."""

import json

import anyio
import httpx
import pytest
import trio

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.registry import CHAT
from batchrunner.transport.inprocess import InProcessTransport
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY
from tests.endpoints.streamed import OPENAI, chunk, event
from tests.transport import raw
from tests.transport.inside import Said
from tests.transport.test_send import BASE, FixedClock, call

SSE = {"content-type": "text/event-stream"}
ASKED = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}'
DONE = b"data: [DONE]\n\n"
K = FailureKind


def token(text: str = "x") -> bytes:
    return event(chunk({"delta": {"content": text}, "finish_reason": None}))


FINISH = event(chunk({"delta": {}, "finish_reason": "stop"}))


def said_of(body: bytes) -> str:
    content: str = json.loads(body)["choices"][0]["message"]["content"]
    return content


class Stall(httpx.AsyncByteStream):
    """Pieces and seconds between them; an error, or silence for ever, at the end where one is given."""

    def __init__(self, *steps):
        self.steps = iter(steps)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for step in self.steps:
            if isinstance(step, bytes):
                return step
            if isinstance(step, Exception):
                raise step
            await anyio.sleep(step)
        raise StopAsyncIteration


def over(*steps, status=200, headers=SSE, **options):
    class Engine(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return httpx.Response(status, headers=headers, stream=Stall(*steps), request=request)

    return HttpTransport(Engine(), BASE, Secret(CANARY_KEY), clock=FixedClock(), **options)


async def outcome_of(*steps, deadline=600.0, max_response=1 << 20, **options):
    async with over(*steps, **options) as transport:
        return await transport.send(call(ASKED, deadline=deadline, max_response=max_response), CHAT.feed(ASKED))


class TestInVirtualTime:
    pytestmark = pytest.mark.usefixtures("virtual_time")

    async def test_the_answer_comes_back_whole_with_the_time_of_its_first_token(self):
        first = event(chunk({"delta": {"role": "assistant", "content": ""}}))
        reply = await outcome_of(2.0, first, 3.0, token("Hel"), 1.0, token("lo"), 1.0, FINISH, DONE)
        assert isinstance(reply, HttpReply)
        assert said_of(reply.body) == "Hello"
        assert reply.ttft == pytest.approx(5.0)

    @pytest.mark.parametrize("beginning", [(), (b": comment\n\n",), (event(chunk({"delta": {"role": "assistant"}})),)])
    async def test_before_its_first_token_a_stream_may_be_silent_for_five_times_as_long(self, beginning):
        failure = await outcome_of(*beginning, float("inf"), idle=60.0)
        assert trio.current_time() == pytest.approx(300.0)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.billing, failure.partial) == (K.TIMEOUT, Billing.UNKNOWN, None)
        assert "silent for 300 s before the first token" in failure.message

    async def test_n8_a_stream_that_falls_silent_is_given_up_and_what_had_come_is_handed_over(self):
        failure = await outcome_of(token("Hel"), 59.0, token("lo"), float("inf"), idle=60.0)
        assert trio.current_time() == pytest.approx(119.0)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.billing) == (K.TIMEOUT, Billing.UNKNOWN)
        assert "silent for 60 s in the middle" in failure.message
        assert said_of(failure.partial) == "Hello"

    async def test_n9_a_slow_drip_of_comments_is_life_but_ends_at_the_deadline(self):
        drips = [step for _ in range(200) for step in (b": still here\n\n", 5.0)]
        failure = await outcome_of(token(), *drips, deadline=333.0, idle=60.0)
        assert trio.current_time() == pytest.approx(333.0)
        assert isinstance(failure, Failure)
        assert failure.kind is K.TIMEOUT
        assert "within 333 s" in failure.message

    async def test_n9_a_stream_that_drips_byte_by_byte_is_whole_for_who_has_the_time(self):
        drips = [step for byte in OPENAI for step in (bytes([byte]), 0.5)]
        reply = await outcome_of(*drips, deadline=3000.0)
        assert isinstance(reply, HttpReply)
        assert said_of(reply.body) == "Hello"

    async def test_a_server_that_leaves_the_connection_open_after_done_is_not_waited_for(self):
        reply = await outcome_of(token("Hi"), FINISH, DONE, float("inf"))
        assert isinstance(reply, HttpReply)
        assert said_of(reply.body) == "Hi"
        assert trio.current_time() == pytest.approx(2.0)

    @pytest.mark.parametrize("end", [httpx.ReadError("reset"), float("inf")])
    async def test_n6_a_finished_answer_is_kept_however_its_connection_ends(self, end):
        reply = await outcome_of(token("Hi"), FINISH, end)
        assert isinstance(reply, HttpReply)
        assert said_of(reply.body) == "Hi"

    async def test_n6_a_reset_before_the_finish_reason_is_a_failure_with_its_part(self):
        failure = await outcome_of(token("Hel"), httpx.ReadError("Connection reset by peer"))
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.billing) == (K.CONNECTION, Billing.UNKNOWN)
        assert said_of(failure.partial) == "Hel"

    async def test_an_error_that_came_says_more_than_the_reset_after_it(self):
        error = event({"error": {"message": "Slow down", "code": 429}})
        reply = await outcome_of(token("Hel"), error, httpx.ReadError("reset"))
        assert isinstance(reply, HttpReply)
        assert b"Slow down" in reply.body

    async def test_an_interrupt_in_mid_stream_hands_over_the_part_and_keeps_a_finished_answer(self):
        outcomes = []

        async def one(transport):
            outcomes.append(await transport.send(call(ASKED, deadline=600.0), CHAT.feed(ASKED)))

        async with (
            over(token("Hel"), float("inf")) as first,
            over(token("Hi"), FINISH, float("inf")) as second,
            anyio.create_task_group() as group,
        ):
            group.start_soon(one, first)
            group.start_soon(one, second)
            await anyio.sleep(7.0)
            first.interrupt()
            await anyio.sleep(1.0)
            second.interrupt()
        broken, kept = outcomes
        assert (broken.kind, said_of(broken.partial)) == (K.INTERRUPTED, "Hel")
        assert said_of(kept.body) == "Hi"

    @pytest.mark.parametrize("status", [429, 500])
    async def test_a_refusal_is_read_as_ever(self, status):
        reply = await outcome_of(b'{"error":', b'{"message":"no"}}', status=status, headers={"retry-after": "7"})
        assert isinstance(reply, HttpReply)
        assert (reply.status, reply.body, reply.ttft) == (status, b'{"error":{"message":"no"}}', None)

    async def test_an_ordinary_answer_where_a_stream_was_asked_is_one(self):
        reply = await outcome_of(100.0, b'{"choices', b'":[]}', headers={"content-type": "application/json"})
        assert isinstance(reply, HttpReply)
        assert (reply.body, reply.ttft) == (b'{"choices":[]}', None)

    async def test_a_stream_that_can_not_be_read_ends_at_once(self):
        failure = await outcome_of(token("Hel"), b"data: <html>\n\n", float("inf"))
        assert trio.current_time() == pytest.approx(0.0)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.billing, failure.status) == (K.BAD_REPLY, Billing.UNKNOWN, 200)
        assert "'<html>'" in failure.message

    async def test_n23_a_stream_without_end_is_given_up_at_the_cap(self):
        for endless in (token("y" * 1000), b": " + b"y" * 1000 + b"\n\n", b"y" * 1000):
            failure = await outcome_of(*[endless] * 5000, max_response=100_000)
            assert isinstance(failure, Failure)
            assert failure.kind is K.RESPONSE_TOO_LARGE
            assert len(failure.partial or b"") <= 100_000

    async def test_many_small_tokens_may_be_larger_on_the_wire_than_the_cap_on_their_answer(self):
        reply = await outcome_of(*[token("y")] * 900, FINISH, DONE, max_response=20_000)
        assert isinstance(reply, HttpReply)
        assert said_of(reply.body) == "y" * 900

    async def test_the_key_is_cut_out_wherever_it_was_cut_apart(self):
        for at in range(1, len(CANARY_KEY)):
            steps = token(CANARY_KEY[:at]), token(CANARY_KEY[at:])
            text = b"".join(steps)
            for end in (FINISH, httpx.ReadError("reset")):
                outcome = await outcome_of(text[: at * 3], text[at * 3 :], end)
                kept = outcome.body if isinstance(outcome, HttpReply) else outcome.partial
                assert said_of(kept) == "***"
        failure = await outcome_of(token(), b"data: no %b\n\n" % CANARY_KEY.encode())
        assert CANARY_KEY not in repr(failure)

    async def test_the_wire_without_a_network_streams_and_stalls(self):
        pieces = (token("Hel"), token("lo"), FINISH, DONE)
        for fault, took in ((None, 3.0), ("stream_stall", 61.0)):
            said = Said(headers=SSE, body=b"".join(pieces), pieces=pieces, pace=1.0, fault=fault)
            start = trio.current_time()
            engine = InProcessTransport(lambda *_, said=said: said)
            async with HttpTransport(engine, BASE, None, clock=FixedClock()) as transport:
                outcome = await transport.send(call(ASKED, deadline=600.0), CHAT.feed(ASKED))
            assert trio.current_time() - start == pytest.approx(took)
            assert isinstance(outcome, Failure) == (fault is not None)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


async def test_a_stream_over_a_socket_is_read_and_its_connection_kept():
    async def behave(peer):
        while True:
            await peer.request()
            await peer.write(HEAD + chunked(token("Hel"))[:-5])
            await anyio.sleep(0.01)
            await peer.write(chunked(token("Hel"))[-5:] + chunked(token("lo"), FINISH, DONE) + b"0\r\n\r\n")

    async with raw.serving(behave) as server, raw.client(server.url) as transport:
        for _ in range(3):
            reply = await transport.send(raw.call(ASKED), CHAT.feed(ASKED))
            assert isinstance(reply, HttpReply)
            assert said_of(reply.body) == "Hello"
            assert 0 < reply.ttft < 5
            plain = await transport.send(raw.call(ASKED), None)
            assert isinstance(plain, HttpReply)
            assert plain.body.endswith(DONE)
    assert server.connections == 1


@pytest.mark.parametrize(
    "end", [raw.resets, raw.writes(b"zz\r\n"), raw.writes(b"5\r\nda")], ids=["reset", "bad", "cut"]
)
async def test_n12_a_chunk_that_breaks_in_mid_stream_is_a_failure_and_after_the_finish_it_is_none(end):
    for pieces, broken in (((token("Hi"),), True), ((token("Hi"), FINISH), False)):
        behave = raw.every(raw.taken, raw.writes(HEAD + chunked(*pieces)), raw.waits(0.02), end)
        async with raw.serving(behave) as server, raw.client(server.url) as transport:
            outcome = await transport.send(raw.call(ASKED), CHAT.feed(ASKED))
        assert isinstance(outcome, Failure) == broken
        assert said_of(outcome.partial if isinstance(outcome, Failure) else outcome.body) == "Hi"
