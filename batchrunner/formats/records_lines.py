"""Rows that are lines: JSON objects, or plain text."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

import msgspec

from batchrunner.core.errors import InputError, Problem
from batchrunner.formats.lines import LineTooLong, split_lines
from batchrunner.formats.records import Record, no_rows, shown
from batchrunner.formats.screen import LineProblem, check_depth, strict
from batchrunner.formats.source import MAX_LINE, open_source

TEXT: Final = "text"
"""The one column of plain lines, and the content's of a folder's files."""

_decode: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode


class FileRecords:
    """What all rows that lie in one file have in common."""

    def __init__(self, source: str, form: str, *, stdin: BinaryIO | None = None) -> None:
        """``form`` is what the file is read as, for the words of a refusal."""
        self._name = shown(source)
        self._file = open_source(source, stdin=stdin)
        self._file.form = form
        self.path = self._file.path
        self.size = self._file.size

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes."""
        return self._file.fingerprint().sha256

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Lines(FileRecords):
    """What both kinds have in common: a text file, cut at line feeds and nowhere else."""

    form = ""

    def __init__(self, source: str, *, stdin: BinaryIO | None = None) -> None:
        super().__init__(source, self.form, stdin=stdin)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that every row has."""
        return None

    def __iter__(self) -> Iterator[Record]:
        number, rows = 0, 0
        try:
            for number, raw in enumerate(split_lines(self._file.chunks()), 1):
                if raw and not raw.isspace():
                    rows += 1
                    yield Record(number, self._name, self._fields(raw))
        except LineProblem as problem:
            raise refused(self._name, number, problem.column, problem.reason) from None
        except LineTooLong:
            raise refused(self._name, number + 1, MAX_LINE + 1, f"longer than {MAX_LINE:,} bytes") from None
        if not rows:
            raise no_rows(self._name)

    def _fields(self, raw: bytes) -> dict[str, object]:
        raise NotImplementedError


class JsonRecords(_Lines):
    """JSON Lines: one object a line, its keys are the columns. Blank lines are no rows."""

    form = "JSON Lines"

    def _fields(self, raw: bytes) -> dict[str, object]:
        check_depth(raw)
        try:
            return _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            strict(raw)  # says what is wrong; what it lets pass Python can read as well
        found: dict[str, object] = json.loads(raw)
        return found


class TextRecords(_Lines):
    """Plain text: each line is a row with the one column ``text``. Blank lines are no rows."""

    form = "text"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every row has."""
        return (TEXT,)

    def _fields(self, raw: bytes) -> dict[str, object]:
        return {TEXT: utf8(raw)}


def utf8(raw: bytes) -> str:
    """Return bytes as text. Raises LineProblem at the first one that is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineProblem(f"not UTF-8: byte 0x{raw[error.start]:02x}", error.start + 1) from None


def refused(name: str, line: int, column: int, reason: str) -> InputError:
    """Return the error for a source with a bad row."""
    return InputError(
        f"{name}:{line}:{column}: {reason}",
        hint="mend it and run the same command again",
        path=name,
        problems=(Problem(line, column, reason),),
    )
