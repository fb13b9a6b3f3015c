"""The provider's catalogue, in both shapes, through bad weather."""

import pytest
import trio

from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.transport.inprocess import InProcessTransport
from batchrunner.transport.models import fetch_models
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY
from tests.transport.inside import Said

pytestmark = pytest.mark.usefixtures("virtual_time")


async def fetch(*answers):
    """Fetch from a provider that gives these answers in turn; return what came and the calls it took."""
    calls, rest = [], iter(answers)

    def handle(*seen):
        calls.append(seen)
        return next(rest)

    async with HttpTransport(InProcessTransport(handle), "https://host/v1", Secret(CANARY_KEY)) as transport:
        return await fetch_models(transport), calls


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id":"a","type":"chat"},{"id":"b"}]',
        b'{"object":"list","data":[{"id":"a","type":"chat"},{"id":"b"}]}',
        b'{"data":[{"id":"a","type":"chat"},null,3,"x",{"id":"b"}]}',
    ],
)
async def test_both_shapes_are_read(body):
    models, calls = await fetch(Said(body=body))
    assert models == [{"id": "a", "type": "chat"}, {"id": "b"}]
    [(method, path, headers, sent)] = calls
    assert (method, path, sent) == ("GET", "/v1/models", b"")
    assert headers["authorization"] == f"Bearer {CANARY_KEY}"


@pytest.mark.parametrize(
    "bad", [Said(status=500), Said(status=503), Said(status=429), Said(fault="reset_before"), Said(fault="hang")]
)
async def test_bad_weather_is_waited_out(bad):
    models, calls = await fetch(bad, bad, Said(body=b"[]"))
    assert models == []
    assert len(calls) == 3


async def test_three_tries_are_all():
    outcome, calls = await fetch(*[Said(status=500, body=b"sorry")] * 9)
    assert isinstance(outcome, HttpReply)
    assert (outcome.status, outcome.body, len(calls)) == (500, b"sorry", 3)
    assert trio.current_time() == pytest.approx(1.5)


async def test_where_there_is_no_such_path_the_newer_catalogue_is_asked():
    body = b'{"data":[{"id":"ml_a","name":"a"}],"next_cursor":null}'
    models, calls = await fetch(Said(status=404), Said(body=body))
    assert models == [{"id": "ml_a", "name": "a"}]
    assert [path for _, path, _, _ in calls] == ["/v1/models", "/v2/supported-models"]


async def test_where_there_is_neither_the_first_refusal_is_told():
    outcome, calls = await fetch(Said(status=404, body=b"first"), Said(status=404, body=b"second"))
    assert (outcome.status, outcome.body, len(calls)) == (404, b"first", 2)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_comes_back_as_it_is_and_at_once(status):
    outcome, calls = await fetch(Said(status=status, body=b"no"))
    assert isinstance(outcome, HttpReply)
    assert (outcome.status, len(calls)) == (status, 1)


async def test_a_redirect_is_told_at_once():
    outcome, calls = await fetch(Said(status=301, headers={"location": "https://elsewhere.example/"}))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, len(calls)) == (FailureKind.MISCONFIGURED, 1)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"data":{}}', b"null", b"3", b"\xff", b"[" * 100_000, b'["\xff"]']
)
async def test_what_is_no_catalogue_is_a_bad_reply(body):
    outcome, _ = await fetch(Said(body=body))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.BAD_REPLY
