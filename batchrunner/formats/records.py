"""Rows of people's data, wherever they lie: tables, JSON Lines, plain lines, a folder of files, standard input."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from batchrunner.core.errors import InputError

FORMS: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "txt",
    ".text": "txt",
}
"""How a file is read, by its suffix; all but Parquet also as ``.gz``."""


class Record(NamedTuple):
    """One row."""

    number: int
    """The line where it begins, or the row, from 1; the place in the order of a folder's files."""
    source: str
    """For people: the file, or of a folder the one file that this is."""
    fields: dict[str, object]
    """By column: text, numbers, true and false, None, and from JSON and Parquet lists and objects of these."""
    whole: bool = False
    """Whether the source has no other row: it is a file of a folder."""

    @property
    def place(self) -> str:
        """For people, such as ``data.csv:12``, or ``notes/a.md``."""
        return self.source if self.whole else f"{self.source}:{self.number}"


class Records(Protocol):
    """A source of rows. It can be read several times from its start; memory does not grow with its rows."""

    path: str
    """Absolute, or ``-`` for standard input."""
    size: int
    """Bytes; 0 for a folder."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that every row has; None where each row has its own, as in JSON Lines."""
        ...

    @property
    def sha256(self) -> str:
        """Hex digest of the content; reads it once if nobody has. Raises InputError."""
        ...

    def __iter__(self) -> Iterator[Record]:
        """Yield the rows in order. Raises InputError with path, line and column, also for a change meanwhile."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


def open_records(
    source: str, *, stdin: BinaryIO | None = None, form: str | None = None, only: Collection[str] | None = None
) -> Records:
    """Open a file by its suffix, a folder, or ``-`` for standard input (JSON Lines, if ``form`` does not say else).

    ``form`` (``jsonl, csv, tsv, parquet, txt``) is what a file is read as whatever it is called. ``only`` are the
    columns that are wanted, where leaving the others out saves work. Raises InputError for what can't be read, and
    ConfigurationError where the extra ``data`` is needed and missing.
    """
    if form is None and Path(source).is_dir():
        from batchrunner.formats.records_folder import Folder

        return Folder(source)
    form = form or _form(source)
    if form == "parquet":
        from batchrunner.formats.records_parquet import ParquetRecords

        return ParquetRecords(source, only)
    if form in ("csv", "tsv"):
        from batchrunner.formats.records_csv import CsvRecords

        return CsvRecords(source, "," if form == "csv" else "\t", stdin=stdin)
    from batchrunner.formats.records_lines import JsonRecords, TextRecords

    return TextRecords(source, stdin=stdin) if form == "txt" else JsonRecords(source, stdin=stdin)


def no_rows(name: str) -> InputError:
    """Return the error for a source without rows."""
    return InputError(f"{name} has no rows", hint="give a file that holds some", path=name)


def shown(source: str) -> str:
    """Return what a source is called in messages."""
    return "stdin" if source == "-" else source


def _form(source: str) -> str:
    """Return how a file is read, by its suffix. Raises InputError."""
    if source == "-":
        return "jsonl"
    name = source.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    form = FORMS.get(suffix)
    if form is None or (form == "parquet" and name.endswith(".gz")):
        raise InputError(
            f"{source}: its suffix does not tell what it is",
            hint=f"use one of {', '.join(FORMS)} (.gz of the text ones), a folder, or say it with --format",
            path=source,
        )
    return form
