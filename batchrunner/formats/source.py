"""Opening a job file: regular files, gzip by suffix, and standard input; with its digest and no surprises.

A source can be read several times from its start. Whoever changes the file meanwhile is noticed.
"""

import errno
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

from batchrunner.core.errors import DatabaseError, InputError, Problem
from batchrunner.core.job import JobSource
from batchrunner.formats.inflate import MAX_RATIO, inflate

CHUNK = 1 << 20
MAX_LINE = 32 << 20

FOREIGN = {
    b"\xff\xfe": "it is UTF-16, not UTF-8",
    b"\xfe\xff": "it is UTF-16, not UTF-8",
    b"\x1f\x8b": "it is compressed with gzip, but its name does not end in .gz",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd, which is not supported",
    b"PAR1": "it is a Parquet file",
    b"PK\x03\x04": "it is a zip archive",
}
BOM = b"\xef\xbb\xbf"


class Source:
    """An open job file. ``path`` is absolute, or ``-`` for standard input."""

    def __init__(
        self, file: IO[bytes], path: str, *, max_ratio: float = MAX_RATIO, max_bytes: int | None = None
    ) -> None:
        self.path = path
        self.form = "JSON Lines"
        """What it is read as, for the words of a refusal."""
        found = os.fstat(file.fileno())
        self.size = found.st_size
        self.mtime_ns = found.st_mtime_ns if path != "-" else 0
        self._file = file
        self._found = _identity(found)
        self._max_ratio = max_ratio
        self._max_bytes = max_bytes
        self._sha256: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def fingerprint(self) -> JobSource:
        """Return what this file is, by the bytes on the disk; reads it once if nobody has. Raises InputError."""
        if self._sha256 is None:
            for _ in self._stored():
                pass
        return JobSource(path=self.path, sha256=self._sha256 or "", size=self.size, mtime_ns=self.mtime_ns)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content from its start, decompressed, without a byte order mark.

        Raises InputError for a file that is not UTF-8 text by its first bytes, a broken or exploding archive, and for
        a file that changed since it was opened or last read.
        """
        stored = self._stored()
        if self.path.endswith(".gz"):
            stored = inflate(stored, self.path, CHUNK, max_ratio=self._max_ratio, max_bytes=self._max_bytes)
        first = next(stored, b"")
        self._check_beginning(first)
        yield first.removeprefix(BOM)
        yield from stored

    def _stored(self) -> Iterator[bytes]:
        """Yield the bytes as they lie on the disk; at their end, compare them with what was read before."""
        self._file.seek(0)
        digest = hashlib.sha256()
        total = 0
        while chunk := self._read():
            total += len(chunk)
            if total > self.size:
                raise self._changed()
            digest.update(chunk)
            yield chunk
        found = digest.hexdigest()
        if total != self.size or _identity(os.fstat(self._file.fileno())) != self._found:
            raise self._changed()
        if self._sha256 not in (None, found):
            raise self._changed()
        self._sha256 = found

    def _read(self) -> bytes:
        try:
            return self._file.read(CHUNK)
        except OSError as error:
            raise InputError(f"can't read {self.path}: {error.strerror}", path=self.path) from error

    def _changed(self) -> InputError:
        return InputError(
            f"{self.path} changed while it was read; nothing of it was loaded",
            hint="let whatever writes it finish, then run the same command again",
            path=self.path,
        )

    def _check_beginning(self, first: bytes) -> None:
        reason = next((why for magic, why in FOREIGN.items() if first.startswith(magic)), None)
        if reason is None and b"\0" in first[:2] and len(first) > 1:
            reason = "it is UTF-16, not UTF-8"
        if reason is not None:
            raise InputError(
                f"{self.path} can't be read as {self.form}: {reason}",
                hint="it must be UTF-8 text, plain or as .gz; of JSON Lines, one JSON object per line",
                path=self.path,
                problems=(Problem(1, 1, reason),),
            )


def open_source(
    path: str | os.PathLike[str],
    *,
    stdin: BinaryIO | None = None,
    max_ratio: float = MAX_RATIO,
    max_bytes: int | None = None,
) -> Source:
    """Open a job file for reading; ``-`` takes standard input into a temporary file first, as it comes only once.

    ``.gz`` files are read through gzip; ``max_ratio`` and ``max_bytes`` bound what they may unpack to. Raises
    InputError for whatever is not a readable, regular file.
    """
    name = os.fspath(path)
    if name == "-":
        return Source(_spool(stdin or sys.stdin.buffer), "-")
    shown = os.fsencode(Path(name).absolute()).decode(
        "utf-8", "backslashreplace"
    )  # a name need not be UTF-8 to be read
    return Source(_open_regular(name), shown, max_ratio=max_ratio, max_bytes=max_bytes)


def fingerprint(path: str | os.PathLike[str]) -> JobSource:
    """Return the digest, size and time of a file, without looking at what is in it. Raises InputError."""
    with open_source(path) as source:
        return source.fingerprint()


def _open_regular(name: str) -> BinaryIO:
    """Open a file without ever waiting for one that is none: a pipe with no writer would hold us for good."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(name, error) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise InputError(
            f"{name} is {_kind(found.st_mode)}, not a regular file",
            hint="give a file, or - to read the rows from standard input",
            path=name,
        )
    return os.fdopen(descriptor, "rb", buffering=0)


def _unreadable(name: str, error: OSError) -> InputError:
    if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
        return InputError(f"{name} is a socket or device, not a regular file", path=name)
    return InputError(f"can't open {name}: {error.strerror}", path=name)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _spool(stream: BinaryIO) -> IO[bytes]:
    """Copy a stream into a nameless temporary file; a line without an end stops it before the disk is full."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - the Source closes it
    since_newline = 0
    try:
        while chunk := stream.read(CHUNK):
            last = chunk.rfind(b"\n")
            since_newline = since_newline + len(chunk) if last < 0 else len(chunk) - last - 1
            spool.write(chunk)
            if since_newline > MAX_LINE + CHUNK:
                break  # the reader meets the line's cap, and says so with the line's number
        spool.flush()
    except OSError as error:
        spool.close()
        raise DatabaseError(f"can't keep standard input in a temporary file: {error.strerror}") from error
    return spool


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
