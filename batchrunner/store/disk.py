"""The disk beneath a database while a run lives: how much room is left, and the ballast that is thrown off at the end.

The ballast is a file of real blocks beside the database. When the disk is full it is freed, so that what is in the air
and paid for still fits.
"""

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from batchrunner.core.errors import DatabaseError, DiskFullError
from batchrunner.store.filesystem import free_at, mount_at

BALLAST: Final = 16 << 20
"""Bytes that are kept for the answers in the air."""
FLOOR: Final = 64 << 20
"""Bytes of free disk below which nothing new is bought."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """The room around one database. Its methods may be called from any thread, by one at a time."""

    def __init__(self, path: str, *, ballast: int = BALLAST, floor: int = FLOOR) -> None:
        self._path = path
        self._reserve = Path(f"{path}.reserve")
        self._size = ballast
        self._floor = floor

    def prepare(self) -> None:
        """Lay the ballast in. Raises DiskFullError where there is no room for it, and DatabaseError.

        A smaller one is taken where the process may not write files of that size: it is no use against that limit.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._reserve, flags, 0o600)
            try:
                _fill(descriptor, min(self._size, _largest_file()))
            finally:
                os.close(descriptor)
        except OSError as error:
            self.free_ballast()
            raise self.explained(error) from error

    def free_ballast(self) -> None:
        """Throw the ballast off; doing it twice changes nothing."""
        with suppress(OSError):  # a file system that went read-only keeps it, and it is no harm there
            self._reserve.unlink(missing_ok=True)

    def low(self, in_flight: int) -> DiskFullError | None:
        """Return the error to stop with where too little room is left for what ``in_flight`` bytes may become."""
        wanted = max(self._floor, 4 * in_flight)
        try:
            free = free_at(self._path)
        except OSError:
            return None  # the folder went away: the next commit says that better
        return None if free >= wanted else self._full(f"only {_mib(free)} MiB are free", wanted)

    def journal(self) -> int:
        """Return the size of the database's write-ahead log in bytes, 0 where there is none."""
        try:
            return os.stat(f"{self._path}-wal").st_size  # noqa: PTH116 - a path of any bytes
        except OSError:
            return 0  # it went away: the next commit says that better

    def short(self, needed: int) -> str | None:
        """Say that a run will probably not fit, where ``needed`` bytes are more than there are; None: it will."""
        try:
            free = free_at(self._path)
        except OSError:
            return None
        if free >= needed:
            return None
        return (
            f"about {_mib(needed)} MiB will be needed on {self._place()}, {_mib(free)} MiB are free;"
            " the run will stop before the disk is full, and can go on afterwards"
        )

    def room(self) -> str:
        """Say how much room is where: for people who have to make some."""
        try:
            free = f"{_mib(free_at(self._path))} MiB free"
        except OSError as error:
            free = error.strerror or "unknown"
        return f"{self._place()}: {free}"

    def explained(self, error: OSError) -> DatabaseError:
        """Return the error for a disk that did not take a file of ours."""
        if error.errno in _FULL:
            return self._full(error.strerror or "full", self._floor)
        return DatabaseError(
            f"can't write beside {self._path}: {error.strerror}", hint="look at the folder's permissions and the disk"
        )

    def _full(self, what: str, wanted: int) -> DiskFullError:
        return DiskFullError(
            f"the disk of {self._path} is full ({self._place()}): {what}",
            hint=f"free at least {_mib(wanted)} MiB there",
        )

    def _place(self) -> str:
        mount = mount_at(self._path)
        return str(Path(self._path).parent) if mount is None else f"{mount.point}, {mount.kind}"


def _fill(descriptor: int, size: int) -> None:
    """Give a file real blocks: a hole would take the room that it pretends to keep."""
    if size:
        os.posix_fallocate(descriptor, 0, size)
    os.ftruncate(descriptor, size)


def _largest_file() -> int:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return BALLAST if limit == resource.RLIM_INFINITY else limit


def _mib(size: int) -> str:
    return f"{max(1, -(-size // (1 << 20))):,}"
