"""Writing vectors: which form, which files, and never over a file that is somebody else's."""

from collections.abc import Iterable
from pathlib import Path

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors_arrow import ArrowWriter
from batchrunner.formats.export_vectors_base import Shard, VectorFacts, VectorSummary, VectorWriter, Written
from batchrunner.formats.export_vectors_parquet import SHARD, ParquetWriter
from batchrunner.formats.export_vectors_plain import JsonlWriter, NpyWriter

SUFFIXES = (".parquet", ".npy", ".jsonl", ".ndjson", ".arrow", ".feather")


def _unheard(_: Shard) -> None:
    """Tell nobody."""


def vector_writer(out: str, facts: VectorFacts, *, shard: int = SHARD, shards: bool = False) -> VectorWriter:
    """Return the writer of vectors by the suffix of ``out``.

    ``shard``: bytes of vectors in one Parquet file at most, and ``shards``: in numbered files even where one would do.
    Raises ConfigurationError for a suffix that names no form, a folder that is not there, and for a form whose extra
    is not installed.
    """
    path = Path(out)
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}", hint="make it, or export somewhere else")
    match path.suffix.lower():
        case ".parquet":
            return ParquetWriter(path, facts, shard=shard, always=shards)
        case ".npy":
            return NpyWriter(path, facts)
        case ".jsonl" | ".ndjson":
            return JsonlWriter(path, facts)
        case ".arrow" | ".feather":
            return ArrowWriter(path, facts)
    raise ConfigurationError(
        f"{out}: its suffix names no form that vectors can be written in", hint=f"use one of {', '.join(SUFFIXES)}"
    )


def export_vectors(
    batches: Iterable[VectorBatch],
    writer: VectorWriter,
    *,
    start: int = 0,
    force: bool = False,
    written: Written = _unheard,
) -> VectorSummary:
    """Write all vectors, in the order they come; what ``writer.done()`` counts is there already and is left alone.

    The first batch begins with row ``start``: give it rows from ``writer.done()`` on where reading the others would be
    in vain, or where they are not kept any more. ``written`` is called for each file once it is on the disk under its
    name; what it raises ends the export. A form of one file is replaced as a whole, or not at all.

    Raises ConfigurationError for files in the way that this job did not write (unless ``force``) and for rows that are
    neither brought nor there, DatabaseError for a full disk and for batches that are not what the facts say.
    """
    writer.check(force=force)
    done = writer.done()
    if start > done:
        raise ConfigurationError(
            f"rows {done:,} to {start - 1:,} are in no file any more, and their vectors are not kept",
            hint="put the missing shard back, or embed the corpus again",
        )
    return writer.write(batches, start, written)
