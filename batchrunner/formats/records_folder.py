"""A folder of text files: each is a row."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from batchrunner.core.errors import InputError
from batchrunner.formats.records import Record, no_rows
from batchrunner.formats.records_lines import TEXT
from batchrunner.formats.source import BOM, MAX_LINE


class Folder:
    """Every regular file beneath a folder, in the order of their paths, with the columns ``path`` and ``text``.

    ``path`` is relative to the folder. Links are not followed, and what is hidden (its name begins with a dot) is
    skipped; a file that is not UTF-8, or larger than 32 MiB, is an error that names it.
    """

    columns = ("path", TEXT)
    size = 0

    def __init__(self, source: str) -> None:
        self._root = Path(source)
        self.path = os.fsencode(self._root.absolute()).decode("utf-8", "backslashreplace")
        self._sha256: str | None = None

    @property
    def sha256(self) -> str:
        """Hex digest of all paths and contents; reads them once if nobody has."""
        if self._sha256 is None:
            for _ in self:
                pass
        return self._sha256 or ""

    def __iter__(self) -> Iterator[Record]:
        digest = hashlib.sha256()
        number = 0
        for number, path in enumerate(_files(self._root), 1):
            name, data = self._relative(path), _read(path)
            digest.update(b"%b\0%b" % (name.encode(), hashlib.sha256(data).digest()))
            yield Record(number, str(path), {"path": name, TEXT: _text(path, data)}, whole=True)
        if not number:
            raise no_rows(str(self._root))
        if self._sha256 not in (None, digest.hexdigest()):
            raise InputError(
                f"{self._root} changed while it was read",
                hint="let whatever writes there finish, then run the same command again",
                path=str(self._root),
            )
        self._sha256 = digest.hexdigest()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _relative(self, path: Path) -> str:
        name = path.relative_to(self._root).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{name!a}: its name is not UTF-8", hint="rename it", path=ascii(str(path))) from None
        return name


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files beneath a folder that are not hidden, sorted folder by folder."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except OSError as error:
        raise InputError(f"can't read {folder}: {error.strerror}", path=str(folder)) from error
    for name, is_folder in entries:
        path = folder / name
        if name.startswith("."):
            continue
        if is_folder:
            yield from _files(path)
        elif stat.S_ISREG(path.lstat().st_mode):
            yield path


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_LINE + 1)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", path=str(path)) from error
    if len(data) > MAX_LINE:
        raise InputError(f"{path} is larger than {MAX_LINE:,} bytes", hint="split it, or move it away", path=str(path))
    return data


def _text(path: Path, data: bytes) -> str:
    try:
        return data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} at offset {error.start:,}",
            hint="move it away, or convert it: iconv -f latin1 -t utf-8",
            path=str(path),
        ) from None
