"""Notices that the machine was suspended: a laptop that was closed, a virtual machine that stood still."""

import time
from collections.abc import Callable

SHORTEST = 20.0
"""Seconds of sleep below which connections are taken to be alive."""


def suspended_seconds() -> float:
    """Return the seconds that this machine was suspended since it booted; 0 where the system does not tell.

    Linux keeps two clocks: CLOCK_MONOTONIC stands still in a suspend, CLOCK_BOOTTIME does not (clock_gettime(2)).
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Suspension:
    """Compares the two clocks from time to time."""

    def __init__(self, suspended: Callable[[], float]) -> None:
        self.total = 0.0
        """Seconds slept since this was made."""
        self._suspended = suspended
        self._last = suspended()

    def slept(self) -> float:
        """Return the seconds slept since the last look, 0 where they are too few to matter."""
        now = self._suspended()
        slept, self._last = now - self._last, now
        if slept < SHORTEST:
            return 0.0
        self.total += slept
        return slept
