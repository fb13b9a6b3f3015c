"""Ctrl-C and TERM outside a run: the first one ends what the program does, the others find it ending already."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def put_off() -> Iterator[list[int]]:
    """Within the block signals are only noted, in the list that it is given; one that is still there comes at its end.

    For an event loop, from before its start to after its end: what a signal raised there would hit some task or other.
    Where the block said ``never``, that holds on.
    """
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.signal(number, note) for number in _BOTH}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
    for came in noted[:1]:
        signal.raise_signal(came)


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
