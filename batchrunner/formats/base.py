"""The seam of the exporters: what they are given, and what they must do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from batchrunner.core.continuation import Artifact
from batchrunner.core.pricing import PICO
from batchrunner.core.request import RequestState
from batchrunner.core.usage import Usage

STDOUT: Final = "-"
"""As a path: standard output."""
FINISHED = frozenset({RequestState.SUCCEEDED, RequestState.FAILED, RequestState.CANCELLED, RequestState.QUARANTINED})


class Row(Protocol):
    """One request as an export shows it: the store's result rows have this shape."""

    @property
    def id(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def custom_id(self) -> str: ...
    @property
    def state(self) -> RequestState: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def status(self) -> int | None: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def failure(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def attempt_id(self) -> int | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def echoed_model(self) -> str | None: ...
    @property
    def opened(self) -> int | None: ...
    @property
    def ended(self) -> int | None: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def usage_from(self) -> str | None: ...
    @property
    def billing(self) -> str | None: ...
    @property
    def cost(self) -> int | None: ...
    @property
    def extras(self) -> bytes | None: ...
    @property
    def ttft(self) -> int | None: ...
    @property
    def partial(self) -> bool: ...
    @property
    def artifacts(self) -> tuple[Artifact, ...]: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def copy_of(self) -> str | None: ...


class Exporter(Protocol):
    """One file format of results."""

    splits: bool
    """Whether failures go into a file of their own, as the format has no place for them beside the answers."""

    def head(self) -> bytes:
        """Return what the file begins with."""
        ...

    def line(self, row: Row) -> bytes:
        """Return one finished row, its line end included. Never raises, whatever a provider answered."""
        ...

    def foot(self) -> bytes:
        """Return what the file ends with."""
        ...

    def owns(self, path: Path) -> bool:
        """Tell whether a regular file was written from this job, or has nothing in it to lose. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What an export wrote. Rows that are not finished are left out, and counted."""

    out: str
    """Path, or ``-`` for standard output."""
    errors: str | None
    """Path of the file that holds the failures; None where there are none or they stand in ``out``."""
    succeeded: int
    failed: int
    cancelled: int
    quarantined: int
    unfinished: int
    vectors: tuple[str, ...] | None = None
    """Of an export of vectors: its files, which are not ``out`` where there are shards, and none where there was no
    vector.
    """
    swept: int = 0
    """Unfinished files that earlier exports to this place left when they were killed, and that are gone now."""


def links(row: Row, folder: str) -> list[str]:
    """Return where the files of a row's answer are, with ``folder`` (the artifacts folder) before each."""
    return [f"{folder}/{artifact.path}" for artifact in row.artifacts]


def latency_ms(row: Row) -> int | None:
    """Return how long the attempt that settled a row took, in whole milliseconds."""
    return None if row.opened is None or row.ended is None else (row.ended - row.opened) // 1000


def exact_seconds(milliseconds: int) -> str:
    """Return milliseconds as a decimal number of seconds, every digit."""
    whole, part = divmod(milliseconds, 1_000)
    return f"{whole}.{part:03}".rstrip("0") if part else str(whole)


def exact_usd(pico: int) -> str:
    """Return pico-dollars as USD, every digit: nothing is rounded in an export."""
    if pico < 0:
        return f"-{exact_usd(-pico)}"
    whole, part = divmod(pico, PICO)
    return f"{whole}.{part:012}".rstrip("0") if part else str(whole)
