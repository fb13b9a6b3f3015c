"""Writing results: which format, which files, and never over a file that is somebody else's."""

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.request import RequestState
from batchrunner.formats.base import FINISHED, STDOUT, Exporter, ExportSummary, Row
from batchrunner.formats.export_csv import CsvExporter, Text
from batchrunner.formats.export_jsonl import JsonlExporter
from batchrunner.formats.export_parquet import ParquetExporter
from batchrunner.formats.joined import Joined
from batchrunner.formats.replace import Replacement, disk_error, is_regular, sweep, sync_folder
from batchrunner.formats.terminal import Shown

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
Sink = BinaryIO | Shown


def format_of(out: str) -> str | None:
    """Return the format by the file's suffix: standard output gets JSONL; None for a suffix that names none."""
    return "jsonl" if out == STDOUT else FORMATS.get(Path(out).suffix.lower())


def exporter_for(  # noqa: PLR0913 - what the formats can be told
    out: str,
    job: Job,
    *,
    text_of: Text,
    kind: str | None = None,
    raw_cells: bool = False,
    artifacts: str = "",
    joined: Joined | None = None,
) -> Exporter:
    """Return the exporter by ``kind`` (``jsonl``, ``csv``, ``parquet``), else by ``format_of``.

    ``artifacts`` is the artifacts folder as seen from the folder of ``out``; ``joined`` are columns beside the answers,
    which JSONL lines have among their extras anyway.
    Raises ConfigurationError for a suffix that names no format, and where the extra ``data`` is needed and missing.
    """
    kind = kind or format_of(out)
    if kind == "jsonl":
        return JsonlExporter(job, artifacts)
    if kind == "csv":
        return CsvExporter(job, text_of, raw=raw_cells, artifacts=artifacts, joined=joined)
    if kind == "parquet":
        return ParquetExporter(job, text_of, artifacts=artifacts, joined=joined)
    raise ConfigurationError(
        f"{out}: its suffix names no format that can be written",
        hint=f"use one of {', '.join(FORMATS)}, or - for stdout",
    )


def errors_path(out: Path) -> Path:
    """Return where the failures of an export go: ``out.jsonl`` has ``out.errors.jsonl``."""
    return out.with_name(f"{out.stem}.errors{out.suffix}")


def check_target(out: str, exporter: Exporter, *, force: bool = False) -> None:
    """Raise ConfigurationError where ``out``, or the file for its failures, may not be written.

    A file that this job wrote, known by its last line, is replaced; any other regular file only with ``force``, and
    what is not a regular file (a link, a folder, a pipe) never. Ask before a run: afterwards is too late.
    """
    if out == STDOUT:
        return
    for path in _paths(out, exporter):
        if not path.parent.is_dir():
            raise ConfigurationError(f"there is no folder {path.parent}", hint="make it, or export somewhere else")
        regular = is_regular(path)
        if regular is False:
            raise ConfigurationError(f"{path} is not a regular file", hint="export to another path, or remove it")
        if regular and not force and not is_ours(path, exporter):
            raise ConfigurationError(
                f"{path} exists, and was not written from this job", hint="export to another path, or add --force"
            )


def export(
    rows: Iterable[Row], out: str, exporter: Exporter, *, force: bool = False, stdout: BinaryIO | None = None
) -> ExportSummary:
    """Write all finished rows, in the order they come: a whole snapshot, or nothing.

    Answers go to ``out`` and failures to ``errors_path``; both in ``out`` where the format has a place for them, and on
    standard output, which is one. A file of failures that this job wrote earlier goes away when there are none. What is
    in its place is on the disk. Raises ConfigurationError as ``check_target`` does, DatabaseError for a full disk.
    """
    if out == STDOUT:
        return _to_stdout(rows, exporter, stdout or sys.stdout.buffer)
    check_target(out, exporter, force=force)
    paths = _paths(out, exporter)
    swept = sum(map(sweep, paths))
    with ExitStack() as stack:
        files = [stack.enter_context(Replacement(path)) for path in paths]
        try:
            counts = _write(rows, exporter, files[0].file, files[-1].file)
        except OSError as error:
            raise disk_error(paths[0], error) from error
        failures = counts.total() - counts[RequestState.SUCCEEDED] - _unfinished(counts)
        files[0].commit()
        if exporter.splits and failures:
            files[1].commit()
        elif exporter.splits and is_regular(paths[1]) and is_ours(paths[1], exporter):
            paths[1].unlink()
            sync_folder(paths[1].parent)
    return _summary(out, str(paths[1]) if exporter.splits and failures else None, counts, swept)


def is_ours(path: Path, exporter: Exporter) -> bool:
    """Tell whether a regular file was written from this job, or has nothing in it to lose."""
    try:
        return exporter.owns(path)
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}", hint="export to another path") from error


def _paths(out: str, exporter: Exporter) -> list[Path]:
    path = Path(out)
    return [path, errors_path(path)] if exporter.splits else [path]


def _to_stdout(rows: Iterable[Row], exporter: Exporter, stdout: BinaryIO) -> ExportSummary:
    out = Shown(stdout) if stdout.isatty() else stdout
    counts = _write(rows, exporter, out, out)
    out.flush()
    return _summary(STDOUT, None, counts)


def _write(rows: Iterable[Row], exporter: Exporter, answers: Sink, failures: Sink) -> Counter[RequestState]:
    """Write the finished rows and return all of them by state."""
    counts: Counter[RequestState] = Counter()
    succeeded = 0
    answers.write(exporter.head())
    for row in rows:
        if row.state is RequestState.SUCCEEDED:
            succeeded += 1
            answers.write(exporter.line(row))
            continue
        counts[row.state] += 1
        if row.state in FINISHED:
            failures.write(exporter.line(row))
    answers.write(exporter.foot())
    counts[RequestState.SUCCEEDED] = succeeded
    return counts


def _unfinished(counts: Counter[RequestState]) -> int:
    return sum(count for state, count in counts.items() if state not in FINISHED)


def _summary(out: str, errors: str | None, counts: Counter[RequestState], swept: int = 0) -> ExportSummary:
    return ExportSummary(
        out=out,
        errors=errors,
        succeeded=counts[RequestState.SUCCEEDED],
        failed=counts[RequestState.FAILED],
        cancelled=counts[RequestState.CANCELLED],
        quarantined=counts[RequestState.QUARANTINED],
        unfinished=_unfinished(counts),
        swept=swept,
    )
