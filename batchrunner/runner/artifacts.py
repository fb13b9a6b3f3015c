"""The artifacts folder: what answers bring as files, beside the database, named by what is in them.

``<db>.artifacts/ab/abcdef....png``: the folder is for its owner only (0700, files 0600). A file is whole or not there:
it is written under another name, put on the disk, renamed, and its folder put on the disk, before its request counts as
succeeded. Equal files are one file.
"""

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from batchrunner.core.continuation import Artifact, folder_of, suffix_of, type_of
from batchrunner.core.crashpoint import reached
from batchrunner.formats.replace import sync_folder

_PART: Final = ".part"
_START: Final = 16
"""Bytes by which a file's type is known."""


class Artifacts:
    """The folder of one database, made when the first file comes. Whoever writes holds the database's lock."""

    def __init__(self, db: str) -> None:
        self.folder = folder_of(db)
        self._ready = False

    def begin(self) -> "Making":
        """Begin a file. Raises OSError where the disk or the folder does not take one."""
        if not self._ready:
            self._prepare()
            self._ready = True
        return Making(self.folder)

    def put(self, data: bytes, place: str, said: str, name: str) -> Artifact:
        """Keep a file whose bytes are at hand; it is on the disk when this returns. Raises OSError."""
        making = self.begin()
        try:
            making.write(data)
            return making.keep(place, said, name)
        finally:
            making.drop()

    def _prepare(self) -> None:
        """Make the folder, and remove what a run left half-written when it was killed."""
        made = False
        try:
            os.mkdir(self.folder, 0o700)  # noqa: PTH102 - a path of any bytes
            made = True
        except FileExistsError:
            found = os.lstat(self.folder)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise NotADirectoryError(None, f"{self.folder} is no folder of ours") from None
        if made:
            sync_folder(Path(self.folder).parent)
        for left in Path(self.folder).glob(f".*{_PART}"):
            with suppress(OSError):  # it harms nothing
                left.unlink()


class Making:
    """A file in the making. ``drop`` removes what was not kept; it may be called always."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = f"{folder}/.{secrets.token_hex(8)}{_PART}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor: int | None = os.open(self._path, flags, 0o600)
        self._digest = hashlib.sha256()
        self._start = b""
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append bytes. Raises OSError."""
        if self._descriptor is None:
            raise ValueError("the file is closed")
        if len(self._start) < _START:
            self._start = (self._start + data[:_START])[:_START]
        self._digest.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def keep(self, place: str, said: str, name: str) -> Artifact:
        """Put the file under its name, on the disk. ``said`` is the media type as the provider named it.

        Raises OSError; then nothing was kept.
        """
        kind = type_of(self._start, said)
        artifact = Artifact(place, self._digest.hexdigest(), kind, self._size, f"{name}{suffix_of(kind)}")
        target = f"{self._folder}/{artifact.path}"
        within = os.path.dirname(target)  # noqa: PTH120
        if self._descriptor is not None:
            os.fsync(self._descriptor)
        reached("artifact.written")
        self._close()
        with suppress(FileExistsError):
            os.mkdir(within, 0o700)  # noqa: PTH102
            sync_folder(Path(self._folder))
        os.replace(self._path, target)  # noqa: PTH105
        sync_folder(Path(within))
        reached("artifact.kept")
        return artifact

    def drop(self) -> None:
        """Close it, and remove it unless it was kept."""
        self._close()
        with suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
