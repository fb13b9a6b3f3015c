"""Writing vectors: which form, which files, and never over a file that is somebody else's."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.base import STDOUT
from batchrunner.formats.export_vectors_arrow import ArrowWriter
from batchrunner.formats.export_vectors_base import (
    Shard,
    VectorFacts,
    VectorSummary,
    VectorWriter,
    Written,
    checked,
    gathered,
)
from batchrunner.formats.export_vectors_parquet import SHARD, ParquetWriter
from batchrunner.formats.export_vectors_plain import LINES, JsonlWriter, NpyWriter, VectorLines
from batchrunner.formats.terminal import Shown

TABLES: Final = (".parquet", ".arrow", ".feather")
AS_TEXT: Final = (".jsonl", ".ndjson")
SUFFIXES: Final = (*TABLES, ".npy", *AS_TEXT)


def check_form(out: str) -> None:
    """Raise ConfigurationError where no form of vectors has the suffix of a path."""
    if out != STDOUT and Path(out).suffix.lower() not in SUFFIXES:
        raise ConfigurationError(
            f"{out}: its suffix names no form that vectors can be written in",
            hint=f"use one of {', '.join(SUFFIXES)}, or - for JSON Lines on stdout",
        )


def has_columns(out: str) -> bool:
    """Whether the form of a path has a column, with a type, for each of those that are kept."""
    return Path(out).suffix.lower() in TABLES


def is_sharded(out: str) -> bool:
    """Whether the form of a path can be written in shards, each of them whole."""
    return Path(out).suffix.lower() == ".parquet"


def _unheard(_: Shard) -> None:
    """Tell nobody."""


def vector_writer(out: str, facts: VectorFacts, *, shard: int = SHARD, shards: bool = False) -> VectorWriter:
    """Return the writer of vectors by the suffix of ``out``.

    ``shard``: bytes of vectors in one Parquet file at most, and ``shards``: in numbered files even where one would do.
    Raises ConfigurationError for a suffix that names no form, a folder that is not there, and for a form whose extra
    is not installed.
    """
    check_form(out)
    path = Path(out)
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}", hint="make it, or export somewhere else")
    match path.suffix.lower():
        case ".parquet":
            return ParquetWriter(path, facts, shard=shard, always=shards)
        case ".npy":
            return NpyWriter(path, facts)
        case ".arrow" | ".feather":
            return ArrowWriter(path, facts)
        case _:
            return JsonlWriter(path, facts)


def print_vectors(batches: Iterable[VectorBatch], facts: VectorFacts, stdout: BinaryIO) -> VectorSummary:
    """Write all vectors to standard output as JSON Lines; what they are named can't steer a terminal.

    Raises ConfigurationError where the extra ``data`` is missing, DatabaseError as ``export_vectors`` does.
    """
    lines = VectorLines(facts)
    shown = Shown(stdout) if stdout.isatty() else stdout
    for batch in gathered(checked(batches, facts, 0), LINES):
        for line in lines.of(batch):
            shown.write(line)
    shown.flush()
    return VectorSummary(paths=(), rows=facts.count, fresh=facts.count)


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
