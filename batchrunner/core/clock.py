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


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Return microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; its zero means nothing."""
        return time.monotonic()
