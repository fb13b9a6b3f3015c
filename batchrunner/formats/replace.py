"""Replacing a file as a whole: until the last moment the old one is there, afterwards the new one, never a part."""

import contextlib
import fcntl
import os
import re
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from batchrunner.core.crashpoint import reached
from batchrunner.core.errors import ConfigurationError, DatabaseError

BUFFER = 1 << 20
TOKEN = 6
"""Random bytes in the name of a file in the making."""


class Replacement:
    """A file in the making, beside its target and readable by nobody else. What was not committed is removed at exit.

    A process that dies in between leaves the target as it was, and a hidden ``.part`` file, which ``sweep`` of the next
    export takes away: it is locked for as long as somebody writes into it.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{secrets.token_hex(TOKEN)}.part")
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"can't write to {target.parent}: {error.strerror}") from error
        with contextlib.suppress(OSError):  # a file system without locks: then nothing is swept there either
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.file: BinaryIO = os.fdopen(descriptor, "wb", buffering=BUFFER)

    def sync(self) -> None:
        """Put what was written on the disk, under the name of a file in the making. Raises OSError."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def commit(self) -> None:
        """Put the file in the target's place, on the disk. Raises DatabaseError where the disk refuses."""
        try:
            self.sync()
            self.file.close()
            reached("export.rename")
            self._path.rename(self._target)
            reached("export.renamed")
            sync_folder(self._target.parent)
        except OSError as error:
            raise disk_error(self._target, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # what its buffer holds may be what the full disk refused
            self.file.close()
        self._path.unlink(missing_ok=True)


def sweep(target: Path) -> int:
    """Remove what exports to this target left behind when they were killed; return how many files that were.

    Only regular files of this user that have the name of such a leftover and that nobody is writing: a live one is
    locked. What can't be removed stays, and harms nothing.
    """
    name = re.compile(re.escape(f".{target.name}.") + f"[0-9a-f]{{{2 * TOKEN}}}" + re.escape(".part"))
    with contextlib.suppress(OSError):
        left = [path for path in target.parent.iterdir() if name.fullmatch(path.name)]
        return sum(_removed(path) for path in left)
    return 0


def _removed(path: Path) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                return True
        finally:
            os.close(descriptor)
    return False


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk: without it a rename may be undone by a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(target: Path, error: OSError) -> DatabaseError:
    """Return the error for a disk that does not take an export."""
    return DatabaseError(
        f"can't write {target}: {error.strerror}",
        hint="what stood there before is untouched; make room, then export again",
    )


def begins_and_ends(path: Path, head: bytes, end: bytes) -> bool:
    """Tell whether a file begins with ``head`` and, if it holds more, ends with ``end``. Raises OSError.

    Does not follow a link, and does not wait for a pipe.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size <= len(head):
            return file.read() == head[:size]
        if file.read(len(head)) != head:
            return False
        file.seek(max(0, size - len(end)))
        return file.read() == end


def is_regular(path: Path) -> bool | None:
    """Tell whether a path is a regular file itself, not a link to one; None where nothing is there."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return None
