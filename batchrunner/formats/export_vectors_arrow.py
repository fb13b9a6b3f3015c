"""Vectors as Arrow knows them: record batches, and the Arrow IPC file (``.arrow``, ``.feather``)."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors_base import (
    Shard,
    VectorFacts,
    VectorSummary,
    Written,
    checked,
    gathered,
    missing,
)
from batchrunner.formats.export_vectors_columns import fields, values
from batchrunner.formats.export_vectors_targets import check_files
from batchrunner.formats.replace import Replacement, disk_error, sweep

if TYPE_CHECKING:
    import pyarrow as pa

JOB = b"batchrunner.job"


class Batches:
    """Makes record batches: id, the vector as a fixed-size list of float32, and the kept columns with their types.

    Neither a vector nor a part of it is ever null, so that readers find plain float32 side by side.
    """

    def __init__(self, facts: VectorFacts) -> None:
        """Raise ConfigurationError where pyarrow is not installed."""
        try:
            import pyarrow as pa
        except ImportError:
            raise missing("pyarrow", "writing vectors as Parquet, Arrow or JSONL") from None
        self._pa = pa
        self._facts = facts
        self._vector = pa.list_(pa.field("element", pa.float32(), nullable=False), facts.dimensions)
        self.schema = pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("embedding", self._vector, nullable=False),
                *fields(facts.columns),
            ]
        )

    def vectors(self, batch: VectorBatch) -> "pa.FixedSizeListArray":
        """Return the vectors of a batch without copying them."""
        pa = self._pa
        numbers = len(batch.ids) * self._facts.dimensions
        flat = pa.Array.from_buffers(pa.float32(), numbers, [None, pa.py_buffer(batch.vectors)])
        return pa.FixedSizeListArray.from_arrays(flat, type=self._vector)

    def record(self, batch: VectorBatch) -> "pa.RecordBatch":
        """Return a batch with all of its columns. Raises DatabaseError for kept columns that are not as they should."""
        columns = self._facts.columns
        kept = [
            self._pa.array(found, field.type)
            for found, field in zip(values(batch.kept, columns), list(self.schema)[2:], strict=False)
        ] or [self._pa.nulls(len(batch.ids), field.type) for field in list(self.schema)[2:]]
        ids = self._pa.array(batch.ids, self._pa.string())
        return self._pa.record_batch([ids, self.vectors(batch), *kept], schema=self.schema)


class ArrowWriter:
    """One Arrow IPC file, replaced as a whole."""

    def __init__(self, out: Path, facts: VectorFacts) -> None:
        self._out = out
        self._facts = facts
        self._batches = Batches(facts)

    def check(self, *, force: bool) -> None:
        """Raise ConfigurationError where a file stands in the way that this job did not write."""
        check_files([self._out], self._is_ours, force=force)

    def done(self) -> int:
        """Return 0: the file is always written as a whole."""
        return 0

    def write(self, batches: Iterable[VectorBatch], start: int, written: Written) -> VectorSummary:
        """Write the file; nothing is replaced where the vectors are not as many as they should be."""
        from pyarrow import ipc

        facts = self._facts
        swept = sweep(self._out)
        schema = self._batches.schema.with_metadata(facts.described(0, facts.count))
        with Replacement(self._out) as part:
            try:
                with ipc.new_file(part.file, schema) as file:
                    for batch in gathered(checked(batches, facts, start)):
                        file.write_batch(self._batches.record(batch).replace_schema_metadata(schema.metadata))
            except OSError as error:
                raise disk_error(self._out, error) from error
            part.commit()
        written(Shard(self._out, 0, facts.count))
        return VectorSummary(paths=(str(self._out),), rows=facts.count, fresh=facts.count, swept=swept)

    def _is_ours(self, path: Path) -> bool:
        import pyarrow as pa

        with contextlib.suppress(pa.ArrowException, OSError), pa.OSFile(str(path)) as file:
            metadata = pa.ipc.open_file(file).schema.metadata or {}
            return bool(metadata.get(JOB) == self._facts.job.encode())
        return False
