"""Vectors out of the store into files: which writer, and what it is handed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.base import ExportSummary
from batchrunner.formats.embedded import Unembedded, VectorFacts, VectorLines, write_lines
from batchrunner.formats.results import STDOUT
from batchrunner.formats.results import check_target as check_path
from batchrunner.runner.corpus import dropped
from batchrunner.store.base import Corpus, CorpusReader


class VectorWriter(Protocol):
    """Writes vectors in one format, a whole snapshot or nothing."""

    def __call__(
        self,
        batches: Iterator[VectorBatch],
        missing: Iterable[Unembedded],
        out: str,
        facts: VectorFacts,
        *,
        force: bool = False,
    ) -> ExportSummary:
        """Write all batches to ``out``, and beside it the texts that are ``missing``."""


Check = Callable[[Job, str, bool], None]


def _check_lines(job: Job, out: str, force: bool) -> None:
    check_path(out, VectorLines(job), force=force)


WRITERS: Final[Mapping[str, tuple[VectorWriter, Check]]] = {
    ".jsonl": (write_lines, _check_lines),
    ".ndjson": (write_lines, _check_lines),
}
"""By suffix: what writes vectors, and what raises ConfigurationError where a place is not to be written."""


def check_suffix(out: str) -> None:
    """Raise ConfigurationError where nothing writes vectors in the format that a path asks for."""
    _writer(out)


def check_vectors_target(job: Job, out: str, *, force: bool = False) -> None:
    """Raise ConfigurationError where the vectors of a corpus can't be written to ``out``: ask before a run."""
    _writer(out)[1](job, out, force)


def export_vectors(reader: CorpusReader, job: Job, corpus: Corpus, out: str, *, force: bool = False) -> ExportSummary:
    """Write what is there of the vectors of a corpus, in the order of its source."""
    write, check = _writer(out)
    if not corpus.keep:
        raise dropped(job)
    check(job, out, force)
    facts = VectorFacts(job, corpus.model, corpus.dimensions)
    return write(reader.vectors(corpus.id), reader.missing(corpus.id), out, facts, force=force)


def _writer(out: str) -> tuple[VectorWriter, Check]:
    suffix = ".jsonl" if out == STDOUT else Path(out).suffix.lower()
    if suffix not in WRITERS:
        raise ConfigurationError(
            f"{out}: its suffix names no format that vectors can be written in",
            hint=f"use one of {', '.join(WRITERS)}, or - for stdout",
        )
    return WRITERS[suffix]
