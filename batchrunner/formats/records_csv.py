"""Rows of CSV and TSV files: RFC 4180 by the letter, in UTF-8, with a line of column names."""

import csv
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import BinaryIO, Final

from batchrunner.core.errors import InputError
from batchrunner.formats.records import Record, no_rows
from batchrunner.formats.records_lines import FileRecords, refused, utf8
from batchrunner.formats.screen import LineProblem
from batchrunner.formats.source import MAX_LINE

NAMES: Final = {",": "CSV", "\t": "TSV"}


class CsvRecords(FileRecords):
    """A table as text: every value is text, whatever it looks like. Blank lines are no rows.

    A byte order mark is skipped; a row with more or fewer fields than there are columns, a quote in the wrong place,
    and columns without a name, or with the name of another, are errors.
    """

    def __init__(self, source: str, delimiter: str, *, stdin: BinaryIO | None = None) -> None:
        super().__init__(source, NAMES[delimiter], stdin=stdin)
        self._delimiter = delimiter
        try:
            with closing(self._rows()) as rows:
                self._columns = self._checked(next(rows, (1, []))[1])
        except BaseException:
            self.close()
            raise

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in the first line."""
        return self._columns

    def __iter__(self) -> Iterator[Record]:
        rows = self._rows()
        next(rows)
        columns, found = self._columns, False
        for number, row in rows:
            if len(row) != len(columns):
                reason = f"a row of {len(row):,} fields, where the first line names {len(columns):,} columns"
                raise refused(self._name, number, 1, reason)
            found = True
            yield Record(number, self._name, dict(zip(columns, row, strict=True)))
        if not found:
            raise no_rows(self._name)

    def _rows(self) -> Generator[tuple[int, list[str]]]:
        """Yield every row that is not blank, with the line where it begins."""
        csv.field_size_limit(MAX_LINE)
        lines = _Physical(self._file.chunks())
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        try:
            for row in reader:
                if row:
                    yield lines.first, row
                lines.next_row()
        except LineProblem as problem:
            raise refused(self._name, lines.number, problem.column, problem.reason) from None
        except csv.Error as error:
            raise refused(self._name, lines.first, 1, _told(str(error))) from None

    def _checked(self, names: list[str]) -> tuple[str, ...]:
        if not names:
            raise no_rows(self._name)
        for at, name in enumerate(names, 1):
            if not name.strip():
                raise self._bad_name(f"column {at} has no name")
            if name in names[: at - 1]:
                raise self._bad_name(f"the column {name!r} is there twice")
        return tuple(names)

    def _bad_name(self, reason: str) -> InputError:
        return refused(self._name, 1, 1, f"{reason}: the first line must name every column, each in its own way")


class _Physical:
    """The lines of a file as the csv module wants them: with their ends, which belong to a field that is quoted."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._lines = _ended_lines(chunks)
        self._held = 0
        self.number = 0
        """Of the line that was read last, from 1."""
        self.first = 1
        """Of the line where the row begins."""

    def __iter__(self) -> Iterator[str]:
        for raw in self._lines:
            self.number += 1
            self._held += len(raw)
            if self._held > MAX_LINE:
                raise LineProblem(f"a row longer than {MAX_LINE:,} bytes: is a quote missing?", 1)
            yield utf8(raw)

    def next_row(self) -> None:
        """Note that the row is complete."""
        self.first = self.number + 1
        self._held = 0


def _ended_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with the line feed at their end; never holds more than one line and one chunk."""
    tail: list[bytes] = []
    held = 0
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            yield b"".join((*tail, piece, b"\n"))
            tail, held = [], 0
        tail.append(rest)
        held += len(rest)
        if held > MAX_LINE:
            break  # whoever takes it has its length to say
    if held:
        yield b"".join(tail)


def _told(reason: str) -> str:
    words = {
        "unexpected end of data": "a quoted field begins in this row and never ends",
        "new-line character seen in unquoted field": "a carriage return that ends no line: old Mac line ends?",
    }
    return next((better for known, better in words.items() if reason.startswith(known)), reason)
