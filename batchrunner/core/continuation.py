"""What an open attempt needs to go on without buying again: a job to ask about, or files to fetch. Pure.

A continuation is on the disk before anything is done with it. Polls and downloads are steps of its attempt: they cost
nothing, and a crash between two of them repeats the step, never the purchase.
"""

from enum import StrEnum
from typing import NamedTuple

from batchrunner.core.clock import SECOND

FIRST_POLL = 2.0
"""Seconds from the create answer to the first poll."""
LONGEST_POLL = 30.0
"""Seconds between two polls at most."""
_GROWTH = 1.5


class Step(StrEnum):
    """What comes next. The words are stored: never rename one."""

    POLL = "poll"
    """Ask the provider how its job ``target`` is doing."""
    FETCH = "fetch"
    """Put the files that ``answer`` names, or holds, into the artifacts folder."""


class Artifact(NamedTuple):
    """A file that came with an answer and is kept in the artifacts folder, on the disk since before this was made."""

    place: str
    """Where in the answer it was, such as ``data[0]``; ``body`` where it was all of it."""
    sha256: str
    """Of its bytes, 64 hexadecimal digits: its name."""
    type: str
    """Media type, such as ``image/png``, by its first bytes, else as the provider said."""
    size: int
    """Bytes."""
    name: str
    """What a person might call it."""

    @property
    def path(self) -> str:
        """Its path within the artifacts folder."""
        return f"{self.sha256[:2]}/{self.sha256}{suffix_of(self.type)}"


def folder_of(db: str) -> str:
    """Return the artifacts folder of a database: beside it."""
    return f"{db}.artifacts"


class Continuation(NamedTuple):
    """Where an attempt that is paid for, or will be, goes on."""

    step: Step
    target: str
    """The id of the provider's job, to poll; empty for files to fetch."""
    answer: bytes
    """The provider's newest answer, as it came."""
    content_type: str
    """Of ``answer``."""
    request_id: str | None
    """The provider's id of the purchase."""
    since: int
    """Microseconds UTC of the answer to the purchase."""
    steps: int = 0
    """Polls so far."""
    misses: int = 0
    """Steps that failed, one after the other."""
    kept: tuple[Artifact, ...] = ()
    """Files of ``answer`` that are kept already, in their order."""


def poll_wait(steps: int) -> float:
    """Return the seconds until the next poll after ``steps`` polls: from 2 s on, half as much again, up to 30 s."""
    return min(LONGEST_POLL, FIRST_POLL * _GROWTH ** min(max(steps, 0), 20))


def asked_for(steps: int) -> float:
    """Return the seconds that ``steps`` polls were waited for: time in which no run lived does not count."""
    growing = min(max(steps, 0), 8)
    return sum(map(poll_wait, range(growing))) + LONGEST_POLL * (max(steps, 0) - growing)


def poll_at(steps: int, now: int) -> int:
    """Return when the next poll is due, microseconds UTC."""
    return now + round(poll_wait(steps) * SECOND)


_SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/aac": ".aac",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
UNKNOWN_TYPE = "application/octet-stream"


def type_of(start: bytes, said: str) -> str:
    """Return the media type of a file by its first 16 bytes, else as the provider ``said``, where that is a plain one.

    The bytes win: providers send pictures as ``binary/octet-stream``, and one type is sent for another.
    """
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF" and start[8:12] in _RIFF:
        return _RIFF[start[8:12]]
    if start[4:8] == b"ftyp":
        return "video/mp4"
    plain = said.partition(";")[0].strip().lower()
    return plain if plain in _SUFFIXES else UNKNOWN_TYPE


def suffix_of(kind: str) -> str:
    """Return the suffix that files of a media type have; ``.bin`` for one that is not known."""
    return _SUFFIXES.get(kind, ".bin")
