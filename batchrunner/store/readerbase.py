"""The seam of reads: what can be asked of a database beside a live run. Import it from ``store.base``."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from batchrunner.core.job import Job
from batchrunner.store.corpusbase import CorpusReader
from batchrunner.store.values import (
    ALL,
    CostRow,
    Counts,
    FailureGroup,
    LaneRow,
    Pause,
    ResultRow,
    RunnerRow,
    Selection,
    Workload,
)


class Reader(CorpusReader, Protocol):
    """Reads only: safe beside a live run."""

    @property
    def path(self) -> str:
        """The database's real path."""

    def pauses(self) -> list[Pause]:
        """Return the pauses that have not ended, oldest first."""

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""

    def job(self, ref: str) -> Job:
        """Find a job by number, name or path. Raises ConfigurationError that lists what there is."""

    def counts(self, job_id: int, now: int) -> Counts:
        """Return a job's requests by state."""

    def results(self, job_id: int) -> Iterator[ResultRow]:
        """Yield every request of a job in input order, in short read transactions."""

    def extras(self, job_id: int) -> Iterator[bytes]:
        """Yield what a job's lines have beside their bodies, in input order, as JSON objects."""

    def queued_ids(self, jobs: Sequence[int] | None) -> Iterator[int]:
        """Yield the ids of queued requests in input order."""

    def workload(self, jobs: Sequence[int] | None, selection: Selection = ALL) -> list[Workload]:
        """Return what is queued and held back by no person, by lane."""

    def failures(self, job_id: int) -> list[FailureGroup]:
        """Return a job's failed requests by kind and status, most frequent first."""

    def costs(self, by: Sequence[str], job_id: int | None = None) -> list[CostRow]:
        """Return cost slices by any of ``model, job, day, endpoint, provider, account``; no ``by``: one row."""

    def lanes(self, job_id: int | None = None) -> list[LaneRow]:
        """Return the lanes and what they wait for."""

    def runner(self) -> RunnerRow | None:
        """Return the newest runner."""

    def close(self) -> None:
        """Close the connection."""
