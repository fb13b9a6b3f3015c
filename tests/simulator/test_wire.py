"""Every fault on a real socket, seen by a client that reads raw bytes; and the doors beside the API."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from batchrunner.simulator import Ledger, Provider, Settings, read_ledger, serve

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}).encode()


def request(body=BODY, path="/v1/chat/completions"):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def split(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return lines[0], {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}, body


@asynccontextmanager
async def connected(url):
    parts = urlsplit(url)
    async with await anyio.connect_tcp(parts.hostname, parts.port) as stream:
        yield stream


async def read_all(stream):
    """Everything up to the end of the connection, and whether it ended with a `close` or a `reset`."""
    raw = b""
    with anyio.fail_after(5):
        while True:
            try:
                raw += await stream.receive()
            except anyio.EndOfStream:
                return raw, "close"
            except anyio.BrokenResourceError:
                return raw, "reset"


async def read_answer(stream):
    raw = b""
    with anyio.fail_after(5):
        while True:
            raw += await stream.receive()
            _, headers, body = split(raw)
            if b"\r\n\r\n" in raw and len(body) >= int(headers["content-length"]):
                return raw


async def until(condition):
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110  # the ledger is a value to look at, it raises no events
            await anyio.sleep(0.005)


async def entry_when_finished(provider):
    await until(lambda: not provider.ledger.in_flight)
    return provider.ledger.entries[-1]


async def fault(kind, **settings):
    """Commit one fault; what the client read, how the connection ended, and the ledger's entry."""
    provider = Provider(Settings(faults={kind: 1.0}, **settings))
    async with serve(provider) as url, connected(url) as stream:
        await stream.send(request())
        raw, end = await read_all(stream)
        return raw, end, await entry_when_finished(provider)


@pytest.mark.anyio
async def test_good_answers_follow_each_other_on_one_connection():
    provider = Provider(Settings())
    async with serve(provider) as url, connected(url) as stream:
        for _ in range(3):
            await stream.send(request())
            status, headers, body = split(await read_answer(stream))
            assert status == "HTTP/1.1 200 OK"
            assert headers["content-type"].startswith("application/json")
            assert json.loads(body)["object"] == "chat.completion"
        entry = await entry_when_finished(provider)
    assert (entry.number, entry.written, entry.billed) == (3, True, True)
    assert entry.request_bytes == len(BODY)


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "how"), [("reset_before", "reset"), ("close_before", "close")])
async def test_a_connection_lost_before_the_answer_brings_no_byte_but_is_billed(kind, how):
    raw, end, entry = await fault(kind)
    assert (raw, end) == (b"", how)
    assert (entry.status, entry.fault, entry.billed, entry.written) == (0, kind, True, False)


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "how"), [("truncate", "close"), ("reset_mid", "reset")])
async def test_a_connection_lost_amid_the_answer_breaks_the_promised_length(kind, how):
    raw, end, entry = await fault(kind)
    status, headers, body = split(raw)
    assert status == "HTTP/1.1 200 OK"
    assert 0 < len(body) < int(headers["content-length"])
    assert end == how
    assert (entry.billed, entry.written, entry.usage) == (True, False, None)


@pytest.mark.anyio
async def test_a_drip_brings_the_whole_answer_byte_by_byte():
    raw, end, entry = await fault("drip", drip_interval=0)
    _, headers, body = split(raw)
    assert len(body) == int(headers["content-length"])
    assert json.loads(body)["usage"] == entry.usage
    assert (end, entry.written) == ("close", True)


@pytest.mark.anyio
async def test_a_slow_drip_ends_when_the_client_goes():
    provider = Provider(Settings(faults={"drip": 1.0}, drip_interval=0.01))
    async with serve(provider) as url:
        async with connected(url) as stream:
            await stream.send(request())
            assert await stream.receive(1) == b"H"
            assert provider.ledger.in_flight == 1
        entry = await entry_when_finished(provider)
    assert (entry.billed, entry.written) == (True, False)


@pytest.mark.anyio
async def test_a_hang_lasts_until_the_client_goes():
    provider = Provider(Settings(faults={"hang": 1.0}))
    async with serve(provider) as url:
        async with connected(url) as stream:
            await stream.send(request())
            with anyio.move_on_after(0.05) as waited:
                await stream.receive()
            assert waited.cancelled_caught
            assert provider.ledger.in_flight == 1
        entry = await entry_when_finished(provider)
    assert (entry.status, entry.billed, entry.written) == (0, True, False)


@pytest.mark.anyio
async def test_a_hang_can_end_by_itself():
    raw, end, _ = await fault("hang", hang_seconds=0.02)
    assert (raw, end) == (b"", "close")


@pytest.mark.anyio
async def test_a_server_that_stops_does_not_wait_for_a_hang(tmp_path):
    path = tmp_path / "ledger.jsonl"
    provider = Provider(Settings(faults={"hang": 1.0}), ledger=Ledger(path))
    with anyio.fail_after(3):
        async with serve(provider) as url:
            stream = await anyio.connect_tcp("127.0.0.1", urlsplit(url).port)
            await stream.send(request())
            await until(lambda: provider.ledger.in_flight)
    await stream.aclose()
    assert [entry.written for entry in read_ledger(path)] == [False]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "status", "start"),
    [
        ("502html", "HTTP/1.1 502 Bad Gateway", b"<html>"),
        ("524", "HTTP/1.1 524 A Timeout Occurred", b"<html>"),
        ("529", "HTTP/1.1 529 Site Is Overloaded", b"{"),
        ("empty200", "HTTP/1.1 200 OK", b""),
        ("truncated_json", "HTTP/1.1 200 OK", b"{"),
        ("billed500", "HTTP/1.1 500 Internal Server Error", b"{"),
    ],
)
async def test_bad_answers_arrive_whole(kind, status, start):
    provider = Provider(Settings(faults={kind: 1.0}))
    async with serve(provider) as url, connected(url) as stream:
        await stream.send(request())
        found, headers, body = split(await read_answer(stream))
    assert found == status
    assert body.startswith(start)
    assert int(headers["content-length"]) == len(body)


@pytest.mark.anyio
@pytest.mark.parametrize("settings", [{"faults": {"keepalive_race": 1.0}}, {"keepalive_close": 1}])
async def test_the_race_closes_a_used_connection_without_a_byte(settings):
    provider = Provider(Settings(**settings))
    async with serve(provider) as url, connected(url) as stream:
        await stream.send(request())
        await read_answer(stream)
        await stream.send(request())
        assert await read_all(stream) == (b"", "close")
        entry = await entry_when_finished(provider)
    assert (entry.fault, entry.processed, entry.billed) == ("keepalive_race", False, False)
    assert provider.ledger.stats()["billed"] == 1


@pytest.mark.anyio
async def test_in_a_refused_outage_nobody_listens_and_then_the_same_port_is_back():
    now = 0.0
    provider = Provider(Settings(outages=((10, 20),), outage_kind="refused"), now=lambda: now)
    async with serve(provider) as url, connected(url) as kept:
        await kept.send(request())
        await read_answer(kept)
        now = 15.0
        with anyio.fail_after(3):
            while True:
                try:
                    async with connected(url):
                        await anyio.sleep(0.01)
                except OSError:
                    break
        await kept.send(request())
        assert await read_all(kept) == (b"", "reset")
        now = 25.0
        with anyio.fail_after(3):
            while True:
                try:
                    async with connected(url) as stream:
                        await stream.send(request())
                        assert split(await read_answer(stream))[0] == "HTTP/1.1 200 OK"
                        break
                except OSError:
                    await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_the_latency_is_waited_before_the_first_byte():
    provider = Provider(Settings(latency=0.1, latency_jitter=0))
    async with serve(provider) as url, connected(url) as stream:
        await stream.send(request())
        await read_answer(stream)
        entry = await entry_when_finished(provider)
    assert entry.finished - entry.time >= 0.095


@pytest.mark.anyio
async def test_a_client_that_leaves_early_is_billed_and_unwritten():
    provider = Provider(Settings(latency=5, latency_jitter=0))
    async with serve(provider) as url:
        async with connected(url) as stream:
            await stream.send(request())
            await until(lambda: provider.ledger.in_flight)
        entry = await entry_when_finished(provider)
    assert (entry.billed, entry.written) == (True, False)


@pytest.mark.anyio
async def test_the_control_door_shows_and_changes_without_a_key():
    provider = Provider(Settings(api_key="sk-canary"))
    async with serve(provider) as url, httpx.AsyncClient(base_url=url) as client:
        headers = {"authorization": "Bearer sk-canary"}
        assert (await client.post("/v1/chat/completions", content=BODY, headers=headers)).status_code == 200
        changed = await client.post("/_sim/settings", json={"credit_calls": 0, "faults": "500=0.5"})
        assert changed.status_code == 200
        assert (changed.json()["credit_calls"], changed.json()["api_key"]) == (0, "set")
        assert (await client.post("/v1/chat/completions", content=BODY, headers=headers)).status_code == 402
        wrong = await client.post("/_sim/settings", json={"what": 1})
        assert (wrong.status_code, wrong.json()) == (400, {"error": "unknown settings: what"})
        assert (await client.post("/_sim/settings", content=b"[]")).status_code == 400
        stats = (await client.get("/_sim/stats")).json()
        assert (stats["requests"], stats["billed"], stats["statuses"]) == (2, 1, {"200": 1, "402": 1})
        lines = (await client.get("/_sim/ledger")).text.splitlines()
        assert [json.loads(line)["status"] for line in lines] == [200, 402]
        assert (await client.get("/_sim/settings")).json()["credit_calls"] == 0
        assert (await client.get("/_sim/other")).status_code == 404


@pytest.mark.anyio
async def test_it_listens_on_loopback_only():
    with pytest.raises(ValueError, match="loopback only"):
        async with serve(Provider(Settings()), host="0.0.0.0"):
            pass


@pytest.mark.anyio
async def test_concurrent_calls_are_counted_and_never_cross_wired():
    provider = Provider(Settings(latency=0.05, latency_jitter=0.9))
    limits = httpx.Limits(max_connections=20)
    async with serve(provider) as url, httpx.AsyncClient(base_url=url, limits=limits) as client:

        async def ask(number):
            headers = {"authorization": "Bearer k", "X-Client-Request-Id": f"a-{number}"}
            body = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
            answer = await client.post("/v1/chat/completions", json=body, headers=headers)
            echoes[f"a-{number}"] = answer.json()["system_fingerprint"].removeprefix("fp_")

        echoes = {}
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)
    entries = provider.ledger.entries
    assert {entry.client_request_id: entry.body_sha256[:12] for entry in entries} == echoes
    assert 1 < provider.ledger.highest_concurrency <= 20
