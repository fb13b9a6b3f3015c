"""Ctrl-C and TERM, once, twice and twenty times, on a real process."""

import shlex
import signal
import time

import pytest

from batchrunner.store.check import check
from tests.e2e.conftest import Start
from tests.e2e.place import chats, quiet, until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_calls_in_flight_finish_and_says_how_to_go_on(
    at: Start, number: signal.Signals, code: int
) -> None:
    place = at(latency=1.5, latency_jitter=0)
    place.file(chats(30))
    words = place.job("--concurrency", "8")
    child = place.start(*words)
    place.box.await_calls(8)
    child.signal(number)
    ended = child.end()

    assert ended.code == code, ended.err
    assert quiet(ended.err)
    calls = place.box.calls()
    assert len(calls) == 8, "calls were begun after the signal"
    assert all(call.written for call in calls)
    assert place.states() == {"succeeded": 8, "queued": 22}
    assert sorted(place.rows("SELECT id, outcome, use FROM attempts")) == sorted(
        (int(call.client_request_id or 0), "reply", "used") for call in calls
    )
    assert f"22 requests still queued; go on with: batchrunner {shlex.join(words)}" in ended.err
    assert len(place.lines()) == 8, "what is there is exported when a run stops"

    place.box.change(latency=0.0)
    assert place.run(*words).code == 0
    assert place.states() == {"succeeded": 30}
    assert len(place.box.calls()) == 30, "no row was sent twice"


def test_p5_the_second_signal_drops_what_is_in_flight_within_a_second(at: Start) -> None:
    place = at(latency=30.0)
    place.file(chats(30))
    child = place.start(*place.job("--concurrency", "8"))
    place.box.await_calls(8)
    child.signal(signal.SIGINT)
    until(lambda: "stopping" in child.said)
    child.signal(signal.SIGINT)
    dropped = time.monotonic()
    ended = child.end()
    took = time.monotonic() - dropped

    assert ended.code == 130, ended.err
    assert quiet(ended.err)
    assert took < 1.0, f"it took {took:.2f} s"
    assert place.states() == {"queued": 30}
    attempts = place.rows("SELECT id, failure, billing, use, ended IS NULL FROM attempts ORDER BY id")
    assert attempts == [(number, "interrupted", "unknown", "wasted", 0) for number in sorted(place.box.ids())]
    assert len(attempts) == 8

    place.box.change(latency=0.0)
    assert place.run(*place.job()).code == 0
    assert place.states() == {"succeeded": 30}


@pytest.mark.parametrize(
    ("numbers", "codes"),
    [
        ((signal.SIGINT,), {130}),
        ((signal.SIGTERM, signal.SIGINT), {130, 143}),
    ],
    ids=["INT", "both"],
)
def test_a_storm_of_signals_makes_no_traceback_and_no_half_state(
    at: Start, numbers: tuple[signal.Signals, ...], codes: set[int]
) -> None:
    place = at(latency=30.0)
    place.file(chats(30))
    child = place.start(*place.job("--concurrency", "8"))
    place.box.await_calls(8)
    sent = 0
    while child.process.poll() is None:  # to its very end: the last ones strike while it closes its database
        child.signal(numbers[sent % len(numbers)])
        sent += 1
        time.sleep(0.002)
    ended = child.end()

    assert sent >= 20
    assert ended.code in codes, ended.err
    assert quiet(ended.err), ended.err
    assert place.states() == {"queued": 30}
    assert place.rows("SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    assert check(place.db) == []
