"""Cost slices as tables for other programs."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from batchrunner.api.ledgers import Compared
from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.flat import Cell, Column, Kind, csv_lines, parquet_file
from batchrunner.formats.replace import Replacement, is_regular
from batchrunner.store.base import CostRow

_COUNTED: Final = (
    ("calls", "attempts"),
    ("succeeded", "succeeded"),
    ("input_tokens", "input"),
    ("cached_tokens", "cached"),
    ("output_tokens", "output"),
    ("reasoning_tokens", "reasoning"),
    ("images", "images"),
    ("pixels", "pixels"),
    ("milliseconds", "milliseconds"),
    ("characters", "characters"),
    ("searches", "searches"),
    ("audio_input_tokens", "audio_input"),
    ("audio_output_tokens", "audio_output"),
    ("image_input_tokens", "image_input"),
    ("image_output_tokens", "image_output"),
    ("unpriced_calls", "unpriced"),
)
_MONEY: Final = (
    ("recorded_usd", "recorded"),
    ("estimated_usd", "estimated"),
    ("possibly_billed_usd", "possibly_billed"),
    ("wasted_usd", "wasted"),
    ("wasted_estimated_usd", "wasted_estimated"),
)
_FACTS: Final = (
    *(Column(name, Kind.WHOLE) for name, _ in _COUNTED),
    *(Column(name, Kind.PICO) for name, _ in _MONEY),
)
_FIELDS: Final = tuple(field for _, field in (*_COUNTED, *_MONEY))

Table = tuple[list[Column], list[Sequence[Cell]]]


def slice_table(by: Sequence[str], rows: Sequence[CostRow]) -> Table:
    """Return slices as columns and rows; there is no row of totals, so that a sum over a column is one."""
    return [*map(Column, by), *_FACTS], [(*row.key, *_values(row)) for row in rows]


def compared_table(by: Sequence[str], rows: Sequence[Compared]) -> Table:
    """Return slices of two periods side by side: those of the earlier one have ``before_`` in front."""
    earlier = [Column(f"before_{column.name}", column.kind) for column in _FACTS]
    change = [Column("change_by_traffic_usd", Kind.PICO), Column("change_by_price_usd", Kind.PICO)]
    return (
        [*map(Column, by), *_FACTS, *earlier, *change],
        [(*row.key, *_values(row.now), *_values(row.before), row.traffic, row.price) for row in rows],
    )


def _values(row: CostRow) -> list[int]:
    return [getattr(row, field) for field in _FIELDS]


def write(table: Table, output: str, *, parquet: bool, force: bool, databases: Sequence[str] = ()) -> None:
    """Write a table to a file, as a whole or not at all, or to stdout (``-``).

    Raises ConfigurationError where there is something already, unless ``force`` is given, for one of the
    ``databases``, and where Parquet would go to a terminal; MissingDataExtraError; DatabaseError for a full disk.
    """
    columns, rows = table
    if output == "-":
        if parquet and sys.stdout.isatty():
            raise ConfigurationError("Parquet is nothing for a terminal", hint="give it a file: -o costs.parquet")
        sys.stdout.flush()
        sys.stdout.buffer.writelines([parquet_file(columns, rows)] if parquet else csv_lines(columns, rows))
        sys.stdout.buffer.flush()
        return
    target = Path(output)
    if is_regular(target) is False or (is_regular(target) and not force):
        raise ConfigurationError(f"{output} is there already", hint="give another name, or replace it with --force")
    if any(os.path.realpath(target).startswith(os.path.realpath(path)) for path in databases):
        raise ConfigurationError(f"{output} is a database's own file", hint="give another name")
    with Replacement(target) as replacement:
        replacement.file.writelines([parquet_file(columns, rows)] if parquet else csv_lines(columns, rows))
        replacement.commit()
