"""T1, T2, T6: what is set on the machine's clock in mid-run changes nothing for a run."""

import time

import pytest

from batchrunner.core import clock as room
from batchrunner.core.clock import SystemClock

YEAR = 366 * 86_400 * 10**9


class Machine:
    """A wall clock that anybody can set, and one that nobody can."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = 1_795_000_000 * 10**9
        self.steady = 77 * 10**9
        monkeypatch.setattr(room.time, "time_ns", lambda: self.wall)
        monkeypatch.setattr(room.time, "clock_gettime_ns", lambda _: self.steady)

    def passes(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.steady += nanoseconds


@pytest.mark.parametrize(
    "to", [-3600 * 10**9, 3600 * 10**9, -1_795_000_000 * 10**9, 74 * YEAR], ids=["-1h", "+1h", "1970", "2100"]
)
def test_t2_a_jump_of_the_wall_clock_is_not_seen_by_a_run(monkeypatch: pytest.MonkeyPatch, to: int) -> None:
    machine = Machine(monkeypatch)
    clock = SystemClock()
    assert clock.now() == 1_795_000_000 * 10**6
    machine.passes(5 * 10**9)
    machine.wall += to
    assert clock.now() == 1_795_000_005 * 10**6
    machine.passes(10**9)
    assert clock.now() == 1_795_000_006 * 10**6
    assert SystemClock().now() == machine.wall // 1_000, "who asks anew hears the new time"


def test_t1_a_night_asleep_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = SystemClock()
    machine.passes(8 * 3600 * 10**9)  # the clock that goes on in suspend
    assert clock.now() == (1_795_000_000 + 8 * 3600) * 10**6


def test_t6_a_century_of_uptime_overflows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = SystemClock()
    machine.passes(100 * YEAR)
    assert clock.now() == 1_795_000_000 * 10**6 + 100 * YEAR // 1_000


def test_t2_a_new_clock_tells_the_machines_time() -> None:
    before = time.time_ns() // 1_000
    assert before <= SystemClock().now() <= time.time_ns() // 1_000 + 1_000
