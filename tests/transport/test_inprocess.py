"""The engine without a network breaks as a wire does."""

import httpx
import pytest
import trio

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpCall, HttpReply
from batchrunner.transport.inprocess import InProcessTransport
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY
from tests.transport.inside import Said

pytestmark = pytest.mark.usefixtures("virtual_time")


async def send(said, deadline=60.0):
    async with HttpTransport(InProcessTransport(lambda *_: said), "https://host", Secret(CANARY_KEY)) as transport:
        return await transport.send(HttpCall("/v1/embeddings", b"{}", "a-1", deadline))


async def test_the_function_gets_the_whole_call():
    seen = []

    def handle(method, path, headers, body):
        seen.append((method, path, headers, body))
        return Said(status=418, body=b"short and stout", delay=2.5)

    async with HttpTransport(InProcessTransport(handle), "https://host/prefix/v1", Secret(CANARY_KEY)) as transport:
        reply = await transport.send(HttpCall("/v1/embeddings", b'{"input":"x"}', "a-9", 60.0))
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (418, b"short and stout")
    assert trio.current_time() == pytest.approx(2.5)
    [(method, path, headers, body)] = seen
    assert (method, path, body) == ("POST", "/prefix/v1/embeddings", b'{"input":"x"}')
    assert headers["x-client-request-id"] == "a-9"
    assert headers["authorization"] == f"Bearer {CANARY_KEY}"


@pytest.mark.parametrize("fault", ["reset_before", "close_before", "truncate", "reset_mid"])
async def test_a_broken_wire_may_have_been_billed(fault):
    outcome = await send(Said(fault=fault, delay=3.0))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (FailureKind.CONNECTION, Billing.UNKNOWN)
    assert trio.current_time() == pytest.approx(3.0)


async def test_a_hang_ends_with_the_deadline_and_counts_as_sent():
    outcome = await send(Said(fault="hang"), deadline=90.0)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (FailureKind.TIMEOUT, Billing.UNKNOWN)


async def test_a_drip_is_whole_for_who_has_the_time():
    outcome = await send(Said(body=b"0123456789", fault="drip"))
    assert isinstance(outcome, HttpReply)
    assert outcome.body == b"0123456789"
    assert trio.current_time() == pytest.approx(5.0)


@pytest.mark.parametrize("fault", ["truncate", "reset_mid"])
async def test_half_the_body_arrives_before_it_breaks(fault):
    engine = InProcessTransport(lambda *_: Said(body=b"0123456789", fault=fault))
    response = await engine.handle_async_request(httpx.Request("POST", "https://host/v1/x", content=b"{}"))
    chunks = aiter(response.stream)
    assert await anext(chunks) == b"01234"
    with pytest.raises(httpx.TransportError):
        await anext(chunks)


async def test_an_unknown_fault_is_an_error_of_the_test():
    with pytest.raises(BaseException, match="unknown fault") as caught:
        await InProcessTransport(lambda *_: Said(fault="nonsense")).handle_async_request(
            httpx.Request("POST", "https://host/v1/x", content=b"")
        )
    assert isinstance(caught.value, ValueError)
