"""Results out of the store into files: joins the store's rows and the formats."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from batchrunner.core.continuation import folder_of
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.request import RequestState
from batchrunner.endpoints.reasoning import Flat, flattened
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.formats.base import Exporter, ExportSummary
from batchrunner.formats.export_csv import COLUMNS
from batchrunner.formats.joined import Joined, survey_fields, survey_kept
from batchrunner.formats.results import check_target as check_path
from batchrunner.formats.results import export as write
from batchrunner.formats.results import exporter_for, format_of
from batchrunner.runner.corpusexport import check_vectors_target, export_vectors
from batchrunner.store.base import Reader


def check_target(reader: Reader, job: Job, out: str, *, force: bool = False) -> None:
    """Raise ConfigurationError where ``out`` can't be written: ask before a run, not after it."""
    _refuse_source(job, out)
    corpus = reader.corpus(job.id)
    if corpus is not None:
        check_vectors_target(job, corpus, out, force=force)
    else:
        check_path(out, _exporter(job, out), force=force)


def _refuse_source(job: Job, out: str) -> None:
    if Path(job.source.path).exists() and Path(out).exists() and Path(out).samefile(job.source.path):
        raise ConfigurationError(
            f"{out} is the file that job {job.name} was loaded from", hint="export to another path"
        )


def export(
    reader: Reader, job: Job, out: str, *, force: bool = False, flagged: bool = False, fields: Sequence[str] = ()
) -> ExportSummary:
    """Write a whole snapshot of a job's results, in input order; failures go beside them.

    ``flagged``: only the answers that are flagged. Tables have the input columns that the job's lines kept, and
    ``fields`` of answers that are JSON objects (``("*",)``: all that any of them has). Files that answers brought stay
    where they are: each line has their paths, relative to the folder of ``out``.
    """
    check_target(reader, job, out, force=force)
    corpus = reader.corpus(job.id)
    if corpus is not None:
        if flagged or fields:
            raise ConfigurationError(
                f"--flagged and --fields are about answers, and job {job.name} is a corpus: it has vectors",
                hint="leave them out",
            )
        return export_vectors(reader, job, corpus, out, force=force)
    joined = _joined(reader, job, out, fields)
    rows = reader.results(job.id)
    exporter = _exporter(job, out, _seen_from(out, reader.path), joined)
    return write((row for row in rows if row.flags) if flagged else rows, out, exporter, force=force)


def _exporter(job: Job, out: str, artifacts: str = "", joined: Joined | None = None) -> Exporter:
    return exporter_for(out, job, text_of=_text, artifacts=artifacts, joined=joined)


def _joined(reader: Reader, job: Job, out: str, fields: Sequence[str]) -> Joined | None:
    """Return the columns beside our own: what lines kept is read once before, answers only if fields are wanted."""
    if format_of(out) == "jsonl":
        if fields:
            raise ConfigurationError(
                "--fields makes columns, and JSON Lines have none", hint="export to .csv or .parquet"
            )
        return None
    found = survey_fields(_answers(reader, job), fields) if fields else {}
    return Joined(survey_kept(reader.extras(job.id)), found, COLUMNS)


def _answers(reader: Reader, job: Job) -> Iterator[str | None]:
    for row in reader.results(job.id):
        if row.state is RequestState.SUCCEEDED and row.body is not None:
            yield _text(row.endpoint, row.body).text


def _seen_from(out: str, db: str) -> str:
    """Return the path of the artifacts folder from where results are written: the working folder for stdout."""
    return os.path.relpath(folder_of(db), Path.cwd() if out == "-" else Path(out).resolve().parent)


def _text(endpoint: str, body: bytes) -> Flat:
    return flattened(BY_PATH[endpoint], body)
