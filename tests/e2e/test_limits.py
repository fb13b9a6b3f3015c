"""Limits on a real socket: never above the rate, never idle below it while work waits; a slow lane slows nobody.

The windows here are a few seconds long; hours of the same arithmetic are lived in virtual time by the gate's and the
corridor's own tests. Kills and restarts in between are what only real processes can show.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from batchrunner.simulator import Entry, worst_window
from tests.e2e.conftest import Start
from tests.e2e.place import GPT, LLAMA, Box, Child, Place, boxed, chats, placed, quiet, until

pytestmark = pytest.mark.slow

STRETCH = 6.0
"""Seconds of uninterrupted work over which the use of a limit is measured."""
CLOCKS = 0.01
"""Seconds between the gate's reading of one clock and the attempt's of the other, however busy the machine is."""


def stretch(calls: list[Entry], begin: float) -> list[Entry]:
    """The calls of the stretch that begins at a time of the provider's clock."""
    return [call for call in calls if begin <= call.time < begin + STRETCH]


def test_requests_per_minute_hold_over_kills_and_are_used_up(at: Start) -> None:
    """Exactly, where calls are admitted; on the wire by as much less exactly as one took longer than another."""
    place = at(latency=0.05)
    place.file(chats(200))
    words = place.job("--rpm", "600", "--concurrency", "16")
    for _ in range(3):
        before = place.box.arrived
        child = place.start(*words)
        place.box.await_calls(before + 14)  # more than the burst of one second: by now the rate itself is at work
        assert child.kill()
    before = place.box.arrived
    child = place.start(*words)
    place.box.await_calls(before + 1)
    begin = place.box.calls()[before].time + 0.2
    until(lambda: place.box.calls()[-1].time >= begin + STRETCH)
    assert child.process.poll() is None, "the work ran out before the measuring ended"
    child.kill()

    opened = dict(place.rows("SELECT CAST(id AS TEXT), opened / 1e6 FROM attempts"))
    assert worst_window([(at, 1.0) for at in opened.values()], 10.0, 10.0).excess <= CLOCKS * 10.0
    lags = [call.wall - opened[call.client_request_id] for call in place.box.calls() if call.client_request_id]
    assert place.box.worst_excess(10.0, 10.0) <= (CLOCKS + max(lags) - min(lags)) * 10.0, "none is late but by its way"
    assert len(stretch(place.box.calls(), begin)) >= 0.95 * 10.0 * STRETCH
    assert all(call.status == 200 for call in place.box.calls())


RATE = 50_000 / 60
"""Tokens a second."""
SLOW, FAST = LLAMA, GPT
FAST_ROWS, FAST_LATENCY, FAST_AIR = 200, 0.1, 8


class Trio:
    """Three runs side by side, each with a database and a provider of its own: they mostly wait."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.upper = self._place("upper", latency=0.15)
        self.learned = self._place("learned", latency=0.15)
        self.lanes = self._place("lanes", latency=FAST_LATENCY, latency_jitter=0.0)

    def _place(self, name: str, **settings: Any) -> Place:
        (self._folder / name).mkdir()
        box: Box = self._stack.enter_context(boxed(**settings))
        return self._stack.enter_context(placed(self._folder / name, box))


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with ExitStack() as stack:
        three = Trio(tmp_path_factory.mktemp("limits"), stack)
        children = [_start_tokens(three.upper, "upper"), _start_tokens(three.learned, "learned"), _start_lanes(three)]
        for place in (three.upper, three.learned):
            until(lambda place=place: place.box.arrived > 25)  # type: ignore[misc]
            begin = place.box.calls()[25].time
            until(lambda place=place, begin=begin: place.box.calls()[-1].time >= begin + STRETCH)  # type: ignore[misc]
        until(lambda: sum(call.model == FAST and bool(call.written) for call in three.lanes.box.calls()) == FAST_ROWS)
        assert all(child.process.poll() is None for child in children), "a run ended before it was measured"
        for child in children:
            child.kill()
        yield three


def _start_tokens(place: Place, reserve: str) -> Child:
    place.file(chats(300, max_tokens=200))
    (place.folder / "batchrunner.toml").write_text(f'reserve = "{reserve}"\n')
    return place.start(*place.job("--tpm", "50k", "--concurrency", "16"))


def _start_lanes(three: Trio) -> Child:
    place = three.lanes
    place.file([*chats(5, "slow", SLOW), *chats(FAST_ROWS, "fast", FAST)])
    (place.folder / "batchrunner.toml").write_text(f'[providers.together.models."{SLOW}"]\nrpm = 1\n')
    return place.start(*place.job("--concurrency", str(FAST_AIR)))


@pytest.mark.parametrize(("reserve", "share"), [("upper", 0.9), ("learned", 0.9)])
def test_tokens_per_minute_hold_and_are_used(trio: Trio, reserve: str, share: float) -> None:
    place: Place = getattr(trio, reserve)
    calls = place.box.calls()
    largest = max(call.input_tokens + call.output_tokens for call in calls)
    excess = place.box.worst_excess(RATE, max(RATE, largest), weight="real_tokens")
    # One call of jitter; learned reserves may err by what the calls in the air were short of, too.
    assert excess <= largest * (1 if reserve == "upper" else 4)
    measured = stretch(calls, calls[25].time)
    tokens = sum(call.input_tokens + call.output_tokens for call in measured)
    assert tokens >= share * RATE * STRETCH
    assert all(call.status == 200 for call in calls)


def test_a_lane_of_one_request_a_minute_slows_no_other(trio: Trio) -> None:
    calls = trio.lanes.box.calls()
    fast = [call for call in calls if call.model == FAST]
    slow = [call for call in calls if call.model == SLOW]
    assert len(fast) == FAST_ROWS
    assert len(slow) == 1, "one request a minute"
    alone = FAST_ROWS / FAST_AIR * FAST_LATENCY
    took = max(call.finished or 0 for call in fast) - fast[0].time
    assert took <= 2 * alone, f"{took:.1f} s, alone it takes {alone:.1f} s"
    assert max(call.in_flight for call in calls) == FAST_AIR, "the slow lane held a slot while it waited"


def test_a_waiting_lane_is_left_at_once_when_the_run_is_stopped(trio: Trio) -> None:
    place = trio.lanes
    child = place.start(*place.job("--concurrency", str(FAST_AIR)))
    until(lambda: place.rows("SELECT count(snapshot) FROM runners WHERE pid = ?", child.pid) == [(1,)])
    child.signal(signal.SIGINT)
    ended = child.end(timeout=5)
    assert ended.code == 130, ended.err
    assert quiet(ended.err)
    assert len([call for call in place.box.calls() if call.model == SLOW]) == 1, "the minute holds over a restart"
    assert place.states() == {"succeeded": FAST_ROWS + 1, "queued": 4}
