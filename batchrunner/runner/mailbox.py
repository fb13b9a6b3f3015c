"""The mailbox of a database: how another process leaves a command for the run that holds it, and gets its answer.

A folder beside the database, readable by its owner only. A sender writes its command under a name that nobody looks
at, locks that file for as long as it lives, and renames it to ``NAME.command``; the runner renames it to
``NAME.taken``, does it, and leaves ``NAME.answer``. The kernel frees the lock of a sender that dies, however it dies,
so the runner can tell a command that nobody waits for; a runner that dies frees the database's own lock, which its
senders try.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Self

from batchrunner.core.clock import SECOND, Clock
from batchrunner.core.errors import ConfigurationError, DatabaseError

LARGEST = 1 << 20
"""Bytes of a message; a larger one is not read."""
MOST = 1_000
"""Files that one look at the folder takes in: a folder that somebody fills costs a runner no more than that."""

BEGUN = 60.0
"""Seconds in which a draft may be between its making and its lock."""

COMMAND, TAKEN, ANSWER, DRAFT = ".command", ".taken", ".answer", ".draft"
_KINDS = (COMMAND, TAKEN, ANSWER, DRAFT)


def folder_of(db: str | os.PathLike[str]) -> str:
    """Return the mailbox of a database: the same one by whatever symbolic link the database was named."""
    return os.path.realpath(db) + ".inbox"


def sweep(db: str | os.PathLike[str], clock: Clock) -> None:
    """Take away the mailbox of a runner that died, unless somebody waits there; whoever calls this holds the database.

    One that can't be trusted is left alone: the next run will say so.
    """
    if os.path.lexists(folder_of(db)):
        with suppress(DatabaseError), Mailbox.open(db, clock) as mailbox:
            mailbox.clear()
            mailbox.remove()


class Mailbox:
    """The folder, open. Every name is looked up inside it, and no link is ever followed."""

    def __init__(self, path: str, descriptor: int, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._folder = descriptor

    @classmethod
    def open(cls, db: str | os.PathLike[str], clock: Clock) -> Self:
        """Open a database's mailbox, made at first use.

        Raises DatabaseError for a folder that others may enter or that is somebody else's, and for what is no folder.
        """
        path = folder_of(db)
        try:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)  # noqa: PTH102 - a path of any bytes
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            why = "it is a link or no folder" if error.errno in (errno.ELOOP, errno.ENOTDIR) else error.strerror
            raise DatabaseError(
                f"{path}: {why}", hint="remove it, and see that the folder of the database can be written"
            ) from error
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            os.close(descriptor)
            raise DatabaseError(
                f"{path} is open to others or belongs to somebody else, so that commands in it can't be trusted",
                hint="look at what is in it, then remove it",
            )
        return cls(path, descriptor, clock)

    def remove(self) -> None:
        """Take the folder away, where nothing is in it."""
        with suppress(OSError):  # a sender came just now: it will find the database free
            os.rmdir(self.path)  # noqa: PTH106 - a path of any bytes

    def close(self) -> None:
        """Close the folder."""
        os.close(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------------ the sender

    @contextmanager
    def send(self, data: bytes) -> Iterator["Letter"]:
        """Leave a command; it is withdrawn, if nobody took it, when the block ends.

        Raises ConfigurationError for one that is too long, and Vanished where the folder was just taken away.
        """
        if len(data) > LARGEST:
            raise ConfigurationError(
                f"the command is {len(data):,} bytes long; the run that is going on takes {LARGEST:,}",
                hint="say it in several commands, or let it queue behind the run with --wait",
            )
        name = f"{self._clock.now():020d}-{secrets.token_hex(8)}"
        with _told(self.path):
            descriptor = self._draft(name)
        try:
            with _told(self.path):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _write_all(descriptor, data)
                self._rename(name + DRAFT, name + COMMAND)
            yield Letter(self, name)
        finally:
            for kind in _KINDS:
                self._remove(name + kind)
            os.close(descriptor)

    # ------------------------------------------------------------------------------------------------------ the runner

    def clear(self) -> None:
        """Remove what the dead left behind: whoever calls this holds the database, so no other runner lives."""
        for name in self._names(*_KINDS):
            just_begun = name.endswith(DRAFT) and (self.age(name) or 0.0) < BEGUN
            if name.endswith((ANSWER, TAKEN)) or not (just_begun or self._is_awaited(name)):
                self._remove(name)

    def take(self) -> Iterator["Taken"]:
        """Yield the commands that are there, oldest first; those of dead senders are removed unread."""
        for name in self._names(COMMAND):
            stem = name.removesuffix(COMMAND)
            if not self._is_awaited(name):
                self._remove(name)
                continue
            try:
                self._rename(name, stem + TAKEN)
                data = self._read(stem + TAKEN)
            except (FileNotFoundError, _NotAFile):
                self._remove(name)  # withdrawn just now, or nothing that a sender of ours would leave
                self._remove(stem + TAKEN)
                continue
            yield Taken(stem, data)

    def touch(self, taken: "Taken") -> None:
        """Show its sender that the command is being worked on. A sender that has gone does not need it."""
        now = self._clock.now() / SECOND
        with suppress(OSError):
            os.utime(taken.name + TAKEN, (now, now), dir_fd=self._folder, follow_symlinks=False)

    def answer(self, taken: "Taken", data: bytes) -> None:
        """Answer a command, unless nobody waits for it any more. Raises OSError where the disk takes nothing."""
        if self._is_awaited(taken.name + TAKEN):
            descriptor = self._draft(taken.name)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            self._rename(taken.name + DRAFT, taken.name + ANSWER)
        self._remove(taken.name + TAKEN)

    # -------------------------------------------------------------------------------------------------------- its files

    def _draft(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(name + DRAFT, flags, 0o600, dir_fd=self._folder)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # gone already, or nothing that can be removed: the next look meets it again
            os.unlink(name, dir_fd=self._folder)

    def _names(self, *kinds: str) -> list[str]:
        found = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:  # removed by a person: nothing is in it
            for entry in entries:
                if entry.name.endswith(kinds):
                    found.append(entry.name)
                if len(found) == MOST:
                    break
        return sorted(found)

    def _open(self, name: str) -> int:
        """Open one of the folder's files. Raises FileNotFoundError, and _NotAFile for what no sender leaves."""
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._folder)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _NotAFile(name) from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
            os.close(descriptor)
            raise _NotAFile(name)
        return descriptor

    def _is_awaited(self, name: str) -> bool:
        """Whether whoever wrote a file still lives, and therefore holds its lock."""
        try:
            descriptor = self._open(name)
        except (FileNotFoundError, _NotAFile):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _read(self, name: str) -> bytes:
        descriptor = self._open(name)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise _NotAFile(name)
        return data

    def age(self, name: str) -> float | None:
        """Return the seconds since a file was last touched; None where it is not there."""
        try:
            touched = os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_mtime
        except OSError:
            return None
        return max(0.0, self._clock.now() / SECOND - touched)


class _NotAFile(Exception):  # noqa: N818 - always caught here
    """Something lies in the folder that no sender of ours leaves there."""


class Vanished(Exception):  # noqa: N818 - always caught, by who asks again
    """A run that was ending took the folder away with it."""


class Taken(NamedTuple):
    """A command that a runner took."""

    name: str
    data: bytes


class Letter:
    """A command on its way, as its sender sees it."""

    def __init__(self, mailbox: Mailbox, name: str) -> None:
        self._mailbox = mailbox
        self._name = name

    def answer(self) -> bytes | None:
        """Return the runner's answer; None while there is none."""
        try:
            return self._mailbox._read(self._name + ANSWER)  # noqa: SLF001 - two ends of one folder
        except (FileNotFoundError, _NotAFile):
            return None

    def worked_on(self) -> float | None:
        """Return the seconds since the runner showed that it works on the command; None: it did not take it."""
        return self._mailbox.age(self._name + TAKEN)

    def withdraw(self) -> bool:
        """Take the command back; False where the runner has it already."""
        try:
            os.unlink(self._name + COMMAND, dir_fd=self._mailbox._folder)  # noqa: SLF001 - inside the folder
        except OSError:
            return False
        return True


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Vanished(path) from None
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}", hint="see that the folder can be written") from error
