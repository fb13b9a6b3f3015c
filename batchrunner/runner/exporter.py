"""Results out of the store into files: joins the store's rows and the formats."""

import os
from pathlib import Path

from batchrunner.core.continuation import folder_of
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.endpoints.reasoning import Flat, flattened
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.formats.base import Exporter, ExportSummary
from batchrunner.formats.results import check_target as check_path
from batchrunner.formats.results import export as write
from batchrunner.formats.results import exporter_for
from batchrunner.runner.corpusexport import check_vectors_target, export_vectors
from batchrunner.store.base import Reader


def check_target(reader: Reader, job: Job, out: str, *, force: bool = False) -> None:
    """Raise ConfigurationError where ``out`` can't be written: ask before a run, not after it."""
    _refuse_source(job, out)
    if reader.corpus(job.id) is not None:
        check_vectors_target(job, out, force=force)
    else:
        check_path(out, _exporter(job, out), force=force)


def _refuse_source(job: Job, out: str) -> None:
    if Path(job.source.path).exists() and Path(out).exists() and Path(out).samefile(job.source.path):
        raise ConfigurationError(
            f"{out} is the file that job {job.name} was loaded from", hint="export to another path"
        )


def export(reader: Reader, job: Job, out: str, *, force: bool = False, flagged: bool = False) -> ExportSummary:
    """Write a whole snapshot of a job's results, in input order; failures go beside them.

    ``flagged``: only the answers that are flagged. Files that answers brought stay where they are: each line has their
    paths, relative to the folder of ``out``.
    """
    check_target(reader, job, out, force=force)
    corpus = reader.corpus(job.id)
    if corpus is not None:
        return export_vectors(reader, job, corpus, out, force=force)
    rows = reader.results(job.id)
    exporter = _exporter(job, out, _seen_from(out, reader.path))
    return write((row for row in rows if row.flags) if flagged else rows, out, exporter, force=force)


def _exporter(job: Job, out: str, artifacts: str = "") -> Exporter:
    return exporter_for(out, job, text_of=_text, artifacts=artifacts)


def _seen_from(out: str, db: str) -> str:
    """Return the path of the artifacts folder from where results are written: the working folder for stdout."""
    return os.path.relpath(folder_of(db), Path.cwd() if out == "-" else Path(out).resolve().parent)


def _text(endpoint: str, body: bytes) -> Flat:
    return flattened(BY_PATH[endpoint], body)
