"""The first Ctrl-C or TERM lets calls in flight finish, the second cancels them."""

import signal
from collections.abc import Callable

import anyio

from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run

LOOK = 0.05
"""Seconds between two looks at what has come."""

_NAMES = {signal.SIGINT: Interrupt.INT, signal.SIGTERM: Interrupt.TERM}


async def watch(run: Run, noted: list[int], told: Callable[[int], None]) -> None:
    """Pass noted signals on to a run until cancelled; ``told`` hears the how-manieth one it was.

    The event loop's own receiver is not used: where it ends, asyncio gives the signals back to the system's handlers
    for a moment, and one that comes just then kills the process before it could close its database.
    """
    times = 0
    while True:
        while noted:
            times += 1
            run.stop(_NAMES[signal.Signals(noted.pop(0))])
            told(times)
        await anyio.sleep(LOOK)
