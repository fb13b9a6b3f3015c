"""The files that answers brought, as they lie beside a database: looked at, copied, and tidied up.

What names a file is a row: an answer's, or that of a continuation whose answer is not whole yet. A file is on the disk
before its row is, so each file that a consistent state of the database names is there.
"""

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from batchrunner.core.continuation import Artifact, folder_of
from batchrunner.core.errors import DatabaseError
from batchrunner.store.filesystem import sync
from batchrunner.store.sqlite import Session

_NAMED = (
    """SELECT request_id AS request, n, sha256, type, size FROM artifacts
 WHERE (request_id, n) > (?, ?) ORDER BY request_id, n LIMIT 1000""",
    """SELECT c.request_id AS request, k.key AS n, json_extract(k.value, '$[1]') AS sha256,
 json_extract(k.value, '$[2]') AS type, json_extract(k.value, '$[3]') AS size
 FROM continuations AS c, json_each(c.kept) AS k
 WHERE (c.request_id, k.key) > (?, ?) ORDER BY c.request_id, k.key LIMIT 1000""",
)
_WITHIN = """SELECT sha256 FROM artifacts WHERE sha256 >= ? AND sha256 < ?
 UNION SELECT json_extract(k.value, '$[1]') FROM continuations AS c, json_each(c.kept) AS k
 WHERE json_extract(k.value, '$[1]') >= ? AND json_extract(k.value, '$[1]') < ?"""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"([0-9a-f]{64})\.[a-z0-9]+")
_BLOCK: Final = 1 << 20


class Named(NamedTuple):
    """A file that a row names."""

    request_id: int
    file: Artifact

    @property
    def called(self) -> str:
        """What it is called in a finding."""
        return f"file {self.file.path} of request {self.request_id}"


class Copied(NamedTuple):
    """What became of the files of a backup."""

    files: int
    """Written now; what was there already, with the right bytes, is not counted."""
    bytes: int
    lacking: list[str]
    """What could not be copied, since it is missing or damaged itself, in words."""


class Unnamed(NamedTuple):
    """Files of the artifacts folder that no row names: left by a crash between file and row, or by a newer answer."""

    files: int
    bytes: int


def named(session: Session) -> Iterator[Named]:
    """Yield each file that a row names; one that several rows name comes as often."""
    for pages in _NAMED:
        after = (-1, -1)
        while True:
            with session.read() as connection:
                page = connection.exec_driver_sql(pages, after).all()
            for row in page:
                yield Named(row.request, Artifact("", row.sha256, row.type, row.size, ""))
            if not page:
                break
            after = (page[-1].request, page[-1].n)


def findings(session: Session) -> Iterator[str]:
    """Yield in words each file that a row names and that is not there, or not as it came."""
    folder = Path(folder_of(session.path))
    for one in named(session):
        if (found := damage(folder, one)) is not None:
            yield found


def damage(folder: Path, one: Named) -> str | None:
    """Return what is wrong with a file of an artifacts folder; None where its bytes are those that came."""
    return _read(folder, one, lambda block: None)


def copy_files(source: Path, session: Session, target: str) -> Copied:
    """Copy every file that the rows of ``session`` name into another artifacts folder; all is on the disk at the end.

    Bytes are copied, not linked: a second name on the same disk is no backup. What is there already is left alone where
    its bytes are right. Raises OSError where the target does not take them.
    """
    files = size = 0
    lacking: list[str] = []
    touched: set[str] = set()
    for one in named(session):
        if _DIGEST.fullmatch(one.file.sha256) and damage(Path(target), one) is None:
            continue
        _prepare(target, touched)
        found = _copy(source, one, target, touched)
        if found is None:
            files, size = files + 1, size + one.file.size
        else:
            lacking.append(found)
    for folder in sorted(touched, reverse=True):  # a folder's own entry is in the one above it, which comes later
        sync(folder)
    return Copied(files, size, lacking)


def unnamed(session: Session, *, remove: bool = False) -> Unnamed:
    """Count the files that no row names, and ``remove`` them: only while nobody else writes, or one that was just made
    would go before its row is there.
    """
    files = size = 0
    folder = Path(folder_of(session.path))
    for within in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        if within.is_symlink() or not within.is_dir():
            continue  # what lies elsewhere is not ours to remove
        there = [(path, found[1]) for path in within.iterdir() if (found := _FILE.fullmatch(path.name))]
        with session.read() as connection:
            bounds = (within.name, f"{within.name}g")  # after every hexadecimal digit
            known = set(connection.exec_driver_sql(_WITHIN, bounds * 2).scalars())
        for path in (path for path, digest in there if digest not in known):
            with suppress(FileNotFoundError):
                files, size = files + 1, size + path.lstat().st_size
                if remove:
                    path.unlink()
    return Unnamed(files, size)


def _read(folder: Path, one: Named, write: Callable[[bytes], object]) -> str | None:
    """Read a file to its end; return what is wrong with it. Raises what ``write`` raises."""
    if not _DIGEST.fullmatch(one.file.sha256):
        return f"request {one.request_id} names a file by what is no hash"
    try:
        descriptor = os.open(folder / one.file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return f"{one.called} is missing from the artifacts folder"
    except OSError as error:
        return f"{one.called} in the artifacts folder can't be read: {error.strerror}"
    digest = hashlib.sha256()
    try:
        while block := _block(descriptor):
            digest.update(block)
            write(block)
    except _UnreadableError as error:
        return f"{one.called} in the artifacts folder can't be read: {error}"
    finally:
        os.close(descriptor)
    return None if digest.hexdigest() == one.file.sha256 else f"{one.called} in the artifacts folder is damaged"


class _UnreadableError(Exception):
    """The source's disk, told apart from the target's."""


def _block(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _BLOCK)
    except OSError as error:
        raise _UnreadableError(error.strerror) from error


def _copy(source: Path, one: Named, target: str, touched: set[str]) -> str | None:
    partial = f"{target}/.{secrets.token_hex(8)}.part"
    try:
        with open(partial, "xb", opener=_private) as file:
            found = _read(source, one, file.write)
            if found is not None:
                return found
            file.flush()
            os.fsync(file.fileno())
        aim = f"{target}/{one.file.path}"
        within = os.path.dirname(aim)  # noqa: PTH120
        with suppress(FileExistsError):
            os.mkdir(within, 0o700)  # noqa: PTH102
        os.replace(partial, aim)  # noqa: PTH105
        touched.add(within)
        return None
    finally:
        Path(partial).unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _prepare(folder: str, touched: set[str]) -> None:
    """Make the folder of a copy. Raises DatabaseError where there is something else by its name."""
    if folder in touched:
        return
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102
    except FileExistsError:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise DatabaseError(
                f"{folder} is there and is no folder of ours", hint="give another name for the backup"
            ) from None
    touched.update((folder, os.path.dirname(folder) or "."))  # noqa: PTH120
