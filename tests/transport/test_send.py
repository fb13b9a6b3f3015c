"""Sending over any engine: what goes out, what comes back, when it ends, and what nobody ever sees."""

import math

import anyio
import httpx
import pytest
import trio

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpCall, HttpReply
from batchrunner.transport.inprocess import InProcessTransport
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from batchrunner.transport.wire import MalformedReply, StaleConnection
from tests.canary import CANARY_KEY
from tests.transport.inside import Said

K = FailureKind
PATH = "/v1/chat/completions"
BASE = "https://api.example.com"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class FixedClock:
    def now(self):
        return 1_700_000_000_000_000

    def monotonic(self):
        return trio.current_time()


def call(body=b"{}", *, deadline=10.0, max_response=1 << 20):
    return HttpCall(PATH, body, "a-1", deadline, max_response)


def over(handler, key: Secret | None = None, **options):
    return HttpTransport(httpx.MockTransport(handler), BASE, key or Secret(CANARY_KEY), **options)


async def outcome_of(handler, **options):
    async with over(handler) as transport:
        return await transport.send(call(**options))


async def test_what_goes_out_is_the_call_and_our_headers():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, content=b"{}")

    async with over(handler) as transport:
        await transport.send(call(b'{"a": 1}'))
        await transport.send(HttpCall("/v1/embeddings", b"{}", "a-2", 1.0))
    first, second = seen
    assert (first.method, str(first.url), first.content) == ("POST", BASE + PATH, b'{"a": 1}')
    assert str(second.url) == f"{BASE}/v1/embeddings"
    headers = dict(first.headers)
    assert headers.pop("user-agent").startswith("batchrunner")
    assert headers == {
        "host": "api.example.com",
        "authorization": f"Bearer {CANARY_KEY}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": "8",
        "x-client-request-id": "a-1",
    }
    assert second.headers["x-client-request-id"] == "a-2"


async def test_a_call_of_another_type_says_so_and_the_next_one_is_json_again():
    types = []

    def handler(request):
        types.append(request.headers.get_list("content-type"))
        return httpx.Response(200, content=b"{}")

    form = "multipart/form-data; boundary=batchrunner-0"
    async with over(handler) as transport:
        await transport.send(call(b"--batchrunner-0--")._replace(content_type=form))
        await transport.send(call())
    assert types == [[form], ["application/json"]]


async def test_without_a_key_no_authorization_goes_out():
    def handler(request):
        assert "authorization" not in request.headers
        return httpx.Response(200, content=b"{}")

    async with HttpTransport(httpx.MockTransport(handler), "http://localhost:8000/v1", None) as transport:
        assert isinstance(await transport.send(call()), HttpReply)


async def test_a_reply_carries_the_wall_clock_and_lower_case_headers():
    def handler(request):
        return httpx.Response(429, headers=[("Retry-After", "7"), ("X-One", "1"), ("x-one", "2")], content=b"no")

    class Wall(FixedClock):
        def monotonic(self):
            return 5.0

    async with over(handler, clock=Wall()) as transport:
        reply = await transport.send(call())
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body, reply.received) == (429, b"no", 1_700_000_000_000_000)
    assert (reply.headers["retry-after"], reply.headers["x-one"]) == ("7", "1")


async def test_header_bytes_beyond_ascii_do_not_break_a_paid_answer():
    def handler(request):
        return httpx.Response(200, headers=[(b"x-note", b"caf\xe9 \xff")], content=b"{}")

    reply = await outcome_of(handler)
    assert isinstance(reply, HttpReply)
    assert reply.headers["x-note"] == "caf\u00e9 \u00ff"


@pytest.mark.parametrize(
    ("error", "kind", "billing"),
    [
        (httpx.ConnectError("refused"), K.CONNECTION, Billing.NOT_BILLED),
        (httpx.ConnectTimeout("slow"), K.CONNECTION, Billing.NOT_BILLED),
        (httpx.PoolTimeout("full"), K.CONNECTION, Billing.NOT_BILLED),
        (httpx.ProxyError("407"), K.MISCONFIGURED, Billing.NOT_BILLED),
        (StaleConnection("closed"), K.STALE_CONNECTION, Billing.NOT_BILLED),
        (MalformedReply("SMTP"), K.BAD_REPLY, Billing.UNKNOWN),
        (httpx.ReadError("reset"), K.CONNECTION, Billing.UNKNOWN),
        (httpx.ReadTimeout("slow"), K.CONNECTION, Billing.UNKNOWN),
        (httpx.WriteError("pipe"), K.CONNECTION, Billing.UNKNOWN),
        (httpx.CloseError("odd"), K.CONNECTION, Billing.UNKNOWN),
        (httpx.RemoteProtocolError("closed"), K.CONNECTION, Billing.UNKNOWN),
        (httpx.DecodingError("odd"), K.CONNECTION, Billing.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_only_what_surely_never_left_is_not_billed(error, kind, billing):
    def handler(request):
        raise error

    failure = await outcome_of(handler)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (kind, billing)
    assert "api.example.com" in failure.message


async def test_a_bug_in_the_engine_is_not_taken_for_a_bad_connection():
    def handler(request):
        raise KeyError("bug")

    with pytest.raises(BaseException) as caught:
        await outcome_of(handler)
    assert "bug" in repr(caught.value)


async def test_n26_a_407_is_a_misconfiguration():
    failure = await outcome_of(lambda _: httpx.Response(407))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing, failure.status) == (K.MISCONFIGURED, Billing.NOT_BILLED, 407)


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://elsewhere.example/v1?key=x", "elsewhere.example"),
        ("/other", "another path of the same host"),
        ("", "another path of the same host"),
        ("https://[", "an unreadable host"),
        ("//user:pass@elsewhere.example/", "elsewhere.example"),
        ("https://" + "a" * 5000 + "/", "…"),
    ],
)
async def test_a_redirect_names_where_it_leads_and_nothing_more(location, named):
    failure = await outcome_of(lambda _: httpx.Response(307, headers={"Location": location}))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.MISCONFIGURED, Billing.NOT_BILLED)
    assert named in failure.message
    assert "key=x" not in failure.message
    assert "pass" not in failure.message
    assert len(failure.message) <= 300


async def test_sending_before_entering_is_refused_instead_of_going_out_without_a_deadline():
    transport = over(lambda _: pytest.fail("it went out"))
    with pytest.raises(RuntimeError, match="async with"):
        await transport.send(call())


async def test_an_error_inside_the_block_comes_out_as_it_is():
    with pytest.raises(ValueError, match="mine"):
        async with over(lambda _: httpx.Response(200)):
            raise ValueError("mine")


# -------------------------------------------------------------------------------------------------------------- the key


async def test_a_foreign_error_that_quotes_the_key_is_cleaned():
    def handler(request):
        raise httpx.ReadError(f"bad header b'Bearer {CANARY_KEY}'")

    failure = await outcome_of(handler)
    assert CANARY_KEY not in repr(failure)
    assert "Bearer ***" in repr(failure)


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_s18_a_refusal_that_echoes_the_key_is_cleaned_before_anybody_keeps_it(status):
    body = b'{"error":{"message":"Incorrect API key provided: ' + CANARY_KEY.encode() + b'"}}'
    reply = await outcome_of(lambda _: httpx.Response(status, content=body))
    assert isinstance(reply, HttpReply)
    assert reply.body == b'{"error":{"message":"Incorrect API key provided: ***"}}'


async def test_s18_a_good_answer_that_repeats_the_key_is_kept_without_it():
    reply = await outcome_of(lambda _: httpx.Response(200, content=b'{"said":"' + CANARY_KEY.encode() + b'"}'))
    assert isinstance(reply, HttpReply)
    assert reply.body == b'{"said":"***"}'


async def test_a_cap_that_was_chosen_stands_above_that_of_the_call():
    async with over(lambda _: httpx.Response(200, content=b"x" * 3000), max_response=2048) as transport:
        failure = await transport.send(call())
    assert isinstance(failure, Failure)
    assert failure.kind is K.RESPONSE_TOO_LARGE
    assert "2048" in failure.message


async def test_s18_a_placeholder_for_a_key_is_a_word_like_any_other_in_a_good_answer():
    async with over(lambda _: httpx.Response(200, content=b'{"id":"e"}'), Secret("e")) as transport:
        reply = await transport.send(call())
    assert isinstance(reply, HttpReply)
    assert reply.body == b'{"id":"e"}'


# ------------------------------------------------------------------------------------------------ deadlines, in no time


class TestInVirtualTime:
    pytestmark = pytest.mark.usefixtures("virtual_time")

    @pytest.fixture
    def anyio_backend(self, virtual_time):
        return virtual_time

    def over(self, said):
        engine = InProcessTransport(lambda *_: said)
        return HttpTransport(engine, BASE, Secret(CANARY_KEY), clock=FixedClock())

    @pytest.mark.parametrize("fault", ["hang", "drip"])
    async def test_n7_n9_a_call_ends_at_its_deadline_to_the_second(self, fault):
        async with self.over(Said(body=b"x" * 1000, fault=fault)) as transport:
            failure = await transport.send(call(deadline=33.0))
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.billing) == (K.TIMEOUT, Billing.UNKNOWN)
        assert "33 s" in failure.message
        assert trio.current_time() == pytest.approx(33.0)

    async def test_an_answer_just_before_the_deadline_is_a_reply(self):
        async with self.over(Said(delay=32.9)) as transport:
            reply = await transport.send(call(deadline=33.0))
        assert isinstance(reply, HttpReply)
        assert reply.ttfb == pytest.approx(32.9)

    async def test_each_call_has_its_own_deadline_whatever_their_order(self):
        ended = {}

        async def one(transport, start, deadline):
            await anyio.sleep(start)
            assert isinstance(await transport.send(call(deadline=deadline)), Failure)
            ended[start, deadline] = trio.current_time()

        wanted = [(0, 600.0), (1, 5.0), (2, 300.0), (3, 0.5), (3, 0.5), (4, 2.0), (700, 1.0), (700, 50.0)]
        async with self.over(Said(fault="hang")) as transport, anyio.create_task_group() as group:
            for start, deadline in wanted:
                group.start_soon(one, transport, start, deadline)
        assert ended == {(start, deadline): pytest.approx(start + deadline) for start, deadline in wanted}

    async def test_a_deadline_that_has_passed_ends_the_call_at_once(self):
        async with self.over(Said(fault="hang")) as transport:
            assert isinstance(await transport.send(call(deadline=-1.0)), Failure)
        assert trio.current_time() == pytest.approx(0.0)

    async def test_no_deadline_at_all_is_possible(self):
        async with self.over(Said(delay=86_400.0)) as transport:
            assert isinstance(await transport.send(call(deadline=math.inf)), HttpReply)

    async def test_a_worker_outlives_its_call(self):
        async with self.over(Said(fault="hang")) as transport:
            for _ in range(3):
                assert isinstance(await transport.send(call(deadline=1.0)), Failure)
            await anyio.sleep(1.0)
        assert trio.current_time() == pytest.approx(4.0)

    async def test_the_deadline_of_a_caller_comes_first(self):
        async with self.over(Said(fault="hang")) as transport:
            with anyio.move_on_after(2.0) as scope:
                await transport.send(call(deadline=33.0))
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(2.0)

    async def test_an_interrupt_ends_what_is_in_flight_and_lets_nothing_else_out(self):
        outcomes = []

        async def one(transport):
            outcomes.append(await transport.send(call(deadline=600.0)))

        seen = []
        engine = InProcessTransport(lambda *call: seen.append(call) or Said(fault="hang"))
        async with HttpTransport(engine, BASE, None) as transport:
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(one, transport)
                await anyio.sleep(7.0)
                transport.interrupt()
            late = await transport.send(call())
        assert trio.current_time() == pytest.approx(7.0)
        assert {(failure.kind, failure.billing) for failure in outcomes} == {(K.INTERRUPTED, Billing.UNKNOWN)}
        assert (late.kind, late.billing) == (K.INTERRUPTED, Billing.NOT_BILLED)
        assert len(seen) == len(outcomes) == 5
