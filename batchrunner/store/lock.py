"""Who may write: a lock on the file beside the database.

The kernel frees the lock when its holder dies, however it dies; the text in the file is only for people. The lock is
never on the database itself: closing any descriptor of that would drop SQLite's own locks.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from batchrunner.core.clock import SECOND, Clock, SystemClock
from batchrunner.core.errors import DatabaseError, DatabaseHeldError


class Mark(NamedTuple):
    """How far a database had come when it was last written: an older copy of it is known by that."""

    database: str
    """The database's own id."""
    runs: int
    attempt: int
    """The newest attempt that had ended."""


class Held:
    """The lock while it is ours: its file also keeps the mark, which a copy of the database alone does not bring."""

    def __init__(self, descriptor: int, text: str, mark: Mark | None) -> None:
        self._descriptor = descriptor
        self._text = text
        self.mark = mark
        """How far the database had come, as far as the last writer could keep it; None: never written."""

    def keep(self, mark: Mark | None) -> None:
        """Keep how far the database has come; what is kept must be on the disk already."""
        self.mark = mark
        text = self._text
        if mark is not None:
            text += f"{_MARK} {mark.database} run {mark.runs} attempt {mark.attempt}\n"
        with suppress(OSError):  # a full disk: the lock is ours all the same, only its text is not
            data = text.encode()
            os.pwrite(self._descriptor, data, 0)
            os.ftruncate(self._descriptor, len(data))


_MARK = "database"
_LONGEST = 4096
"""Bytes of the file that are read."""


def lock_path(path: str | os.PathLike[str]) -> str:
    """Return the lock file of a database: the same one by whatever symbolic link the database was named."""
    return os.path.realpath(path) + ".lock"


@contextmanager
def hold(path: str | os.PathLike[str], *, wait: bool = False, clock: Clock | None = None) -> Iterator[Held]:
    """Be the only writer of a database while the block runs.

    Raises DatabaseHeldError, which names the holder, at once; with ``wait`` it queues behind the holder instead.
    The database need not exist yet.
    """
    name = lock_path(path)
    descriptor = _open(name)
    _ours.add(descriptor)
    try:
        _acquire(descriptor, name, path, wait=wait)
        since = datetime.fromtimestamp((clock or SystemClock()).now() / SECOND, UTC)
        text = f"pid {os.getpid()} on {socket.gethostname()} since {since:%Y-%m-%d %H:%M:%S} UTC\n"
        held = Held(descriptor, text, _mark(_read(descriptor)))
        held.keep(held.mark)
        yield held
    finally:
        _close(descriptor)


_ours: set[int] = set()


def _close(descriptor: int) -> None:
    """Close a lock's file once: not again where a forked child has let go of it already."""
    if descriptor in _ours:
        _ours.remove(descriptor)
        os.close(descriptor)


def _let_go() -> None:
    """A forked child is no writer: the descriptors it inherits would keep the locks held when its parent has gone."""
    for descriptor in list(_ours):
        _close(descriptor)


os.register_at_fork(after_in_child=_let_go)


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DatabaseError(
            f"{name}: {error.strerror}", hint="the folder of the database must exist and be writable"
        ) from error


def _acquire(descriptor: int, name: str, path: str | os.PathLike[str], *, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read(descriptor).partition("\n")[0][:400] or "another process"
        raise DatabaseHeldError(
            f"{os.fspath(path)} is held by {holder}", hint="wait for it (--wait), or give another database with --db"
        ) from None
    except OSError as error:
        raise DatabaseError(f"{name}: {error.strerror}") from error


def _read(descriptor: int) -> str:
    return os.pread(descriptor, _LONGEST, 0).decode("utf-8", "replace")


def _mark(text: str) -> Mark | None:
    """Return the mark in a lock file's text; None where there is none, or one that is not ours."""
    for line in text.splitlines()[1:]:
        match line.split():
            case [word, database, "run", runs, "attempt", attempt] if word == _MARK:
                if runs.isascii() and runs.isdigit() and attempt.isascii() and attempt.isdigit():
                    return Mark(database, int(runs), int(attempt))
    return None
