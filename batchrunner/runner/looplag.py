"""How late the event loop is: what a call waits beyond the network when something holds the loop up."""

from dataclasses import dataclass
from typing import Final

import anyio

from batchrunner.core.clock import Clock

TICK: Final = 0.25
"""Seconds between two looks: nothing is asked of a row."""
_STEP: Final = 1.25
"""Each bin ends this much later than the one before: percentiles are at most a quarter too high."""
_FIRST: Final = 0.0005
"""Seconds at which the first bin ends."""
_BINS: Final = 64
"""The last bin begins at about ten minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Seconds by which the loop came late to its own appointments, over the whole run."""

    p50: float = 0.0
    p99: float = 0.0
    most: float = 0.0
    looks: int = 0


class LoopLag:
    """Sleeps a quarter of a second, over and over, and counts how much longer it took. Its memory does not grow."""

    def __init__(self) -> None:
        self._bins = [0] * _BINS
        self._looks = 0
        self._most = 0.0

    async def run(self, clock: Clock) -> None:
        """Look until cancelled."""
        while True:
            before = clock.monotonic()
            await anyio.sleep(TICK)
            self.add(clock.monotonic() - before - TICK)

    def add(self, late: float) -> None:
        """Count one look, ``late`` seconds late (a timer that fired early was not late)."""
        late = max(0.0, late)
        end, place = _FIRST, 0
        while late > end and place < _BINS - 1:
            end, place = end * _STEP, place + 1
        self._bins[place] += 1
        self._looks += 1
        self._most = max(self._most, late)

    def taken(self) -> Lag:
        """Return what was seen so far."""
        return Lag(p50=self._quantile(0.50), p99=self._quantile(0.99), most=self._most, looks=self._looks)

    def _quantile(self, share: float) -> float:
        wanted, seen = share * self._looks, 0
        for place, number in enumerate(self._bins):
            seen += number
            if number and seen >= wanted:
                return min(self._most, _FIRST * _STEP**place)
        return 0.0
