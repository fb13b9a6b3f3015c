"""Vectors as JSON Lines: a text a line, its vector as numbers that give back the very float32."""

import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from batchrunner.core.job import Job
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.base import ExportSummary
from batchrunner.formats.replace import Replacement, disk_error, is_regular, sweep, sync_folder
from batchrunner.formats.results import STDOUT, check_target, errors_path, is_ours
from batchrunner.formats.terminal import Shown

_encode = msgspec.json.encode
UNFINISHED = frozenset({"queued", "running"})
"""Reasons for which a text has no vector yet."""


class VectorFacts(NamedTuple):
    """What all vectors of an export have in common."""

    job: Job
    model: str
    dimensions: int | None
    """None where there is no vector yet."""


class Unembedded(Protocol):
    """A text without a vector."""

    @property
    def id(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def status(self) -> int | None: ...


class VectorLines:
    """What lines of vectors are like: ``{"id", "embedding", "kept", "job_mark"}``."""

    splits = True

    def __init__(self, job: Job) -> None:
        self._mark = b',"job_mark":"%b"}\n' % job.mark.encode()

    def head(self) -> bytes:
        """Return nothing: JSON Lines has no head."""
        return b""

    def mark(self) -> bytes:
        """Return the end of each line, which names the job by its mark."""
        return self._mark

    def lines(self, batch: VectorBatch) -> bytes:
        """Return the texts of a batch as lines."""
        step = struct.Struct(f"<{batch.dimensions}f")
        numbers = step.iter_unpack(batch.vectors)
        return b"".join(
            b'{"id":%b,"embedding":%b,"kept":%b%b' % (_encode(name), _encode(vector), kept, self._mark)
            for name, vector, kept in zip(batch.ids, numbers, batch.kept, strict=True)
        )

    def failure(self, text: Unembedded) -> bytes:
        """Return a text that has no vector, and why."""
        error = _encode({"kind": text.reason, "message": text.message, "status": text.status})
        return b'{"id":%b,"error":%b%b' % (_encode(text.id), error, self._mark)


def write_lines(
    batches: Iterator[VectorBatch],
    missing: Iterable[Unembedded],
    out: str,
    facts: VectorFacts,
    *,
    force: bool = False,
    stdout: BinaryIO | None = None,
) -> ExportSummary:
    """Write all vectors in the order of the texts, a whole snapshot or nothing; texts without one go beside them.

    Raises ConfigurationError where ``out`` is not to be replaced, DatabaseError for a full disk.
    """
    lines = VectorLines(facts.job)
    if out == STDOUT:
        raw = stdout or sys.stdout.buffer
        shown = Shown(raw) if raw.isatty() else raw
        return _summary(out, None, _write(batches, missing, lines, shown, shown))
    check_target(out, lines, force=force)
    paths = [Path(out), errors_path(Path(out))]
    swept = sum(map(sweep, paths))
    with ExitStack() as stack:
        files = [stack.enter_context(Replacement(path)) for path in paths]
        try:
            counts = _write(batches, missing, lines, files[0].file, files[1].file)
        except OSError as error:
            raise disk_error(paths[0], error) from error
        files[0].commit()
        if counts.failed:
            files[1].commit()
        elif is_regular(paths[1]) and is_ours(paths[1], lines):
            paths[1].unlink()
            sync_folder(paths[1].parent)
    return _summary(out, str(paths[1]) if counts.failed else None, counts, swept)


class _Counts(NamedTuple):
    written: int
    failed: int
    unfinished: int


def _write(
    batches: Iterator[VectorBatch],
    missing: Iterable[Unembedded],
    lines: VectorLines,
    good: BinaryIO | Shown,
    bad: BinaryIO | Shown,
) -> _Counts:
    written = failed = unfinished = 0
    for batch in batches:
        good.write(lines.lines(batch))
        written += len(batch.ids)
    for text in missing:
        if text.reason in UNFINISHED:
            unfinished += 1
        else:
            bad.write(lines.failure(text))
            failed += 1
    return _Counts(written, failed, unfinished)


def _summary(out: str, errors: str | None, counts: _Counts, swept: int = 0) -> ExportSummary:
    return ExportSummary(
        out=out,
        errors=errors,
        succeeded=counts.written,
        failed=counts.failed,
        cancelled=0,
        quarantined=0,
        unfinished=counts.unfinished,
        swept=swept,
    )
