"""The provider's catalogue, in both shapes, through bad weather."""

from urllib.parse import parse_qs

import msgspec
import pytest
import trio

from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.transport.inprocess import InProcessTransport
from batchrunner.transport.models import LONGEST_CURSOR, MOST_PAGES, fetch_models
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


def page(cursor, *names):
    return Said(body=msgspec.json.encode({"data": [{"name": name} for name in names], "next_cursor": cursor}))


async def test_the_newer_catalogue_is_read_page_by_page_and_bad_weather_between_them_waited_out():
    models, calls = await fetch(Said(status=404), page("2", "a", "b"), Said(status=503), page("3", "c"), page("", "d"))
    assert [model["name"] for model in models] == ["a", "b", "c", "d"]
    asked = ["/v2/supported-models?after=2", "/v2/supported-models?after=2", "/v2/supported-models?after=3"]
    assert [path for _, path, _, _ in calls[2:]] == asked


HOSTILE = [
    "@evil.example/",
    "//evil.example/x",
    "#x",
    "?a=b&c=d",
    "../../v1/files",
    "a b\r\nHost: evil",
    "%2e%2e/ü",
    "x;y",
]


@pytest.mark.parametrize("cursor", HOSTILE)
async def test_what_names_the_next_page_is_a_query_of_the_same_path_whatever_it_holds(cursor):
    _, calls = await fetch(Said(status=404), page(cursor, "a"), page(None))
    _, path, headers, _ = calls[-1]
    bare, _, query = path.partition("?")
    assert (bare, parse_qs(query, strict_parsing=True)) == ("/v2/supported-models", {"after": [cursor]})
    assert headers["host"] == "host"


async def test_a_catalogue_whose_pages_never_end_is_left():
    outcome, calls = await fetch(Said(status=404), *[page("again", "a")] * (MOST_PAGES + 5))
    assert (outcome.kind, len(calls)) == (FailureKind.BAD_REPLY, MOST_PAGES + 2)


@pytest.mark.parametrize("cursor", [3, {"after": "x"}, ["x"], "x" * (LONGEST_CURSOR + 1)])
async def test_what_can_be_no_cursor_is_a_bad_reply_and_not_the_end_of_the_list(cursor):
    outcome, calls = await fetch(Said(status=404), page(cursor, "a"))
    assert (outcome.kind, len(calls)) == (FailureKind.BAD_REPLY, 2)


async def test_half_a_catalogue_is_none():
    outcome, _ = await fetch(Said(status=404), page("2", "a"), *[Said(status=500, body=b"sorry")] * 3)
    assert (outcome.status, outcome.body) == (500, b"sorry")


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
