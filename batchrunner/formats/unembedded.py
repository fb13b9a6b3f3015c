"""Texts that have no vector, and why: JSON Lines, beside the vectors."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from batchrunner.formats.export_vectors_targets import check_files
from batchrunner.formats.replace import Replacement, begins_and_ends, disk_error, is_regular, sweep, sync_folder
from batchrunner.formats.terminal import Shown

_encode = msgspec.json.encode
UNFINISHED: Final = frozenset({"queued", "running"})
"""Reasons for which a text has no vector yet."""


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


class Told(NamedTuple):
    """What was written of the texts without a vector."""

    path: str | None
    """None where there were none, or where they went to standard output."""
    failed: int
    swept: int
    """Unfinished files that exports left when they were killed, and that are gone now."""


class UnembeddedFile:
    """``vectors.errors.jsonl``: ``{"id", "error": {"kind", "message", "status"}, "job_mark"}`` for each text."""

    def __init__(self, vectors: Path, mark: str) -> None:
        """``mark``: what tells files of this job from those of others."""
        self.path = vectors.with_name(f"{vectors.stem}.errors.jsonl")
        self._mark = _end(mark)

    def check(self, *, force: bool) -> None:
        """Raise ConfigurationError where a file stands there that this job did not write."""
        check_files([self.path], self._is_ours, force=force)

    def write(self, texts: Iterable[Unembedded]) -> Told:
        """Write the texts that will have no vector as they are; without any, an earlier file of this job goes away.

        Raises DatabaseError for a full disk.
        """
        swept = sweep(self.path)
        failed = 0
        with Replacement(self.path) as part:
            try:
                for line in _lines(texts, self._mark):
                    failed += 1
                    part.file.write(line)
            except OSError as error:
                raise disk_error(self.path, error) from error
            if failed:
                part.commit()
        if not failed and is_regular(self.path) and self._is_ours(self.path):
            self.path.unlink()
            sync_folder(self.path.parent)
        return Told(str(self.path) if failed else None, failed, swept)

    def _is_ours(self, path: Path) -> bool:
        return begins_and_ends(path, b"", self._mark)


def print_unembedded(texts: Iterable[Unembedded], mark: str) -> Told:
    """Write the same lines to standard output; what texts are named can't steer a terminal."""
    raw = sys.stdout.buffer
    shown = Shown(raw) if raw.isatty() else raw
    failed = 0
    for line in _lines(texts, _end(mark)):
        failed += 1
        shown.write(line)
    shown.flush()
    return Told(None, failed, 0)


def _end(mark: str) -> bytes:
    """Return what each line ends with: by it a file is known as written from this job."""
    return b',"job_mark":%b}\n' % _encode(mark)


def _lines(texts: Iterable[Unembedded], end: bytes) -> Iterator[bytes]:
    for text in texts:
        if text.reason not in UNFINISHED:
            error = _encode({"kind": text.reason, "message": text.message, "status": text.status})
            yield b'{"id":%b,"error":%b%b' % (_encode(text.id), error, end)
