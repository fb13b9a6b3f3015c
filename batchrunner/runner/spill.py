"""The spill: a file beside the database for answers that the database can't take. They are paid for.

One record for each attempt that ended, or was never sent: its length, a CRC-32 and MessagePack. What ``write`` returned
from is on the disk. A record that a crash cut short is not there, and one that was damaged is left out.
"""

import errno
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from batchrunner.core.attempt import Billing, Failure, Reply, Use
from batchrunner.core.crashpoint import reached
from batchrunner.core.request import Closing, Opening, Release
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, RetryAt, Stop, Succeed, Verdict
from batchrunner.core.usage import Usage, UsageFrom

MAGIC: Final = b"btchspl1"
MOST_FILES: Final = 100
"""Spills of one run at most: the next one is begun where the one before takes no more."""
_PREFIX: Final = struct.Struct("<II")


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    """A closing as it is written. Of reply and failure one is set, of the five verdicts at most one."""

    attempt_id: int
    opening: Opening
    ended: int
    reply: Reply | None
    failure: Failure | None
    retry: RetryAt | None
    give_up: GiveUp | None
    stop: Stop | None
    billing: Billing
    use: Use
    usage: Usage | None
    usage_from: UsageFrom
    cost: int | None
    ttfb: float
    again: AskAgain | None = None
    fall_back: FallBack | None = None


class _Record(msgspec.Struct, array_like=True, frozen=True):
    kept: _Kept | None = None
    released: Release | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Record)


class Content(NamedTuple):
    """What a spill file holds."""

    closings: list[Closing]
    released: list[Release]
    damaged: int
    """Records that are there and can't be read."""


class Spill:
    """The file that is written when the database takes nothing more; it is made when it is first needed."""

    def __init__(self, db: str) -> None:
        self._db = db
        self._folder: int | None = None
        self._descriptor: int | None = None
        self._size = 0
        self.paths: list[str] = []
        """The files that were written."""

    def prepare(self) -> int:
        """Keep the folder at hand, whose path may be gone when the spill is needed. Raises OSError."""
        if self._folder is None:
            self._folder = os.open(Path(self._db).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._folder

    def write(self, closings: Sequence[Closing], released: Sequence[Release]) -> int:
        """Append records; what was taken is on the disk when this returns. Return how many closings were taken.

        A file that takes no more (a limit on its size) is followed by another one. Raises OSError where the disk takes
        nothing at all; where it took some, the others are left out.
        """
        records = [_framed(_record(closing)) for closing in closings]
        records += [_framed(_Record(released=release)) for release in released]
        taken = 0
        try:
            for data in records:
                self._append(data)
                taken += 1
        except OSError:
            if not taken:
                raise
        if self._descriptor is not None:
            os.fsync(self._descriptor)
        reached("spill.written")
        return min(taken, len(closings))

    def _append(self, data: bytes) -> None:
        """Append a record to this file, or begin the next one with it where this one takes no more."""
        descriptor = self._descriptor if self._descriptor is not None else self._begin()
        try:
            self._size += _write_whole(descriptor, data, self._size)
        except OSError:
            os.ftruncate(descriptor, self._size)
            if self._size == len(MAGIC):
                raise
            os.fsync(descriptor)
            self.close()
            self._append(data)

    def _begin(self) -> int:
        folder = self.prepare()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        for path in spill_paths(self._db):
            name = Path(path).name
            try:
                descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            except FileExistsError:
                continue
            try:
                _write_whole(descriptor, MAGIC, 0)
                os.fsync(folder)
            except OSError:
                os.close(descriptor)
                os.unlink(name, dir_fd=folder)
                raise
            self._descriptor, self._size = descriptor, len(MAGIC)
            self.paths.append(path)
            return descriptor
        raise FileExistsError(errno.EEXIST, f"{MOST_FILES} spills lie there already")

    def close(self) -> None:
        """Close the file; closing twice changes nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor, self._size = None, 0

    def end(self) -> None:
        """Close the file and the folder."""
        self.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


def spill_paths(db: str) -> Iterator[str]:
    """Yield the names that spills of a database have, in the order in which they are written."""
    yield f"{db}.spill"
    for number in range(2, MOST_FILES + 1):
        yield f"{db}.spill.{number}"


def found(db: str) -> list[str]:
    """Return the spills that lie beside a database, oldest first."""
    return [path for path in spill_paths(db) if os.path.lexists(path)]


def read(path: str) -> Content:
    """Read a spill. Its last record may be cut, which is passed over: nobody was told that it was kept.

    Raises OSError, and ValueError for a file that is no spill.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read()
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data):
            return Content([], [], 0)  # it was cut before its first record
        raise ValueError(f"{path} is not a spill of batchrunner")
    content = Content([], [], 0)
    for payload in _payloads(data):
        content = _add(content, payload)
    return content


def _add(content: Content, payload: bytes | None) -> Content:
    try:
        record = _DECODER.decode(payload or b"")
        if record.kept is not None:
            content.closings.append(_closing(record.kept))
    except (msgspec.DecodeError, ValueError):
        return content._replace(damaged=content.damaged + 1)
    if record.released is not None:
        content.released.append(record.released)
    return content


def remove(path: str) -> None:
    """Remove a spill whose answers are in the database."""
    reached("spill.taken")
    Path(path).unlink()
    sync_folder(path)


def sync_folder(path: str) -> None:
    """Put the entry of a file in its folder on the disk."""
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _payloads(data: bytes) -> Iterator[bytes | None]:
    """Yield what each record holds; None for one whose checksum differs. A cut end is no record."""
    place = len(MAGIC)
    while place + _PREFIX.size <= len(data):
        size, crc = _PREFIX.unpack_from(data, place)
        place += _PREFIX.size
        if place + size > len(data):
            return
        payload = data[place : place + size]
        place += size
        yield payload if zlib.crc32(payload) == crc else None


def _framed(record: _Record) -> bytes:
    try:
        payload = _ENCODER.encode(record)
    except UnicodeEncodeError:
        payload = _ENCODER.encode(_storable(record))
    return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def _record(closing: Closing) -> _Record:
    outcome, verdict = closing.outcome, closing.verdict
    return _Record(
        kept=_Kept(
            closing.attempt_id,
            closing.opening,
            closing.ended,
            outcome if isinstance(outcome, Reply) else None,
            outcome if isinstance(outcome, Failure) else None,
            verdict if isinstance(verdict, RetryAt) else None,
            verdict if isinstance(verdict, GiveUp) else None,
            verdict if isinstance(verdict, Stop) else None,
            closing.billing,
            closing.use,
            closing.usage,
            closing.usage_from,
            closing.cost,
            closing.ttfb,
            verdict if isinstance(verdict, AskAgain) else None,
            verdict if isinstance(verdict, FallBack) else None,
        )
    )


def _storable(record: _Record) -> _Record:
    """Replace what a provider said by text that has a UTF-8 form; the database would do the same."""
    kept = record.kept
    if kept is None:
        return record
    reply, failure = kept.reply, kept.failure
    if reply is not None:
        reply = reply._replace(finish=_text(reply.finish), model=_text(reply.model), request_id=_text(reply.request_id))
        reply = reply._replace(flags=tuple(_text(flag) or "" for flag in reply.flags))
    if failure is not None:
        failure = failure._replace(
            message=_text(failure.message) or "", model=_text(failure.model), request_id=_text(failure.request_id)
        )
    stop = kept.stop and kept.stop._replace(message=_text(kept.stop.message) or "")
    return _Record(kept=msgspec.structs.replace(kept, reply=reply, failure=failure, stop=stop))


def _text(said: str | None) -> str | None:
    return None if said is None else said.encode("utf-8", "replace").decode()


def _closing(kept: _Kept) -> Closing:
    outcome = kept.reply if kept.reply is not None else kept.failure
    if outcome is None:
        raise ValueError("a spilled attempt brought neither an answer nor a failure")
    verdicts: Iterable[Verdict | None]
    verdicts = (kept.retry, kept.give_up, kept.stop, kept.again, kept.fall_back, Succeed())
    verdict = next(verdict for verdict in verdicts if verdict is not None)
    return Closing(
        kept.attempt_id, kept.opening, kept.ended, outcome, verdict,
        kept.billing, kept.use, kept.usage, kept.usage_from, kept.cost, kept.ttfb,
    )  # fmt: skip


def _write_whole(descriptor: int, data: bytes, place: int) -> int:
    """Write at a place of a file; return how many bytes that were. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written
    return len(data)
