"""The first Ctrl-C or TERM lets calls in flight finish, the second cancels them."""

import signal
from collections.abc import Callable

import anyio

from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run

_NAMES = {signal.SIGINT: Interrupt.INT, signal.SIGTERM: Interrupt.TERM}


async def watch(run: Run, told: Callable[[int], None]) -> None:
    """Pass signals on to a run until cancelled; ``told`` hears the how-manieth signal it was.

    Leaves the handlers as it found them, where the event loop by itself would leave the system's: a TERM that comes
    during the export would kill the process before it could close its database.
    """
    before = {number: signal.getsignal(number) for number in _NAMES}
    try:
        with anyio.open_signal_receiver(*_NAMES) as signals:
            times = 0
            async for number in signals:
                times += 1
                run.stop(_NAMES[number])
                told(times)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
