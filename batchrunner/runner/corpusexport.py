"""Vectors out of the store into files: which vectors, which writer, and what it is told of them."""

import hashlib
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

from batchrunner.core.job import Job
from batchrunner.core.packing import ASSUMED_DIMENSIONS
from batchrunner.core.version import program_version
from batchrunner.formats.base import STDOUT, ExportSummary
from batchrunner.formats.export_vectors import check_form, has_columns, is_sharded, print_vectors, vector_writer
from batchrunner.formats.export_vectors import export_vectors as write_vectors
from batchrunner.formats.export_vectors_base import Shard, VectorFacts, VectorSummary, VectorWriter
from batchrunner.formats.export_vectors_columns import KeptColumn, columns_of
from batchrunner.formats.export_vectors_parquet import SHARD
from batchrunner.formats.export_vectors_plain import VectorLines
from batchrunner.formats.unembedded import UnembeddedFile, print_unembedded
from batchrunner.runner.corpus import dropped
from batchrunner.store.base import Corpora, Corpus, CorpusReader, Embedded

NOTHING: Final = VectorSummary(paths=(), rows=0, fresh=0)


def check_vectors_target(job: Job | None, corpus: Corpus | None, out: str, *, force: bool = False) -> None:
    """Raise ConfigurationError where the vectors of a corpus can't be written to ``out``: ask before a run.

    Of a corpus that is not there yet no file can be.
    """
    check_form(out)
    mark = "" if job is None else mark_of(job)
    facts = _facts(mark, corpus, 0 if corpus is None else corpus.texts)
    if out == STDOUT:
        VectorLines(facts)  # tells whether they can be made
        return
    vector_writer(out, facts).check(force=force)
    UnembeddedFile(Path(out), mark).check(force=force)


def mark_of(job: Job) -> str:
    """Return 16 hex digits by which a file is known as written from a corpus.

    Which source it was read from does not matter, since a corpus may grow by another one; that it is this very corpus
    does, since any other one that goes to a file of this name is called the same.
    """
    return hashlib.sha256(f"{job.name}\0{job.created}".encode()).hexdigest()[:16]


def export_vectors(reader: CorpusReader, job: Job, corpus: Corpus, out: str, *, force: bool = False) -> ExportSummary:
    """Write what is there of the vectors of a corpus, in the order of its source; beside them the texts without one.

    A corpus without a single vector leaves no file of them. Shards that an export of these very vectors wrote before it
    was killed are gone on with, unless ``force`` asks for all. Raises ConfigurationError and DatabaseError.
    """
    if not corpus.keep:
        raise dropped(job, leaving=corpus.leaving)
    if out != STDOUT:
        UnembeddedFile(Path(out), mark_of(job)).check(force=force)
    among = reader.embedded(corpus.id)
    vectors = _write(reader, job, corpus, among, out, force=force) if among.texts else NOTHING
    return _told(reader, job, corpus, among, out, vectors)


def leave_vectors(  # noqa: PLR0913 - what an export takes, and where vectors are dropped
    reader: CorpusReader,
    store: Corpora,
    job: Job,
    corpus: Corpus,
    out: str,
    *,
    force: bool = False,
    shard: int = SHARD,
) -> ExportSummary:
    """Write the vectors of a corpus, and drop them from the database once they are on the disk.

    Parquet is written in numbered shards, and each takes the vectors along that no later one needs; whatever kills it,
    the next call goes on with the shard that is missing. Other forms are written whole first. As long as a text waits
    for its vector all of them are kept. Raises ConfigurationError and DatabaseError as ``export_vectors``, and where a
    shard is gone whose vectors are.
    """
    among = reader.embedded(corpus.id)
    if not is_sharded(out) or not among.texts or reader.text_counts(corpus.id).waiting:
        summary = export_vectors(reader, job, corpus, out, force=force)
        if out != STDOUT and not summary.unfinished:
            store.drop_vectors(corpus)
        return summary
    UnembeddedFile(Path(out), mark_of(job)).check(force=force)
    facts = _facts(mark_of(job), corpus, among.texts, columns_of(reader.kept(corpus.id)), _snapshot(corpus, among))
    writer = vector_writer(out, facts, shard=shard, shards=True)
    vectors = _leave(reader, store, corpus, among, writer, force=force)
    summary = _told(reader, job, corpus, among, out, vectors)
    store.drop_vectors(corpus)
    return summary


def _leave(
    reader: CorpusReader, store: Corpora, corpus: Corpus, among: Embedded, writer: VectorWriter, *, force: bool
) -> VectorSummary:
    done = writer.done()
    lost = reader.gone(corpus.id) if corpus.leaving else 0
    first = sum(1 for _ in takewhile(lambda place: place < lost, reader.places(corpus.id, among)))
    if first > done:  # refused: it says which rows are nowhere
        return write_vectors((), writer, start=first, force=force)
    walk = _Walk(reader.places(corpus.id, among), corpus.texts)

    def written(shard: Shard) -> None:
        store.leave(corpus, walk.place, walk.to(shard.first_row + shard.rows))

    if done:
        writer.check(force=force)
        store.leave(corpus, 0, walk.to(done))
    batches = reader.vectors(corpus.id, among, walk.place)
    return write_vectors(batches, writer, start=done, force=force, written=written)


class _Walk:
    """Finds the place in the source of one row after the other."""

    def __init__(self, places: Iterator[int], end: int) -> None:
        self._places = places
        self._end = end
        self._row = 0
        self.place = next(places, end)
        """Of the row that was last asked for, at first of row 0; behind the last one the source's end."""

    def to(self, row: int) -> int:
        """Return the place of a row that is not before the last one."""
        for _ in range(row - self._row):
            self.place = next(self._places, self._end)
        self._row = row
        return self.place


def _told(
    reader: CorpusReader, job: Job, corpus: Corpus, among: Embedded, out: str, vectors: VectorSummary
) -> ExportSummary:
    """Write the texts without a vector beside the vectors, and sum up."""
    missing = reader.missing(corpus.id) if among.texts < corpus.texts else iter(())
    mark = mark_of(job)
    told = print_unembedded(missing, mark) if out == STDOUT else UnembeddedFile(Path(out), mark).write(missing)
    return ExportSummary(
        out=out,
        errors=told.path,
        succeeded=vectors.rows,
        failed=told.failed,
        cancelled=0,
        quarantined=0,
        unfinished=max(0, corpus.texts - among.texts - told.failed),
        vectors=vectors.paths,
        swept=vectors.swept + told.swept,
    )


def _write(reader: CorpusReader, job: Job, corpus: Corpus, among: Embedded, out: str, *, force: bool) -> VectorSummary:
    columns = columns_of(reader.kept(corpus.id)) if has_columns(out) else ()
    facts = _facts(mark_of(job), corpus, among.texts, columns, "" if force else _snapshot(corpus, among))
    batches = reader.vectors(corpus.id, among)
    if out == STDOUT:
        return print_vectors(batches, facts, sys.stdout.buffer)
    return write_vectors(batches, vector_writer(out, facts), force=force)


def _facts(
    mark: str, corpus: Corpus | None, count: int, columns: tuple[KeptColumn, ...] = (), snapshot: str = ""
) -> VectorFacts:
    return VectorFacts(
        job=mark,
        model="" if corpus is None else corpus.model,
        dimensions=(corpus and corpus.dimensions) or ASSUMED_DIMENSIONS,
        count=count,
        version=program_version(),
        columns=columns,
        snapshot=snapshot,
    )


def _snapshot(corpus: Corpus, among: Embedded) -> str:
    """Return what tells these vectors from those of any other moment: vectors that are there never change."""
    parts = (corpus.params.hex(), corpus.version, corpus.texts, among.texts, among.first)
    return hashlib.sha256(repr(parts).encode() + among.packs).hexdigest()[:32]
