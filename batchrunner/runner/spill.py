"""The spill: a file beside the database for answers that the database can't take. They are paid for.

One record for each attempt that ended, or was never sent: its length, a CRC-32 and MessagePack. What ``write`` returned
from is on the disk. A record that a crash cut short is not there, and one that was damaged is left out.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from batchrunner.core.crashpoint import reached
from batchrunner.core.request import NOTHING_BESIDE, Beside, Closing, Continued, Release, Settled
from batchrunner.formats.replace import sync_folder
from batchrunner.runner.spilled import Record, closing_of, framed, payloads, record_in, record_of

MAGIC: Final = b"btchspl1"
MOST_FILES: Final = 100
"""Spills of one run at most: the next one is begun where the one before takes no more."""


class Content(NamedTuple):
    """What a spill file holds."""

    closings: list[Closing]
    released: list[Release]
    continued: list[Continued]
    settled: list[Settled]
    damaged: int
    """Records that are there and can't be read."""


class Spill:
    """The file that is written when the database takes nothing more; it is made when it is first needed."""

    def __init__(self, db: str) -> None:
        self._db = db
        self._folder: int | None = None
        self._descriptor: int | None = None
        self._size = 0
        self.paths: list[str] = []
        """The files that were written."""

    def prepare(self) -> int:
        """Keep the folder at hand, whose path may be gone when the spill is needed. Raises OSError."""
        if self._folder is None:
            self._folder = os.open(Path(self._db).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._folder

    def write(self, closings: Sequence[Closing], released: Sequence[Release], more: Beside = NOTHING_BESIDE) -> int:
        """Append records; what was taken is on the disk when this returns. Return how many closings and
        continuations were taken.

        A file that takes no more (a limit on its size) is followed by another one. Raises OSError where the disk takes
        nothing at all; where it took some, the others are left out.
        """
        records = [framed(record_of(closing)) for closing in closings]
        records += [framed(Record(continued=one)) for one in more.continued]
        records += [framed(Record(released=release)) for release in released]
        records += [framed(Record(settled=one)) for one in more.settled]
        taken = 0
        try:
            for data in records:
                self._append(data)
                taken += 1
        except OSError:
            if not taken:
                raise
        if self._descriptor is not None:
            os.fsync(self._descriptor)
        reached("spill.written")
        return min(taken, len(closings) + len(more.continued))

    def _append(self, data: bytes) -> None:
        """Append a record to this file, or begin the next one with it where this one takes no more."""
        descriptor = self._descriptor if self._descriptor is not None else self._begin()
        try:
            self._size += _write_whole(descriptor, data, self._size)
        except OSError:
            os.ftruncate(descriptor, self._size)
            if self._size == len(MAGIC):
                raise
            os.fsync(descriptor)
            self.close()
            self._append(data)

    def _begin(self) -> int:
        folder = self.prepare()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        for path in spill_paths(self._db):
            name = Path(path).name
            try:
                descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            except FileExistsError:
                continue
            try:
                _write_whole(descriptor, MAGIC, 0)
                os.fsync(folder)
            except OSError:
                os.close(descriptor)
                os.unlink(name, dir_fd=folder)
                raise
            self._descriptor, self._size = descriptor, len(MAGIC)
            self.paths.append(path)
            return descriptor
        raise FileExistsError(errno.EEXIST, f"{MOST_FILES} spills lie there already")

    def close(self) -> None:
        """Close the file; closing twice changes nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor, self._size = None, 0

    def end(self) -> None:
        """Close the file and the folder."""
        self.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


def spill_paths(db: str) -> Iterator[str]:
    """Yield the names that spills of a database have, in the order in which they are written."""
    yield f"{db}.spill"
    for number in range(2, MOST_FILES + 1):
        yield f"{db}.spill.{number}"


def found(db: str) -> list[str]:
    """Return the spills that lie beside a database, oldest first."""
    return [path for path in spill_paths(db) if os.path.lexists(path)]


def read(path: str) -> Content:
    """Read a spill. Its last record may be cut, which is passed over: nobody was told that it was kept.

    Raises OSError, and ValueError for a file that is no spill.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read()
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data):
            return Content([], [], [], [], 0)  # it was cut before its first record
        raise ValueError(f"{path} is not a spill of batchrunner")
    content = Content([], [], [], [], 0)
    for payload in payloads(data[len(MAGIC) :]):
        content = _add(content, payload)
    return content


def _add(content: Content, payload: bytes | None) -> Content:
    try:
        record = record_in(payload or b"")
        if record.kept is not None:
            content.closings.append(closing_of(record.kept))
    except (msgspec.DecodeError, ValueError):
        return content._replace(damaged=content.damaged + 1)
    if record.released is not None:
        content.released.append(record.released)
    if record.continued is not None:
        content.continued.append(record.continued)
    if record.settled is not None:
        content.settled.append(record.settled)
    return content


def remove(path: str) -> None:
    """Remove a spill whose answers are in the database."""
    reached("spill.taken")
    Path(path).unlink()
    sync_folder(Path(path).parent)


def _write_whole(descriptor: int, data: bytes, place: int) -> int:
    """Write at a place of a file; return how many bytes that were. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written
    return len(data)
