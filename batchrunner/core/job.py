"""The job: one loaded job file with its settings."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum


class JobState(StrEnum):
    """States of a job. Paused is a fact of its own, finished is derived from the counts."""

    LOADING = "loading"
    OPEN = "open"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What changes the meaning or the bodies of a job's lines; part of the job's identity.

    ``tags`` and ``name`` are not here: they change nothing that is sent. Neither is ``--limit`` or ``--sample``: they
    choose what one run works on, so that the next run takes the rest without paying twice.
    """

    provider: str
    endpoint: str | None = None
    """The endpoint of lines that name none and whose body does not tell."""
    model: str | None = None
    """Replaces ``model`` in every body."""
    settings: tuple[tuple[str, str], ...] = ()
    """``--set KEY=VALUE``: key and JSON text, sorted by key."""
    stream: bool = False
    """Ask for the answers of chats and completions as streams."""
    stream_usage: bool = False
    """With ``stream``, ask for the usage too: this provider sends none at the end of a stream otherwise."""
    dedupe: bool = False
    """Send lines with the same body once. It changes no body, but what an answer means: not every line has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSource:
    """The file a job was loaded from, as it was then."""

    path: str
    """Absolute path, or ``-`` for standard input."""
    sha256: str
    """Of the bytes as they lie on the disk (compressed where the file is)."""
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the queue knows it."""

    id: int
    key: str
    """SHA-256 hex over the content and the options: the same file with the same options is the same job."""
    name: str
    source: JobSource
    options: JobOptions
    state: JobState
    lines: int
    """Requests of this job."""
    created: int
    tags: tuple[tuple[str, str], ...] = field(default=())

    @property
    def mark(self) -> str:
        """16 hex digits by which a file is known as exported from this job, also after the job grew by ``--add``."""
        origin = self.key if self.source.path == "-" else self.source.path
        return hashlib.sha256(f"{self.name}\0{origin}".encode()).hexdigest()[:16]
