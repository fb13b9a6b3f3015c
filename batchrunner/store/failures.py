"""What goes wrong in SQLite or in what a file holds, as errors that say what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, NoResultFound

from batchrunner.core.errors import DatabaseError, DiskFullError

DAMAGED = (
    "save what can be read with `batchrunner results JOB -o FILE`, then restore a backup;"
    " `batchrunner db check` tells more"
)
"""What to do about a damaged file: it is never repaired in place."""

_WRONG_TYPE = 3091
"""SQLITE_CONSTRAINT_DATATYPE, which Python 3.11 has no name for where it was built with an older SQLite."""
_UNREADABLE = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    NoResultFound,
)
_REASONS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; everything that was shown as done is safe"),
    sqlite3.SQLITE_BUSY: (
        "another program is writing to it",
        "close that program, or wait longer for it with --db-timeout",
    ),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", DAMAGED),
    sqlite3.SQLITE_NOTADB: ("it is not a database", "give another path with --db"),
    sqlite3.SQLITE_READONLY: ("it can't be written", "look at the permissions of the file and of its folder"),
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "its last writer was cut off in the middle of a write",
        "the next `batchrunner run` or `batchrunner load` puts it right",
    ),
    sqlite3.SQLITE_CANTOPEN: ("it can't be opened", "look at the path and at the permissions of its folder"),
    sqlite3.SQLITE_IOERR: ("the disk reported an error", "look at the disk and at the limits on file sizes"),
}


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn what SQLite reports into ``DatabaseError``; a broken constraint is a bug of ours and passes through.

    Not so a value of the wrong type in a strict table: only damage brings one there.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite's own message, quoting what stands in the place of a name
        raise DatabaseError(f"{path}: it is damaged: a name in it is no text", hint=DAMAGED) from error
    except (IntegrityError, sqlite3.IntegrityError) as error:
        cause = error.orig if isinstance(error, IntegrityError) else error
        if getattr(cause, "sqlite_errorcode", None) != _WRONG_TYPE:
            raise
        raise DatabaseError(f"{path}: it is damaged: {cause}", hint=DAMAGED) from error
    except DBAPIError as error:
        raise _readable(path, error.orig) from error
    except sqlite3.Error as error:
        raise _readable(path, error) from error


@contextmanager
def decoded(path: str) -> Iterator[None]:
    """Turn what goes wrong with the values of rows while they are read into ``DatabaseError``.

    What this program wrote can be read; what somebody else wrote into the file, or a bad disk, may be anything.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise DatabaseError(
            f"{path}: it holds what batchrunner never writes ({type(error).__name__}: {str(error)[:200]})",
            hint=DAMAGED,
        ) from error


def _readable(path: str, error: BaseException | None) -> DatabaseError:
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    why, hint = _REASONS.get(extended) or _REASONS.get(code) or (str(error), None)
    kind = DiskFullError if code == sqlite3.SQLITE_FULL else DatabaseError
    return kind(f"{path}: {why} ({getattr(error, 'sqlite_errorname', type(error).__name__)})", hint=hint)
