"""Small makers for the tests of this room."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from batchrunner.core.continuation import Artifact
from batchrunner.core.errors import Problem
from batchrunner.core.job import Job, JobOptions, JobSource, JobState
from batchrunner.core.request import RequestState
from batchrunner.core.usage import Usage
from batchrunner.formats.jobfile import Line, iter_lines
from batchrunner.formats.source import open_source

GOOD = b'{"custom_id":"good","body":{"model":"m","prompt":"Hi"}}'


def read(path: Path, **options: Any) -> list[Line | Problem]:
    """All lines of a file, good and bad."""
    with open_source(path) as source:
        return list(iter_lines(source, **options))


def job(name: str = "demo", key: str = "0123456789abcdef" * 4) -> Job:
    """A job of one line."""
    source = JobSource(path="-", sha256="", size=0, mtime_ns=0)
    options = JobOptions(provider="together")
    return Job(
        id=1, key=key, name=name, source=source, options=options, state=JobState.OPEN, lines=1, created=0, tags=()
    )


class Made(NamedTuple):
    """A result row, with the answers that most tests want."""

    id: int = 7
    line: int = 1
    custom_id: str = "a"
    state: RequestState = RequestState.SUCCEEDED
    endpoint: str = "/v1/chat/completions"
    provider: str = "together"
    model: str = "openai/gpt-oss-20b"
    attempts: int = 2
    status: int | None = 200
    body: bytes | None = b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}'
    failure: str | None = None
    message: str | None = None
    attempt_id: int | None = 9
    request_id: str | None = "req-1"
    echoed_model: str | None = "openai/gpt-oss-20b-0825"
    opened: int | None = 1_000_000
    ended: int | None = 1_123_999
    usage: Usage | None = Usage(10, 4, 3, 1)
    usage_from: str | None = "provider"
    billing: str | None = "billed"
    cost: int | None = 1_100_000
    extras: bytes | None = None
    ttft: int | None = None
    partial: bool = False
    artifacts: tuple[Artifact, ...] = ()
    flags: tuple[str, ...] = ()
    copy_of: str | None = None


def text_of(endpoint: str, body: bytes) -> tuple[str, str | None]:
    """The text of a chat answer, read the plain way."""
    found: str = json.loads(body)["choices"][0]["message"]["content"]
    return found, None
