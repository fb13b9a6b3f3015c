"""Every way in which a wire can break is told truly: never sent, sent and maybe billed, or answered."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
import traceback
from contextlib import closing

import httpx
import pytest

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.transport import aiohttp_engine
from batchrunner.transport.aiohttp_engine import AiohttpTransport
from batchrunner.transport.open import tls_context
from tests.canary import CANARY_KEY
from tests.transport.raw import (
    BODY,
    PATH,
    Behaviour,
    answer,
    call,
    client,
    drips,
    every,
    good,
    hangs,
    pours,
    promises,
    resets,
    served,
    serving,
    taken,
    waits,
    writes,
)

K = FailureKind
LONG = answer(b"x" * 1000)
OVER = answer(b"x" * 1001)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True, params=["shortcut", "session"])
def way(request, monkeypatch):
    """Every promise holds on both ways: straight on aiohttp's connections, and by its session where that can't be."""
    if request.param == "session":
        monkeypatch.setattr(aiohttp_engine, "works_with_this_aiohttp", lambda: False)


async def one_call(behave: Behaviour, **options) -> HttpReply | Failure:
    async with serving(behave) as server, client(server.url) as transport:
        return await transport.send(call(**options))


async def test_a_good_answer_comes_back_byte_for_byte():
    async with serving(good) as server, client(server.url) as transport:
        reply = await transport.send(call(b'{"a":  1}', id="a-7"))
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (200, b'{"a":  1}')
    assert reply.headers["content-type"] == "application/json"
    assert reply.ttfb > 0
    head = server.heads[0].decode().lower()
    assert head.startswith(f"post {PATH} http/1.1\r\n")
    for line in (
        f"authorization: bearer {CANARY_KEY}",
        "content-type: application/json",
        "accept: application/json",
        "accept-encoding: identity",
        "x-client-request-id: a-7",
        "content-length: 9",
        f"host: {server.url.removeprefix('http://')}",
    ):
        assert head.count(f"\r\n{line}\r\n") == 1, line
    assert "\r\nuser-agent: batchrunner" in head
    assert len(head.strip().split("\r\n")) == 9, "nothing else goes out"


async def test_of_a_repeated_header_the_first_one_counts():
    reply = await one_call(every(taken, writes(answer(b"{}", "200 OK", "Retry-After: 3", "RETRY-AFTER: 9")), hangs))
    assert isinstance(reply, HttpReply)
    assert reply.headers["retry-after"] == "3"


async def test_a_body_over_a_mebibyte_goes_out_whole_and_without_warnings():
    body = b"x" * 3_000_000
    async with serving(good) as server, client(server.url) as transport:
        reply = await transport.send(call(body, max_response=4_000_000))
    assert isinstance(reply, HttpReply)
    assert server.bodies == [body] == [reply.body]


@pytest.mark.parametrize("status", [200, 204, 400, 401, 408, 429, 500, 529])
async def test_every_complete_answer_is_a_reply_whatever_its_status(status):
    body = b"" if status == 204 else b'{"error":{}}'
    reply = await one_call(every(taken, writes(answer(body, f"{status} x")), hangs))
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body) == (status, body)


# ----------------------------------------------------------------------------------------------------------- never sent


async def test_n1_refused_is_never_sent():
    with closing(socket.socket()) as taken_port:
        taken_port.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        async with client(f"http://127.0.0.1:{taken_port.getsockname()[1]}") as transport:
            failure = await transport.send(call())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.CONNECTION, Billing.NOT_BILLED)
    assert "Connection refused" in failure.message


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_AGAIN], ids=["no such name", "no answer for now"])
async def test_n2_a_name_that_is_not_found_is_never_sent(monkeypatch, code):
    def unknown(host, *_, **__):
        assert host == "no-such-host.invalid"
        raise socket.gaierror(code, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with client("https://no-such-host.invalid") as transport:
        failure = await transport.send(call())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.CONNECTION, Billing.NOT_BILLED)
    assert "no-such-host.invalid" in failure.message
    assert "name was not found" in failure.message


@pytest.fixture
def full_port():
    """A port whose accept queue is full: connecting to it neither succeeds nor fails."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(("connect_timeout", "deadline"), [(0.1, 5.0), (5.0, 0.1)], ids=["its own", "the deadline"])
async def test_n3_a_connect_that_never_completes_is_never_sent(full_port, connect_timeout, deadline):
    engine = AiohttpTransport(connect_timeout=connect_timeout)
    async with client(f"http://127.0.0.1:{full_port}", engine) as transport:
        async with asyncio.timeout(2.0):
            failure = await transport.send(call(deadline=deadline))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.CONNECTION, Billing.NOT_BILLED)
    assert "nothing was sent" in failure.message


async def test_a_connect_that_is_interrupted_is_never_sent(full_port):
    async with client(f"http://127.0.0.1:{full_port}") as transport:
        asyncio.get_running_loop().call_later(0.05, transport.interrupt)
        failure = await transport.send(call())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.INTERRUPTED, Billing.NOT_BILLED)


# ------------------------------------------------------------------------------------------------- sent and then broken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        pytest.param(every(taken), K.CONNECTION, id="closed before the answer"),
        pytest.param(every(taken, resets), K.CONNECTION, id="reset before the answer"),
        pytest.param(every(taken, writes(LONG[:40])), K.CONNECTION, id="closed inside the head"),
        pytest.param(every(taken, writes(LONG[:-500])), K.CONNECTION, id="closed inside a body of known length"),
        pytest.param(every(taken, writes(LONG[:-500]), resets), K.CONNECTION, id="reset inside the body"),
        pytest.param(every(taken, writes(CHUNKED + b"5\r\nab")), K.CONNECTION, id="closed inside a chunk"),
        pytest.param(every(taken, writes(CHUNKED + b"2\r\nab\r\n")), K.CONNECTION, id="closed between chunks"),
        pytest.param(every(taken, writes(CHUNKED + b"zz\r\nab\r\n"), hangs), K.BAD_REPLY, id="a chunk size of zz"),
        pytest.param(
            every(taken, writes(CHUNKED + b"2\r\nab\r\n"), waits(0.05), writes(b"zz\r\n"), hangs),
            K.CONNECTION,
            id="a later chunk size of zz",
        ),
        pytest.param(
            every(taken, writes(b"HTTP/1.1 200 OK\r\n\r\n{}"), resets),
            K.CONNECTION,
            id="reset inside an open-ended body",
        ),
        pytest.param(every(taken, writes(b"220 mail.example.com ESMTP\r\n"), hangs), K.BAD_REPLY, id="not HTTP"),
        pytest.param(
            every(taken, writes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), hangs),
            K.BAD_REPLY,
            id="two lengths",
        ),
        pytest.param(
            every(taken, writes(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), hangs),
            K.BAD_REPLY,
            id="a header of 100 KB",
        ),
        pytest.param(every(taken, writes(b"HTTP/1.1 102 Processing\r\n\r\n")), K.CONNECTION, id="closed after a 102"),
    ],
)
async def test_n5_n6_n11_n12_n17_what_breaks_after_sending_may_have_been_billed(behave, kind):
    outcome = await one_call(behave, deadline=0.25)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (kind, Billing.UNKNOWN), outcome


async def ends_at_the_deadline(behave):
    started = time.monotonic()
    outcome = await one_call(behave, deadline=0.25)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.TIMEOUT, Billing.UNKNOWN), outcome
    assert 0.2 < time.monotonic() - started < 2.0


@pytest.mark.slow
async def test_n7_silence_before_the_answer_ends_at_the_deadline():
    await ends_at_the_deadline(every(taken, hangs))


@pytest.mark.slow
@pytest.mark.parametrize("said", [LONG[:40], LONG[:-500]], ids=["inside the head", "inside the body"])
async def test_n8_silence_amid_the_answer_ends_at_the_deadline(said):
    await ends_at_the_deadline(every(taken, writes(said), hangs))


@pytest.mark.slow
async def test_n9_a_slow_drip_ends_at_the_deadline():
    await ends_at_the_deadline(every(taken, drips))


@pytest.mark.slow
async def test_n10_interim_responses_without_end_end_at_the_deadline():
    await ends_at_the_deadline(every(taken, promises))


async def test_an_upload_that_is_not_taken_counts_as_sent():
    outcome = await one_call(every(hangs), body=b"x" * 8_000_000, deadline=0.2)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.TIMEOUT, Billing.UNKNOWN)


async def test_an_answer_before_the_whole_body_is_taken_is_a_reply():
    early = every(writes(answer(b"{}", "413 x", "Connection: close")), waits(0.2))
    outcome = await one_call(early, body=b"x" * 8_000_000, deadline=2.0)
    assert isinstance(outcome, HttpReply)
    assert outcome.status == 413


# ------------------------------------------------------------------------------------------------- kept-alive and stale


async def test_a_kept_alive_connection_is_used_again():
    async with serving(good) as server, client(server.url) as transport:
        for _ in range(5):
            assert isinstance(await transport.send(call()), HttpReply)
    assert server.connections == 1


@pytest.mark.parametrize("end", [every(taken), every(taken, resets)], ids=["closed", "reset"])
async def test_n18_a_close_on_a_reused_connection_is_not_billed_and_not_resent(end):
    async with serving(every(served, end)) as server, client(server.url) as transport:
        assert isinstance(await transport.send(call(b"1")), HttpReply)
        failure = await transport.send(call(b"2"))
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.billing) == (K.STALE_CONNECTION, Billing.NOT_BILLED)
        await asyncio.sleep(0.05)
        assert server.bodies == [b"1", b"2"], "a paid call is never sent twice behind the runner's back"
        assert isinstance(await transport.send(call(b"3")), HttpReply)
    assert server.connections == 2


async def test_a_reused_connection_that_breaks_long_after_the_send_may_have_served_it(monkeypatch):
    monkeypatch.setattr(aiohttp_engine, "RACE_SECONDS", 0.05)
    async with serving(every(served, taken, waits(0.15))) as server, client(server.url) as transport:
        assert isinstance(await transport.send(call()), HttpReply)
        failure = await transport.send(call())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.CONNECTION, Billing.UNKNOWN)


@pytest.mark.parametrize("said", [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 2"], ids=["interim", "part of a head"])
async def test_a_reused_connection_that_breaks_after_a_byte_of_answer_may_have_served_it(said):
    async with serving(every(served, taken, writes(said))) as server, client(server.url) as transport:
        assert isinstance(await transport.send(call()), HttpReply)
        failure = await transport.send(call())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.billing) == (K.CONNECTION, Billing.UNKNOWN)


async def test_a_connection_that_the_server_closed_in_time_is_not_used_again():
    async with serving(every(served)) as server, client(server.url) as transport:
        for _ in range(3):
            assert isinstance(await transport.send(call()), HttpReply)
            await asyncio.sleep(0.02)  # the FIN arrives
    assert server.connections == 3


# ----------------------------------------------------------------------------------------------------- caps and codings


@pytest.mark.parametrize(
    "body",
    [pours, writes(OVER[:-990]), writes(CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")],
    ids=["endless", "announced", "a byte too many"],
)
async def test_n23_a_body_over_the_cap_is_given_up_as_soon_as_that_is_known(body):
    outcome = await one_call(every(taken, body, hangs), max_response=1000)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing, outcome.status) == (K.RESPONSE_TOO_LARGE, Billing.UNKNOWN, 200)


@pytest.mark.parametrize(
    "body", [LONG, CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"], ids=["of known length", "chunked"]
)
async def test_a_body_of_just_the_cap_is_read(body):
    outcome = await one_call(every(taken, writes(body), hangs), max_response=1000)
    assert isinstance(outcome, HttpReply)
    assert outcome.body == b"x" * 1000


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, gzip", "x"])
async def test_n22_n24_a_coding_that_was_not_asked_for_is_refused(coding):
    outcome = await one_call(every(taken, writes(answer(b"\x1f\x8b", "200 OK", f"Content-Encoding: {coding}")), hangs))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.BAD_REPLY, Billing.UNKNOWN)


# ------------------------------------------------------------------------------------------------------ wrong addresses


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_n20_a_redirect_is_never_followed(status):
    async with serving(good) as second:
        moved = writes(answer(b"", f"{status} Moved", f"Location: {second.url}/v1/chat/completions?token=t"))
        outcome = await one_call(every(taken, moved, hangs))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing, outcome.status) == (K.MISCONFIGURED, Billing.NOT_BILLED, status)
    assert second.url.removeprefix("http://") in outcome.message
    assert "token=t" not in outcome.message
    assert (second.connections, second.bodies) == (0, [])


async def test_n21_a_redirect_to_https_on_the_same_host_is_told_and_not_followed():
    moved = writes(answer(b"", "301 Moved", "Location: https://127.0.0.1/v1/chat/completions"))
    outcome = await one_call(every(taken, moved, hangs))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.MISCONFIGURED, Billing.NOT_BILLED)
    assert "127.0.0.1" in outcome.message
    assert "set the base URL to where the API is" in outcome.message


async def test_n27_where_ipv6_is_broken_the_call_goes_out_by_ipv4(monkeypatch):
    async with serving(good) as server:
        port = int(server.url.rpartition(":")[2])
        both = [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        async with client(f"http://localhost:{port}") as transport:
            assert isinstance(await transport.send(call()), HttpReply)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert, *name],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert), str(key)


async def test_n4_a_certificate_that_does_not_verify_is_a_misconfiguration(certificate):
    async with (
        serving(good, certificate[0]) as server,
        client(server.url, AiohttpTransport(tls=tls_context())) as transport,
    ):
        outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.MISCONFIGURED, Billing.NOT_BILLED)
    assert "self-signed certificate" in outcome.message
    assert "--ca-file" in outcome.message
    assert server.bodies == []


TWO_DAYS = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-out", "cert.pem")
AUTHORITY = """[ca]
default_ca = here
[here]
new_certs_dir = .
database = index
serial = serial
default_md = sha256
policy = any
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
subjectAltName = DNS:localhost
"""


@pytest.fixture(scope="module")
def expired(certificate, tmp_path_factory):
    """A certificate for localhost that signed itself for two days in 2020, and its key."""
    folder = tmp_path_factory.mktemp("expired")
    (folder / "ca.cnf").write_text(AUTHORITY)
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    key = certificate[2]
    for words in (
        ["req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", "ask.pem"],
        ["ca", "-batch", "-notext", "-config", "ca.cnf", "-selfsign", "-keyfile", key, "-in", "ask.pem", *TWO_DAYS],
    ):
        subprocess.run([shutil.which("openssl"), *words], cwd=folder, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", key)
    return context, str(folder / "cert.pem")


async def test_n4_a_certificate_that_has_expired_is_a_misconfiguration(expired):
    context, authority = expired
    engine = AiohttpTransport(tls=tls_context(authority))
    async with serving(good, context) as server, client(server.url, engine) as transport:
        outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.MISCONFIGURED, Billing.NOT_BILLED)
    assert "expired" in outcome.message
    assert server.bodies == []


async def test_n4_an_old_protocol_is_a_misconfiguration():
    async def old(peer):
        await peer.reader.read(1)
        await peer.write(b"\x15\x03\x01\x00\x02\x02\x46")  # RFC 8446 6: a fatal alert, protocol_version

    async with serving(old) as server, client(server.url.replace("http:", "https:")) as transport:
        outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.MISCONFIGURED, Billing.NOT_BILLED), outcome


async def test_tls_is_verified_without_a_context_too(certificate):
    async with serving(good, certificate[0]) as server, client(server.url) as transport:
        outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert outcome.kind is K.MISCONFIGURED


async def test_n4_an_authority_that_was_named_is_trusted_for_its_own_host_only(certificate):
    context, authority, *_ = certificate
    async with serving(good, context) as server:
        async with client(server.url, AiohttpTransport(tls=tls_context(authority))) as transport:
            for _ in range(3):
                assert isinstance(await transport.send(call()), HttpReply)
        assert server.connections == 1, "kept alive"
        other_name = server.url.replace("localhost", "127.0.0.1")
        async with client(other_name, AiohttpTransport(tls=tls_context(authority))) as transport:
            outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert outcome.kind is K.MISCONFIGURED
    assert len(server.bodies) == 3


async def test_n4_https_to_a_plain_server_is_a_misconfiguration():
    plain = every(waits(0.02), writes(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    async with serving(plain) as server, client(server.url.replace("http:", "https:")) as transport:
        outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (K.MISCONFIGURED, Billing.NOT_BILLED)


@pytest.mark.parametrize(("status", "kind"), [(407, K.MISCONFIGURED), (503, K.CONNECTION)])
async def test_n26_a_proxy_that_refuses_is_never_sent_to(status, kind):
    async def proxy(peer):
        await peer.request()
        await peer.write(answer(b"", f"{status} no"))

    async with serving(proxy) as server:
        engine = AiohttpTransport(proxy=server.url)
        async with client("https://api.example.com", engine) as transport:
            outcome = await transport.send(call())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (kind, Billing.NOT_BILLED)
    assert server.heads[0].startswith(b"CONNECT api.example.com:443 ")
    assert CANARY_KEY.encode() not in server.heads[0]


# -------------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    "behave",
    [every(taken), every(taken, writes(b"nonsense\r\n\r\n")), every(taken, writes(LONG[:-500])), every(taken, hangs)],
    ids=["closed", "not HTTP", "truncated", "silence"],
)
async def test_no_error_of_the_engine_holds_the_key(behave):
    async with serving(behave) as server, AiohttpTransport() as engine:
        headers = {"Authorization": f"Bearer {CANARY_KEY}"}
        request = httpx.Request("POST", f"{server.url}{PATH}", headers=headers, content=BODY)
        with pytest.raises((httpx.TransportError, TimeoutError)) as caught:
            await asyncio.wait_for(whole(engine, request), 0.2)
    assert CANARY_KEY.encode() in server.heads[0], "it was sent"
    told, error = [], caught.value
    while error is not None:
        told += [str(error), repr(error), repr(vars(error))]
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        told += [str(frame.locals) for frame in frames if frame.filename != __file__]
        error = error.__cause__ or error.__context__
    assert [text for text in told if CANARY_KEY in text] == []


async def whole(engine, request):
    response = await engine.handle_async_request(request)
    return await response.aread()


async def test_failures_and_reprs_hold_no_key():
    async with serving(every(taken)) as server, client(server.url) as transport:
        failure = await transport.send(call())
        assert CANARY_KEY not in repr(failure) + repr(transport) + repr(vars(transport)) + repr(call())
