"""Names of rows: which column holds them, and that none is used twice in a source too large to be remembered."""

import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import IO, Final

from batchrunner.core.errors import DatabaseError, InputError
from batchrunner.formats.records import Record
from batchrunner.formats.records_lines import refused

MOST_NAME: Final = 512
"""Characters."""
PARTS: Final = 256
HELD: Final = 8192
"""Names of each part that are held in memory, 8 bytes a name."""


def value_of(record: Record, column: str) -> object:
    """Return what a row has in a column. Raises InputError where it has no such column."""
    try:
        return record.fields[column]
    except KeyError:
        raise refused_row(record, f'there is no column "{column}"') from None


def name_of(record: Record, column: str, what: str) -> str:
    """Return the name that a row has in a column. Raises InputError for what can't be one.

    ``what`` it names, for people: ``custom_id``.
    """
    value = value_of(record, column)
    name = value if isinstance(value, str) else str(value)
    if not isinstance(value, str | int) or isinstance(value, bool) or not 1 <= len(name) <= MOST_NAME:
        reason = f'the column "{column}" makes no {what}: it must be text or a number of 1 to {MOST_NAME} characters'
        raise refused_row(record, reason)
    return name


def own_name(record: Record, plain: str = "{}") -> str:
    """Return the name of a row that no column names: of a folder's file its path, else its number put into ``plain``.

    No two rows of a source have the same.
    """
    return str(record.fields["path"]) if record.whole else plain.format(record.number)


def refused_row(record: Record, reason: str) -> InputError:
    """Return the error for a bad row."""
    return refused(record.source, record.number, 1, reason)


class Repeats:
    """Finds names that are used twice. Of each it remembers 64 bits, beyond some millions of names in a file."""

    def __init__(self, what: str) -> None:
        """``what`` the names are, for people: ``custom_id``."""
        self._what = what
        self._marks = [array("q") for _ in range(PARTS)]
        self._written: list[list[int]] = [[] for _ in range(PARTS)]
        self._file: IO[bytes] | None = None

    def note(self, name: str) -> None:
        """Take notice of a row's name. Raises DatabaseError where the disk of the temporary files is full."""
        mark = hash(name)
        part = mark & PARTS - 1
        marks = self._marks[part]
        marks.append(mark)
        if len(marks) >= HELD:
            self._write(part)

    def refuse(self, rows: Iterable[tuple[str, Record]]) -> None:
        """Raise InputError with both places of a name that was noted twice. Reads ``rows`` again only if one may be."""
        suspects = self._suspects()
        first: dict[str, str] = {}
        for name, record in rows if suspects else ():
            if hash(name) not in suspects:
                continue
            if name in first:
                raise refused_row(record, f'{self._what} "{name}" was used at {first[name]} already')
            first[name] = record.place

    def close(self) -> None:
        """Forget the names."""
        if self._file is not None:
            self._file.close()

    def _write(self, part: int) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            self._written[part].append(self._file.seek(0, os.SEEK_END))
            self._marks[part].tofile(self._file)
        except OSError as error:
            raise DatabaseError(f"can't write to the folder for temporary files: {error.strerror}") from error
        self._marks[part] = array("q")

    def _suspects(self) -> set[int]:
        """Return the marks that are there more than once: there is no other sign of a name that is used twice."""
        suspects: set[int] = set()
        for marks, places in zip(self._marks, self._written, strict=True):
            for place in places:
                assert self._file is not None  # noqa: S101 - for the type checker: something was written to it
                self._file.seek(place)
                marks.fromfile(self._file, HELD)
            if len(set(marks)) < len(marks):
                suspects.update(mark for mark, times in Counter(marks).items() if times > 1)
        return suspects
