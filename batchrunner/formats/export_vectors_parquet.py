"""Vectors as Parquet: one file, or past a size shards that are written one after the other, each of them whole.

``vectors.parquet`` becomes ``vectors-00000.parquet``, ``vectors-00001.parquet``, ... A shard is written under another
name, synced, renamed and its folder synced before it is told of. An export that was killed goes on with the shard that
is missing, if the job and its snapshot are the same. Otherwise what earlier exports of the job left is removed before
the first new shard gets its name: files that match one pattern are read as one table, and must never be of two minds.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from batchrunner.core.vectors import FLOAT, VectorBatch
from batchrunner.formats.export_vectors_arrow import JOB, Batches
from batchrunner.formats.export_vectors_base import (
    Shard,
    VectorFacts,
    VectorSummary,
    Written,
    checked,
    gathered,
    skipped,
    split,
)
from batchrunner.formats.export_vectors_targets import check_files
from batchrunner.formats.replace import Replacement, disk_error, sweep, sync_folder

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SHARD = 1 << 30
"""Bytes of vectors in a shard, at most."""
MOST_SHARDS = 99_999
"""What five digits can tell apart; shards become larger where there would be more."""
LEVEL = 1
"""Of zstd. Higher ones take longer and gain next to nothing: most bits of vectors are noise."""


class ParquetWriter:
    """A Parquet file of vectors, or its shards."""

    def __init__(self, out: Path, facts: VectorFacts, *, shard: int = SHARD, always: bool = False) -> None:
        """``shard``: bytes of vectors in a file, at most; ``always``: in shards even where one file would do."""
        self._out = out
        self._facts = facts
        self._batches = Batches(facts)
        self._rows = max(1, shard // (facts.dimensions * FLOAT), -(-facts.count // MOST_SHARDS))
        self._kept = self._whole_shards()
        self._sharded = always or bool(self._kept) or facts.count > self._rows

    def check(self, *, force: bool) -> None:
        """Raise ConfigurationError where a file stands in the way that this job did not write, or would be read too."""
        check_files([self._out, *(self._shards() if self._sharded else ())], self._is_ours, force=force)

    def done(self) -> int:
        """Return the rows of the shards that are whole already, from the first one on without a gap."""
        return sum(shard.rows for shard in self._kept)

    def write(self, batches: Iterable[VectorBatch], start: int, written: Written) -> VectorSummary:
        """Write the shards that are missing."""
        done, kept = self.done(), list(self._kept)
        swept = sum(map(sweep, {self._out, *(self._path(n) for n in range(self._expected()))}))
        fresh = _Cut(skipped(checked(batches, self._facts, start), done - start))
        first, stale = done, True
        while fresh or (stale and not kept):
            path = self._path(len(kept)) if self._sharded else self._out
            shard = self._write_shard(path, first, fresh, clear=stale)
            written(shard)
            kept.append(shard)
            first, stale = first + shard.rows, False
        if stale:
            self._clear(len(kept))
        if not self._sharded:
            self._remove(filter(self._is_ours, self._shards()))
        return VectorSummary(
            paths=tuple(str(shard.path) for shard in kept), rows=first, fresh=first - done, swept=swept
        )

    def _write_shard(self, path: Path, first: int, fresh: "_Cut", *, clear: bool) -> Shard:
        """Write one shard, and remove what is stale right before it gets its name, if that has not been done."""
        limit = self._rows if self._sharded else self._facts.count
        rows = 0
        with Replacement(path) as part:
            try:
                with self._opened(part) as file:
                    for batch in fresh.upto(limit):
                        file.write_batch(self._batches.record(batch))
                        rows += len(batch.ids)
                    file.add_key_value_metadata(self._facts.described(first, rows))
            except OSError as error:
                raise disk_error(path, error) from error
            if clear:
                self._clear(len(self._kept))
            part.commit()
        return Shard(path, first, rows)

    @contextmanager
    def _opened(self, part: Replacement) -> "Iterator[pq.ParquetWriter]":
        """Yield a writer. Bytes of one place of all floats stand side by side: that alone lets vectors shrink."""
        import pyarrow.parquet as pq

        names = [field.name for field in self._batches.schema if field.name != "embedding"]
        with pq.ParquetWriter(
            part.file,
            self._batches.schema,
            compression="zstd",
            compression_level=LEVEL,
            use_dictionary=names,
            write_statistics=names,
            column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"},
        ) as file:
            yield file

    def _path(self, number: int) -> Path:
        return self._out.with_name(f"{self._out.stem}-{number:05d}{self._out.suffix}")

    def _expected(self) -> int:
        return len(self._kept) + -(-self._facts.count // self._rows) + 1

    def _shards(self, first: int = 0) -> list[Path]:
        """Return every path there that has the name of a shard, the last one first, from number ``first`` on."""
        name = re.compile(re.escape(self._out.stem) + r"-(\d{5})" + re.escape(self._out.suffix))
        folder = self._out.parent
        found = [(int(match[1]), path) for path in folder.iterdir() if (match := name.fullmatch(path.name))]
        return [path for number, path in sorted(found, reverse=True) if number >= first]

    def _whole_shards(self) -> tuple[Shard, ...]:
        """Return the shards from the first on without a gap that hold this very content."""
        found: list[Shard] = []
        first = 0
        while self._facts.snapshot:
            path = self._path(len(found))
            rows = self._rows_of(path, first)
            if not rows or first + rows > self._facts.count:
                break
            found.append(Shard(path, first, rows))
            first += rows
        return tuple(found)

    def _rows_of(self, path: Path, first: int) -> int:
        """Return how many rows a shard holds; 0 where it is not the one of this content that begins with ``first``."""
        file = _footer(path)
        if file is None or not file.schema_arrow.equals(self._batches.schema):
            return 0
        rows: int = file.metadata.num_rows
        expected = self._facts.described(first, rows)
        del expected["batchrunner.version"]  # the same content, whichever version wrote it
        said = file.metadata.metadata or {}
        return rows if all(said.get(name.encode()) == value.encode() for name, value in expected.items()) else 0

    def _is_ours(self, path: Path) -> bool:
        file = _footer(path)
        return file is not None and (file.metadata.metadata or {}).get(JOB) == self._facts.job.encode()

    def _clear(self, first: int) -> None:
        """Remove what is not of this content and would be read with it, if what is written are shards."""
        if self._sharded:
            self._remove([*self._shards(first), self._out])

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        sync_folder(self._out.parent)


def _footer(path: Path) -> "pq.ParquetFile | None":
    """Return a Parquet file whose footer can be read; None where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.is_symlink() or not path.is_file():
            return None
        with pq.ParquetFile(path) as file:
            return file
    except (pa.ArrowException, OSError):
        return None


class _Cut:
    """Batches that are cut where a shard is full. True as long as there are more."""

    def __init__(self, batches: Iterable[VectorBatch]) -> None:
        self._batches = gathered(batches)
        self._next = next(self._batches, None)

    def __bool__(self) -> bool:
        return self._next is not None

    def upto(self, rows: int) -> Iterator[VectorBatch]:
        """Yield the next batches, ``rows`` rows of them at most."""
        while self._next is not None and rows:
            batch, rest = split(self._next, rows) if len(self._next.ids) > rows else (self._next, None)
            rows -= len(batch.ids)
            self._next = rest or next(self._batches, None)
            yield batch
