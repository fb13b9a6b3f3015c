"""Names of rows: which column holds them, and that none is used twice in a source too large to be remembered."""

import hashlib
from collections.abc import Iterable
from typing import Final

from batchrunner.core.errors import InputError
from batchrunner.formats.occurrences import Occurrences
from batchrunner.formats.records import Record
from batchrunner.formats.records_lines import refused

MOST_NAME: Final = 512
"""Characters."""
MARK: Final = 6
"""Bytes of a digest by which a name is remembered: two names may share one, so that each repeat is only suspected."""


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


def refused_row(record: Record, reason: str) -> InputError:
    """Return the error for a bad row."""
    return refused(record.place.removesuffix(f":{record.number}"), record.number, 1, reason)


class Repeats:
    """Finds names that are used twice: of each it remembers a mark only, and asks for a second reading in doubt."""

    def __init__(self, what: str) -> None:
        """``what`` the names are, for people: ``custom_id``."""
        self._what = what
        self._seen = Occurrences()
        self._suspects: set[bytes] = set()

    def note(self, name: str) -> None:
        """Take notice of a row's name."""
        mark = _mark(name)
        if self._seen.count(mark) > 1:
            self._suspects.add(mark)

    def refuse(self, rows: Iterable[tuple[str, Record]]) -> None:
        """Raise InputError with both places of a name that was noted twice. Reads ``rows`` again only if in doubt."""
        if not self._suspects:
            return
        first: dict[str, str] = {}
        for name, record in rows:
            if _mark(name) not in self._suspects:
                continue
            if name in first:
                raise refused_row(record, f'{self._what} "{name}" was used at {first[name]} already')
            first[name] = record.place

    def close(self) -> None:
        """Forget the names."""
        self._seen.close()


def _mark(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:MARK]
