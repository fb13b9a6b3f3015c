"""The first Ctrl-C or TERM lets calls in flight finish, the second cancels them."""

import signal
from collections.abc import Callable

import anyio

from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run

_NAMES = {signal.SIGINT: Interrupt.INT, signal.SIGTERM: Interrupt.TERM}


async def watch(run: Run, told: Callable[[int], None]) -> None:
    """Pass signals on to a run until cancelled; ``told`` hears the how-manieth signal it was."""
    with anyio.open_signal_receiver(*_NAMES) as signals:
        times = 0
        async for number in signals:
            times += 1
            run.stop(_NAMES[number])
            told(times)
