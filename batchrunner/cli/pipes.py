"""Readers that go away: ``| head`` is no error, and a run goes on when nobody listens to it any more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def until_unread(*streams: TextIO) -> Iterator[None]:
    """Do what writes to these streams, and leave off where their reader is gone; what still comes goes nowhere.

    Without the latter the flush at the end of the process would fail once more, and make an exit code of 120 of it
    (Python's documentation, on SIGPIPE).
    """
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in streams:
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
