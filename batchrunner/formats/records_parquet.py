"""Rows of Parquet files: batch by batch, only the columns that are wanted, types kept as far as JSON has them."""

import datetime
import decimal
import os
from collections.abc import Collection, Iterator
from typing import Any, Final

from batchrunner.core.errors import InputError
from batchrunner.formats import arrow
from batchrunner.formats.records import Record, no_rows
from batchrunner.formats.records_lines import FileRecords, refused
from batchrunner.formats.source import CHUNK

BATCH: Final = 512
"""Rows that are held at once."""
_PLAIN: Final = (str, bool, int, float, type(None))


class ParquetRecords(FileRecords):
    """A Parquet file. Times and dates come as ISO 8601 text, decimals as exact text, bytes as text where UTF-8."""

    def __init__(self, source: str, only: Collection[str] | None = None) -> None:
        self._parquet = arrow.parquet()
        self._errors: tuple[type[Exception], ...] = (arrow.pyarrow().ArrowException, OSError)
        if source == "-":
            raise InputError("Parquet can't be read from standard input", hint="write it to a file first", path=source)
        super().__init__(source, "Parquet")
        try:
            self._columns = self._checked(self._open().schema_arrow.names)
        except BaseException:
            self.close()
            raise
        self._read = [name for name in self._columns if only is None or name in only]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the file, also those that are not read."""
        return self._columns

    def __iter__(self) -> Iterator[Record]:
        number = 0
        try:
            for batch in self._open().iter_batches(BATCH, columns=self._read, use_threads=False):
                for fields in _rows(batch):
                    number += 1
                    yield Record(number, self._name, fields)
        except self._errors as error:
            raise self._broken(error) from None
        except UnfitError as unfit:
            raise refused(self._name, number + 1, 1, str(unfit)) from None
        now = os.stat(self._name)  # noqa: PTH116 - a path of any bytes
        if (now.st_size, now.st_mtime_ns) != (self._file.size, self._file.mtime_ns):
            raise InputError(f"{self._name} changed while it was read", hint="run it again", path=self._name)
        if not number:
            raise no_rows(self._name)

    def _checked(self, names: list[str]) -> tuple[str, ...]:
        for at, name in enumerate(names):
            if not name.strip() or name in names[:at]:
                reason = f"column {at + 1} ({name!r}) has no name, or that of another column"
                raise refused(self._name, 1, at + 1, reason)
        return tuple(names)

    def _open(self) -> Any:
        """Return the file's reader, which reads page by page through a small buffer."""
        try:
            return self._parquet.ParquetFile(self._name, buffer_size=CHUNK, pre_buffer=False, memory_map=False)
        except self._errors as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> InputError:
        return InputError(f"{self._name} can't be read as Parquet: {error}", path=self._name)


class UnfitError(ValueError):
    """A value that no JSON can hold."""


def _rows(batch: Any) -> Iterator[dict[str, object]]:
    names = batch.schema.names
    columns = [column.to_pylist() for column in batch.columns]
    if not columns:
        yield from ({} for _ in range(batch.num_rows))
        return
    for row in zip(*columns, strict=True):
        yield {name: _value(name, value) for name, value in zip(names, row, strict=True)}


def _value(name: str, value: Any) -> object:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple):
        return [_value(name, each) for each in value]
    if isinstance(value, dict):
        return {str(key): _value(name, each) for key, each in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise UnfitError(f"the column {name!r} holds bytes that are no UTF-8 text") from None
    raise UnfitError(f"the column {name!r} holds a {type(value).__name__}, which no JSON can hold")
