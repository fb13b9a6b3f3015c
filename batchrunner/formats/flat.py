"""Plain tables as CSV and Parquet: named columns of known kinds, every digit kept, formulas defused."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from batchrunner.core.clock import SECOND
from batchrunner.formats import arrow
from batchrunner.formats.base import exact_usd
from batchrunner.formats.export_csv import guarded

Cell = str | int | None
WIDTH: Final = 38
"""Digits of a decimal, as Parquet and most databases have them at most."""
_EXACT: Final = Context(prec=WIDTH)


class Kind(Enum):
    """What a column holds."""

    TEXT = auto()
    WHOLE = auto()
    PICO = auto()
    """Whole trillionths, shown as a decimal number."""
    TIME = auto()
    """Microseconds UTC, shown as ISO 8601 to the second."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind = Kind.TEXT


def csv_lines(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """Yield a table as lines of CSV in UTF-8; nothing is an empty cell.

    Text that a spreadsheet takes for a formula gets an apostrophe before it.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")  # so that a lone CR or LF in a text is quoted
    for cells in _cells(columns, rows):
        writer.writerow(cells)
        yield (buffer.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "replace")
        buffer.seek(0)
        buffer.truncate()


def parquet_file(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return a table as a Parquet file; trillionths are decimals of 38 digits. Raises MissingDataExtraError."""
    pa, parquet = arrow.pyarrow(), arrow.parquet()
    kinds = {
        Kind.TEXT: pa.string(),
        Kind.WHOLE: pa.int64(),
        Kind.PICO: pa.decimal128(WIDTH, 12),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [
        pa.array([_typed(column.kind, cell) for cell in cells], kinds[column.kind])
        for column, cells in zip(columns, values, strict=True)
    ]
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def time_text(microseconds: int) -> str:
    """Return a time in UTC as ISO 8601 writes it, to the second."""
    return datetime.fromtimestamp(microseconds // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cells(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Iterator[list[Cell]]:
    yield [guarded(column.name) for column in columns]
    for row in rows:
        yield [_shown(column.kind, cell) for column, cell in zip(columns, row, strict=True)]


def _shown(kind: Kind, cell: Cell) -> Cell:
    if cell is None or isinstance(cell, str):
        return guarded(cell)
    if kind is Kind.PICO:
        return exact_usd(cell)
    return time_text(cell) if kind is Kind.TIME else cell


def _typed(kind: Kind, cell: Cell) -> Any:
    if isinstance(cell, str):
        return cell.encode("utf-8", "replace").decode()
    return Decimal(cell).scaleb(-12, _EXACT) if kind is Kind.PICO and cell is not None else cell
