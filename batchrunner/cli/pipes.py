"""Readers that go away: ``| head`` is no error, and a run goes on when nobody listens to it any more."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def until_unread(*streams: TextIO) -> Iterator[None]:
    """Do what writes to these streams, and leave off where their reader is gone; what still comes goes nowhere.

    A terminal that went away says EIO where a pipe says EPIPE. Without the redirection the flush at the end of the
    process would fail once more, and make an exit code of 120 of it (Python's documentation, on SIGPIPE).
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in streams:
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
