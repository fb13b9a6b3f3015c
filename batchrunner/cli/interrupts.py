"""Ctrl-C and TERM outside a run: the first one ends what the program does, the others find it ending already."""

import signal
from types import FrameType

from batchrunner.core.errors import ExitCode

_BOTH = (signal.SIGINT, signal.SIGTERM)


def once() -> None:
    """From now on the first signal raises, KeyboardInterrupt or SystemExit; later ones change nothing.

    Without it a storm of signals would strike the very code that closes the database, and TERM would not even be told.
    A run listens to both by itself; before and after it, this holds.
    """
    for number in _BOTH:
        signal.signal(number, _end)


def never() -> None:
    """From now on signals change nothing: the process is about to exit with the code that it has."""
    for number in _BOTH:
        signal.signal(number, signal.SIG_IGN)


def over() -> None:
    """From now on no hang-up changes anything either: the interpreter puts its handlers away before it is gone."""
    never()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    never()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(ExitCode.TERMINATED)
