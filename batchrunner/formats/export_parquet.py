"""Results as Parquet, for data frames: one row per request, failures among them, every column of its own type."""

import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from batchrunner.core.job import Job
from batchrunner.core.labels import label_of
from batchrunner.core.request import RequestState
from batchrunner.core.usage import TOKENS, Usage
from batchrunner.core.version import program_version
from batchrunner.formats import arrow
from batchrunner.formats.base import Row, latency_ms, links
from batchrunner.formats.export_csv import COLUMNS as CSV_COLUMNS
from batchrunner.formats.export_csv import Text, finish_reason
from batchrunner.formats.joined import Joined, Kind

ROWS: Final = 20_000
"""Of a row group, at most."""
BYTES: Final = 16 << 20
"""Characters of a row group's answers, about: what is held in memory before it is written."""
MOST_MODELS: Final = 100
"""Models that the file's metadata name; the column has all."""
STEERING: Final = "batchrunner."
"""Before every key of the file's metadata."""

_TEXTS = ("custom_id", "state", "text", "reasoning", "finish_reason", "model", "endpoint", "usage_from",
          "copy_of", "error_kind", "error_class", "error_message", "job")  # fmt: skip
COLUMNS: Final = CSV_COLUMNS[:-1]
"""As in CSV, but for the job's mark, which is in the file's metadata."""
_NO_USAGE: Final = (None,) * 9


class ParquetExporter:
    """Row groups of bounded size, compressed with zstd. Costs are exact: decimals with every digit of a pico-dollar."""

    splits = False

    def __init__(self, job: Job, text_of: Text, *, artifacts: str = "", joined: Joined | None = None) -> None:
        """See ``CsvExporter``. Raises MissingDataExtraError."""
        self._arrow, self._parquet = arrow.pyarrow(), arrow.parquet()
        self._job = job
        self._text_of = text_of
        self._artifacts = artifacts
        self._joined = joined or Joined()
        self._schema = self._make_schema()
        self._buffer = io.BytesIO()
        self._writer: Any = None
        self._rows: list[Sequence[object]] = []
        self._held = 0
        self._models: dict[str, None] = {}

    def head(self) -> bytes:
        """Begin a file, and return its first bytes."""
        self._writer = self._parquet.ParquetWriter(self._buffer, self._schema, compression="zstd")
        return self._drained()

    def line(self, row: Row) -> bytes:
        """Take a row, and return the bytes of a row group whenever one is full."""
        answer = row.body if row.state is RequestState.SUCCEEDED or row.partial else None
        text, reasoning = (None, None) if answer is None else self._text_of(row.endpoint, answer)
        finish = None if answer is None else finish_reason(answer)
        if row.artifacts:
            text = "\n".join(links(row, self._artifacts))
        cost = None if row.cost is None else Decimal(row.cost).scaleb(-12)
        values = (
            row.custom_id, row.line, str(row.state), text, reasoning, finish, row.model, row.endpoint,
            *_amounts(row.usage), row.usage_from, cost, latency_ms(row), row.attempts, list(row.flags), row.partial,
            row.copy_of, row.failure, label_of(row.status, row.failure), row.message, self._job.name,
            *self._joined.values(row, text),
        )  # fmt: skip
        self._rows.append([_encodable(value) if isinstance(value, str) else value for value in values])
        self._held += len(text or "") + len(reasoning or "") + len(row.extras or b"")
        if len(self._models) < MOST_MODELS:
            self._models[row.model] = None
        return self._group() if len(self._rows) >= ROWS or self._held >= BYTES else b""

    def foot(self) -> bytes:
        """Return what was not written yet, and the file's end, which names its job, its models and our version."""
        group = self._group() if self._rows else b""
        told = {"job": self._job.name, "job_mark": self._job.mark, "version": program_version()}
        told["model"] = ", ".join(self._models)
        self._writer.add_key_value_metadata({STEERING + key: _encodable(value) for key, value in told.items()})
        self._writer.close()
        return group + self._drained()

    def owns(self, path: Path) -> bool:
        """Tell whether a file is empty, or a Parquet file whose metadata name this job. Raises OSError."""
        if path.stat().st_size == 0:
            return True
        try:
            found = self._parquet.read_metadata(path).metadata or {}
        except self._arrow.ArrowException:
            return False
        return bool(found.get(f"{STEERING}job_mark".encode()) == self._job.mark.encode())

    def _group(self) -> bytes:
        columns = zip(*self._rows, strict=True)
        arrays = [self._arrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema), row_group_size=ROWS)
        self._rows, self._held = [], 0
        return self._drained()

    def _drained(self) -> bytes:
        data = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return data

    def _make_schema(self) -> Any:
        pa = self._arrow
        others = {
            "seconds": pa.decimal128(18, 3),
            "cost_usd": pa.decimal128(38, 12),
            "flags": pa.list_(pa.string()),
            "partial": pa.bool_(),
        }
        kinds = {Kind.BOOL: pa.bool_(), Kind.INT: pa.int64(), Kind.FLOAT: pa.float64()}
        own = [(name, others.get(name, pa.string() if name in _TEXTS else pa.int64())) for name in COLUMNS]
        joined = [(_encodable(each.name), kinds.get(each.kind, pa.string())) for each in self._joined.columns]
        return pa.schema([*own, *joined])


def _amounts(usage: Usage | None) -> tuple[object, ...]:
    """Return what was used by column; a unit that was not counted is null."""
    if usage is None:
        return _NO_USAGE
    seconds = Decimal(usage.milliseconds).scaleb(-3) if usage.milliseconds else None
    units = (usage.images or None, usage.pixels or None, seconds, usage.characters or None, usage.searches or None)
    return (*usage[:TOKENS], *units)


def _encodable(text: str) -> str:
    """Return text as UTF-8 can hold it: an answer may hold half a surrogate pair."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()
