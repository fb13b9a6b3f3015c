"""The only room that asks the machine what time it is."""

import time
from typing import Protocol

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


class Clock(Protocol):
    """Time as the house uses it: wall time for what is stored, monotonic time for what is waited."""

    def now(self) -> int:
        """Return microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; its zero means nothing."""
        ...


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, which CLOCK_MONOTONIC does not on Linux (clock_gettime(2)), and is never set."""


class SystemClock:
    """The machine's clocks. Wall time is asked for once and then goes on by itself.

    So nobody who sets the clock during a night, an hour back or to the year 2100, makes rows wait for it or makes them
    all due at once. A new clock, which every process and every question has, knows the new time.
    """

    __slots__ = ("_zero",)

    def __init__(self) -> None:
        self._zero = time.time_ns() - time.clock_gettime_ns(_STEADY)

    def now(self) -> int:
        """Return microseconds since the epoch, UTC."""
        return (self._zero + time.clock_gettime_ns(_STEADY)) // 1_000

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; its zero means nothing."""
        return time.monotonic()
