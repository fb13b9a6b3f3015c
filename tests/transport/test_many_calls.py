"""Many calls at once, and what they leave behind: no mixed-up answer, no lost connection, no line to wait in."""

import asyncio
import contextlib
import socket
import threading
import time

import anyio
import pytest

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.transport import aiohttp_engine
from tests.transport.raw import answer, call, client, good, hangs, served, serving

WRONG = answer(b"the answer to another question")


@pytest.fixture(autouse=True, params=["shortcut", "session"])
def way(request, monkeypatch):
    """Every promise holds on both ways: straight on aiohttp's connections, and by its session where that can't be."""
    if request.param == "session":
        monkeypatch.setattr(aiohttp_engine, "works_with_this_aiohttp", lambda: False)
    return request.param


@pytest.mark.slow
async def test_calls_in_flight_have_a_connection_each():
    everyone = asyncio.Event()

    async def together(peer):
        body = await peer.request()
        if len(peer.server.bodies) == 300:
            everyone.set()
        await everyone.wait()  # a single call that had to stand in line would keep all from ending
        await peer.write(answer(body))

    async with serving(together) as server, client(server.url) as transport:
        replies = await asyncio.gather(*(transport.send(call(b"%d" % n)) for n in range(300)))
    assert [reply.body for reply in replies] == [b"%d" % n for n in range(300)]
    assert server.most_open == 300


async def ask(transport, count, workers=16):
    """``count`` calls by a few workers; return how many came back right, failed, and wrong."""
    numbers = iter(range(count))
    right, failed, wrong = [], [], []

    async def work():
        for number in numbers:
            outcome = await transport.send(call(b"%d" % number))
            if isinstance(outcome, Failure):
                failed.append(outcome)
            else:
                (right if outcome.body == b"%d" % number else wrong).append(outcome)

    await asyncio.gather(*(work() for _ in range(workers)))
    return right, failed, wrong


async def test_n16_a_second_answer_to_one_call_never_reaches_the_next_call():
    async def strays(peer):
        while True:
            body = await peer.request()
            await peer.write(answer(body) + (WRONG if int(body) % 10 == 0 else b""))

    async with serving(strays) as server, client(server.url) as transport:
        right, failed, wrong = await ask(transport, 500)
    assert (len(right), failed, wrong) == (500, [], [])
    assert server.connections >= 50, "connections that said too much are not used again"


@pytest.mark.slow
async def test_n16_a_second_answer_that_comes_late_never_reaches_the_next_call():
    said = asyncio.Event()

    async def late_strays(peer):
        while True:
            await peer.write(answer(await peer.request()))
            await asyncio.sleep(0.002)
            await peer.write(WRONG)
            said.set()

    async with serving(late_strays) as server, client(server.url) as transport:
        for number in range(100):
            reply = await transport.send(call(b"%d" % number))
            assert isinstance(reply, HttpReply)
            assert reply.body == b"%d" % number
            await said.wait()
            said.clear()
            await asyncio.sleep(0.001 * (number % 2))  # read by the loop, or still in the kernel
    assert server.connections == 100


def test_n16_what_the_loop_was_too_busy_to_read_never_reaches_the_next_call():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = threading.Thread(target=answer_twice, args=(listener,), daemon=True)
        served.start()
        assert asyncio.run(be_busy_between_calls(listener.getsockname()[1])) == [b"1", b"2"]
        served.join(5.0)


def answer_twice(listener):
    """Answer one call on each of two connections, and some time later say something that nobody asked for."""
    for body in (b"1", b"2"):
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(answer(body))
            time.sleep(0.02)
            with contextlib.suppress(ConnectionError):
                peer.sendall(WRONG)
                peer.recv(65536)


async def be_busy_between_calls(port):
    async with client(f"http://127.0.0.1:{port}") as transport:
        first = await transport.send(call(b"1"))
        time.sleep(0.06)  # noqa: ASYNC251 - the event loop is held up, and the stray answer comes
        second = await transport.send(call(b"2"))
    return [first.body, second.body]


@pytest.mark.parametrize("cut", [5, 40, len(WRONG) - 3])
async def test_n16_a_second_answer_in_two_pieces_never_reaches_the_next_call(cut):
    async def torn_strays(peer):
        while True:
            await peer.write(answer(await peer.request()) + WRONG[:cut])
            await peer.request()
            await peer.write(WRONG[cut:])

    async with serving(torn_strays) as server, client(server.url) as transport:
        right, _, wrong = await ask(transport, 60, workers=2)
    assert right
    assert wrong == []


async def test_n18_a_race_costs_one_more_try_and_nothing_else():
    async def forgetful(peer):
        while True:
            body = await peer.request()
            if len(peer.server.bodies) % 20 == 0 and peer.used:
                return
            peer.used = True
            await peer.write(answer(body))

    async with serving(forgetful) as server, client(server.url) as transport:
        retried = 0
        for number in range(400):
            outcome = await transport.send(call(b"%d" % number))
            if isinstance(outcome, Failure):
                assert (outcome.kind, outcome.billing) == (FailureKind.STALE_CONNECTION, Billing.NOT_BILLED)
                retried += 1
                outcome = await transport.send(call(b"%d" % number))
            assert isinstance(outcome, HttpReply)
            assert outcome.body == b"%d" % number
    assert retried >= 15
    assert len(server.bodies) == 400 + retried


@pytest.mark.slow
async def test_n28_ten_thousand_cancelled_calls_leave_a_transport_that_works(way):
    rounds = 100 if way == "shortcut" else 20  # the way that calls go, and the one that they go at need

    async def moody(peer):
        if peer.server.connections % 3 == 0:
            await hangs(peer)
        while True:
            body = await peer.request()
            await asyncio.sleep(0.02 if body == b"slow" else 0)
            await peer.write(answer(body))

    async with serving(moody) as server, client(server.url) as transport:

        async def churn(rounds):
            for number in range(rounds):
                with anyio.move_on_after(0.001 * (number % 4)):
                    await transport.send(call(b"slow"))

        await asyncio.gather(*(churn(rounds) for _ in range(100)))
        left = [task for task in asyncio.all_tasks() if "write_bytes" in repr(task)]
        outcomes = await asyncio.gather(*(send_until_good(transport) for _ in range(8)))
    assert left == []
    assert outcomes == [b"fine"] * 8


async def send_until_good(transport):
    """The body of the first good answer: every third connection of that server hangs, which is not what is tested."""
    for _ in range(20):
        outcome = await transport.send(call(b"fine", deadline=0.2))
        if isinstance(outcome, HttpReply):
            return outcome.body
    return None


async def test_a_cancelled_call_passes_on_the_cancellation_and_frees_its_connection():
    async with serving(good) as server, client(server.url) as transport:
        async with serving(hangs) as deaf, client(deaf.url) as waiting:
            task = asyncio.create_task(waiting.send(call(deadline=60.0)))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert isinstance(await transport.send(call()), HttpReply)


async def test_a_closed_transport_leaves_no_open_connection():
    gone = asyncio.Event()

    async def watch(peer):
        await served(peer)
        with contextlib.suppress(ConnectionError):
            assert await peer.reader.read() == b""
        gone.set()

    async with serving(watch) as server:
        async with client(server.url) as transport:
            assert isinstance(await transport.send(call()), HttpReply)
        async with asyncio.timeout(1.0):
            await gone.wait()
