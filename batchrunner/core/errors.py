"""Errors that a caller can meet. What a provider says is a value (``Failure``), never an exception.

BatchrunnerError
├── ConfigurationError      2   settings, flags, keys
├── InputError              5   a job file that can't be loaded
├── DatabaseError           74  the database or its disk
│   ├── DiskFullError       74  no room left for what was to be written
│   └── NewerDatabaseError  2   written by a newer batchrunner
└── DatabaseHeldError       75  another runner holds the database
"""

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line: part of the public interface."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOME_FAILED = 3
    NO_MONEY = 4
    INPUT = 5
    AUTH = 6
    UNAVAILABLE = 7
    DEADLINE = 8
    DATABASE = 74
    HELD = 75
    INTERRUPTED = 130
    TERMINATED = 143


class BatchrunnerError(Exception):
    """Root of our errors: what happened, why, and what to do next."""

    exit_code = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigurationError(BatchrunnerError):
    """Settings, flags or keys that can't work."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad line of an input file. ``column`` counts bytes of the line from 1."""

    line: int
    column: int
    reason: str


class InputError(BatchrunnerError):
    """A file that was refused as a whole: nothing of it was stored or sent."""

    exit_code = ExitCode.INPUT

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        path: str = "",
        problems: tuple[Problem, ...] = (),
        count: int = 0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.problems = problems
        self.count = count or len(problems)


class DatabaseError(BatchrunnerError):
    """The database, or the disk beneath it, can't be used."""

    exit_code = ExitCode.DATABASE


class DiskFullError(DatabaseError):
    """The disk has no room for what was to be written; what was written before is untouched."""


class NewerDatabaseError(DatabaseError):
    """The database was written by a newer batchrunner."""

    exit_code = ExitCode.USAGE


class DatabaseHeldError(BatchrunnerError):
    """Another runner holds the database."""

    exit_code = ExitCode.HELD
