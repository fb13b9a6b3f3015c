"""SIGHUP: the terminal went away, the run goes on, and what it says goes to ``<db>.log``."""

import os
import signal
import stat
from pathlib import Path
from types import FrameType

import click


class Hangup:
    """Waits for the terminal to go away; from then on stdout and stderr are a log, and stdin is at its end.

    A process that was started to ignore hang-ups (``nohup``) is left as it is.
    """

    def __init__(self, db: Path) -> None:
        self.path = db.with_name(f"{db.name}.log")
        self.happened = False
        """Whether it did go away."""

    def expect(self) -> None:
        """From now on a hang-up does not end this process."""
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._redirect)

    def _redirect(self, _number: int, _frame: FrameType | None) -> None:
        if self.happened:
            return
        self.happened = True
        nowhere = os.open(os.devnull, os.O_RDWR)
        log = open_log(self.path)
        os.dup2(nowhere, 0)
        for descriptor in (1, 2):
            os.dup2(nowhere if log is None else log, descriptor)
        os.close(nowhere)
        if log is not None:
            os.close(log)
            click.echo(f"the terminal went away; the run goes on (pid {os.getpid()})", err=True)


def open_log(path: Path) -> int | None:
    """Open a log to append to, for its owner only; None where that can't be done: the run is worth more than its talk.

    Links are not followed and only a plain file is written to: whoever may write to the folder could otherwise have the
    log end up in a file of their choice.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        log = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        found = os.fstat(log)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
            raise PermissionError
        os.fchmod(log, 0o600)
    except OSError:
        os.close(log)
        return None
    return log
