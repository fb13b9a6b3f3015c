"""What can be done with corpora by who holds a database."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from batchrunner.api.tuning import COLLECT_LOADING, tuned
from batchrunner.config import Settings, packs_for
from batchrunner.core.clock import SystemClock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job, JobSource
from batchrunner.core.packing import NOTHING_SAID, PackBounds, limits
from batchrunner.formats.base import STDOUT, ExportSummary
from batchrunner.formats.records import open_records
from batchrunner.formats.texts import TextFields, Texts
from batchrunner.runner.corpus import load_corpus
from batchrunner.runner.corpuscounting import Counting
from batchrunner.runner.corpusexport import check_vectors_target, leave_vectors
from batchrunner.runner.corpusfill import CorpusLoaded, CorpusOptions, TooLong
from batchrunner.store.base import Reader
from batchrunner.store.database import SqliteStore
from batchrunner.wiring import tokenizer


class Embeds:
    """The part of a session that is about corpora."""

    settings: Settings
    _store: SqliteStore
    _reader: Reader

    def embed(self, texts: Texts, options: CorpusOptions) -> CorpusLoaded:
        """Queue what is new of a corpus; see ``load_corpus``. Raises ConfigurationError and InputError.

        A source is told apart by its content, by what is read of it, and by how long texts are dealt with. Tokens
        are counted where a tokenizer was named, otherwise estimated.
        """
        counter = tokenizer(self.settings)
        reading = [texts.sha256, options.too_long, options.apart, options.limits.text_tokens]
        if counter is not None:
            options = replace(options, counting=Counting(counter))
            reading.append(counter.sha256)
        digest = hashlib.sha256(json.dumps(reading).encode()).hexdigest()
        source = JobSource(path=texts.path, sha256=digest, size=texts.size, mtime_ns=0)
        with tuned(COLLECT_LOADING):
            return load_corpus(self._store, SystemClock(), texts, options, source)

    def check_output(self, texts: Texts, options: CorpusOptions, out: str, *, force: bool = False) -> None:
        """Raise ConfigurationError where the vectors can't be written to ``out``: ask before anything is queued."""
        _refuse_what_is_read(texts.path, out)
        job = self._store.job_by_key(options.key)
        check_vectors_target(job, None if job is None else self._store.corpus(job.id), out, force=force)

    def prune(self, job: Job) -> int:
        """Drop what a corpus still has of texts that are gone from it; return how many vectors that were."""
        corpus = self._store.corpus(job.id)
        return 0 if corpus is None else self._store.prune(corpus)

    def leave(self, job: Job, out: str, *, force: bool = False) -> tuple[ExportSummary, bool]:
        """Export a corpus and drop its vectors, shard by shard if it can be; return also whether they were dropped.

        They are kept while texts wait for theirs, or where standard output took them. See ``leave_vectors``.
        """
        corpus = self._store.corpus(job.id)
        if corpus is None:
            raise ConfigurationError(f"job {job.name} is no corpus")
        with tuned(COLLECT_LOADING):
            summary = leave_vectors(self._reader, self._store, job, corpus, out, force=force)
        after = self._store.corpus(job.id)
        return summary, after is not None and not after.keep


def open_texts(source: str, fields: TextFields, *, form: str | None = None, stdin: BinaryIO | None = None) -> Texts:
    """Open a source of rows as texts: a file by its suffix or as ``form``, a folder, or ``-``. Close it.

    Raises InputError for what can't be read and for a column that is not there, ConfigurationError where the extra
    ``data`` is needed and missing.
    """
    records = open_records(source, stdin=stdin, form=form, only=fields.wanted)
    try:
        return Texts(records, fields)
    except BaseException:
        records.close()
        raise


def _refuse_what_is_read(source: str, out: str) -> None:
    """Raise ConfigurationError where writing to ``out`` would change the source."""
    read, written = Path(source), Path(out)
    if out == STDOUT or not read.exists():
        return
    if written.exists() and written.samefile(read):
        raise ConfigurationError(f"{out} is what is read here", hint="write to another path")
    if read.is_dir() and written.resolve().is_relative_to(read.resolve()):
        raise ConfigurationError(f"{out} lies in the folder that is read", hint="write to another place")


def corpus_options(  # noqa: PLR0913 - what can be asked for
    settings: Settings,
    name: str,
    *,
    model: str | None = None,
    dimensions: int | None = None,
    normalize: bool = False,
    too_long: TooLong = "error",
    apart: bool = False,
    bounds: PackBounds = NOTHING_SAID,
) -> CorpusOptions:
    """Return what is asked for a corpus. ``bounds`` go before those of configuration files, these before the tables.

    ``model`` goes before the one of the settings. Raises ConfigurationError where there is none.
    """
    chosen = model or settings.job.model
    if chosen is None:
        raise ConfigurationError("no model was named", hint="--model BAAI/bge-base-en-v1.5")
    said = bounds.before(packs_for(settings, settings.provider, chosen))
    return CorpusOptions(
        name=name,
        provider=settings.provider,
        model=chosen,
        limits=limits(settings.provider, chosen, dimensions, said),
        dimensions=dimensions,
        normalize=normalize,
        too_long=too_long,
        apart=apart,
        tags=settings.tags,
    )
