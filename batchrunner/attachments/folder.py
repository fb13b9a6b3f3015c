"""A folder whose files may be sent, and no way out of it.

A job file may come from anybody, so the paths in it are hostile until proven otherwise: a file is opened component by
component, each relative to the descriptor of the one before and none through a symbolic link, so that no race between
a look and an opening can lead elsewhere. What was opened is then asked what it is, not its name.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from batchrunner.core.attachments import Attached, Unattachable, Wanted, shown
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.mediatypes import LOOKED_AT, media_types

MOST_NAME = 1024
"""Characters of a reference."""
MOST_DEEP = 32
"""Folders that a reference may go down."""

_BELOW = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO must not keep us waiting
_FOLDER = _BELOW | os.O_DIRECTORY
_KERNELS = ("/proc", "/sys", "/dev")

_REASONS = {
    errno.ENOENT: "there is no such file",
    errno.ELOOP: "a symbolic link is not followed",
    errno.EMLINK: "a symbolic link is not followed",  # what FreeBSD says in the place of ELOOP
    errno.ENXIO: "it is not a regular file",
    errno.EACCES: "it may not be read",
    errno.ENAMETOOLONG: "its name is too long",
}


class AttachmentFolder:
    """``Attachments`` beneath one folder. Safe to use from several threads; never closed, as it ends with its run."""

    def __init__(self, path: Path, *, never: Sequence[str] = ()) -> None:
        """Open the folder; it may itself be reached by a link, as a person named it. Raises ConfigurationError.

        ``never`` are files that may lie in it and must not even be opened: closing a database drops SQLite's locks.
        """
        self._never = tuple(never)
        self._kernels = frozenset(_devices(_KERNELS)) - frozenset(_devices(("/",)))
        try:
            self._folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise ConfigurationError(
                f"--attachments {path} can't be opened: {reason}", hint="give the folder that the job's files lie in"
            ) from None
        if os.fstat(self._folder).st_dev in self._kernels:
            raise ConfigurationError(
                f"--attachments {path} is the kernel's, and holds no files", hint="give a folder of your own"
            )

    def __del__(self) -> None:
        folder = getattr(self, "_folder", None)
        if folder is not None:
            with suppress(OSError):
                os.close(folder)

    def look(self, wanted: Wanted) -> int:
        """Return the bytes that a file has, having looked at its first ones. Raises Unattachable."""
        with self._opened(wanted) as (file, size):
            _type_of(wanted, os.read(file, LOOKED_AT))
            return size

    def read(self, wanted: Wanted) -> Attached:
        """Return a whole file. Raises Unattachable, also for one that grew or shrank while it was read."""
        with self._opened(wanted) as (file, size):
            data = _whole(file, size)
        if len(data) != size:
            raise _refused(wanted, "it changed while it was read")
        return Attached(wanted.name, data, _type_of(wanted, data[:LOOKED_AT]))

    @contextmanager
    def _opened(self, wanted: Wanted) -> Iterator[tuple[int, int]]:
        """Give the descriptor and the size of a regular file that may be sent, as far as that can be told unread."""
        file = self._open(wanted)
        try:
            yield file, self._checked(wanted, os.fstat(file))
        except OSError as error:
            raise _refused(wanted, _reason(error)) from None
        finally:
            os.close(file)

    def _open(self, wanted: Wanted) -> int:
        *folders, name = _components(wanted)
        at, held = self._folder, -1
        try:
            for folder in folders:
                below = os.open(folder, _FOLDER, dir_fd=at)
                if held >= 0:
                    os.close(held)
                at = held = below
            # Asked before too, so that no device is ever opened; what counts is what was opened.
            facts = os.stat(name, dir_fd=at, follow_symlinks=False)
            self._checked(wanted, facts)
            if any(_is(facts, own) for own in self._never):
                raise _refused(wanted, "it is this queue's own database")
            return os.open(name, _BELOW, dir_fd=at)
        except (OSError, ValueError) as error:
            raise _refused(wanted, _why_not_opened(error, wanted, at)) from None
        finally:
            if held >= 0:
                os.close(held)

    def _checked(self, wanted: Wanted, facts: os.stat_result) -> int:
        if stat.S_ISLNK(facts.st_mode):
            raise _refused(wanted, _REASONS[errno.ELOOP])
        if stat.S_ISDIR(facts.st_mode):
            raise _refused(wanted, "it is a folder")
        if not stat.S_ISREG(facts.st_mode) or facts.st_dev in self._kernels:
            raise _refused(wanted, "it is not a regular file")
        if facts.st_size == 0:
            raise _refused(wanted, "it is empty")
        if facts.st_size > wanted.most:
            raise _refused(wanted, f"it has {facts.st_size:,} bytes, and {wanted.most:,} are the most that is sent")
        return facts.st_size


def _components(wanted: Wanted) -> list[str]:
    """Take a reference apart. Raises Unattachable for one that could mean anything but a file below the folder."""
    name = wanted.name
    if not name.isprintable() or len(name) > MOST_NAME:
        raise _refused(wanted, f"its name is longer than {MOST_NAME} characters, or holds some that can't be shown")
    if name.startswith(("/", "\\")):
        raise _refused(wanted, "it must be relative to the folder of attachments, as in file:photos/1.jpg")
    if "\\" in name:
        raise _refused(wanted, "folders are parted by /, not by a backslash")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _refused(wanted, "it leads out of the folder")
    if not parts or name.endswith("/"):
        raise _refused(wanted, "it names no file")
    if len(parts) > MOST_DEEP:
        raise _refused(wanted, f"it is more than {MOST_DEEP} folders deep")
    return parts


def _why_not_opened(error: OSError | ValueError, wanted: Wanted, at: int) -> str:
    if isinstance(error, ValueError):
        return "its name can't be a file's"
    if error.errno == errno.ENOTDIR:
        # Linux says so too of a link in the place of a folder, opened with O_NOFOLLOW.
        return "a symbolic link is not followed" if _is_link(error.filename, at) else "a part of it is not a folder"
    if error.errno == errno.ENOENT and "%" in wanted.name:
        return "there is no such file (names are taken as they stand, without escapes such as %20)"
    return _reason(error)


def _is(facts: os.stat_result, path: str) -> bool:
    try:
        return os.path.samestat(facts, os.stat(path))  # noqa: PTH116 - a path of any bytes
    except OSError:
        return False


def _is_link(name: object, at: int) -> bool:
    """Tell for a message only whether a component is a link."""
    try:
        return stat.S_ISLNK(os.stat(str(name), dir_fd=at, follow_symlinks=False).st_mode)
    except (OSError, ValueError):
        return False


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or os.strerror(error.errno or errno.EIO)


def _whole(file: int, size: int) -> bytes:
    """Read a file to its end, or one byte beyond the size that it had: never more."""
    data = os.read(file, size + 1)
    if len(data) in (0, size):
        return data + os.read(file, 1) if data else data
    parts, left = [data], size + 1 - len(data)
    while left > 0 and (data := os.read(file, left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _type_of(wanted: Wanted, head: bytes) -> str:
    """Return the type by content that fits the place. Raises Unattachable."""
    found = media_types(head)
    fitting = next((each for each in found if each in wanted.accepts), None)
    if fitting is not None:
        return fitting
    expected = ", ".join(wanted.accepts)
    what = f"it is {found[0]}" if found else "its content is of no type that is known"
    raise _refused(wanted, f"{what}; what can be sent here is {expected}")


def _refused(wanted: Wanted, reason: str) -> Unattachable:
    return Unattachable(f"{shown(wanted.name)}: {reason}")


def _devices(paths: tuple[str, ...]) -> Iterator[int]:
    for path in paths:
        with suppress(OSError):
            yield os.stat(path).st_dev  # noqa: PTH116 - the plain fact
