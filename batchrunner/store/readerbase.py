"""The seam of reads: what can be asked of a database beside a live run. Import it from ``store.base``."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from batchrunner.core.budget import Sheet
from batchrunner.core.job import Job
from batchrunner.core.pricing import Price
from batchrunner.core.slices import EVERYTHING, Within
from batchrunner.store.corpusbase import CorpusReader
from batchrunner.store.estimatevalues import DrawnRow, Pace, Workload
from batchrunner.store.moneyvalues import Billed, ChargeRow, CostRow
from batchrunner.store.reportbase import ReportReader
from batchrunner.store.values import ALL, Counts, FailureGroup, LaneRow, Pause, ResultRow, RunnerRow, Selection


class EstimateReader(Protocol):
    """What an estimate asks beside the workload."""

    def prices(self) -> list[Price]:
        """Return the prices that were set here, oldest first. Raises DatabaseError for what is none."""

    def budgets(self, now: int) -> Sheet:
        """Return all budgets, and what counts against each in the period that it is ``now`` (microseconds UTC)."""

    def drawn(self, ids: Sequence[int], since: int) -> list[DrawnRow]:
        """Return what these requests came to, by their attempts that were opened since then and have ended."""

    def paces(self) -> list[Pace]:
        """Return how long the last answered calls took, by lane."""

    def learned(self, provider: str, model: str) -> bytes | None:
        """Return what was learned of a lane (JSON); None: nothing, or there is no such lane."""


class Reader(CorpusReader, ReportReader, EstimateReader, Protocol):
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

    def costs(self, by: Sequence[str], job_id: int | None = None, within: Within = EVERYTHING) -> list[CostRow]:
        """Return cost slices by any of ``SLICES`` and ``tag:KEY``; no ``by``: one row."""

    def savings(self, job_id: int | None = None, within: Within = EVERYTHING) -> int:
        """Return what cached input tokens would have cost more as fresh ones, in pico-dollars."""

    def charges(self, job_id: int | None = None, within: Within = EVERYTHING) -> list[ChargeRow]:
        """Return what was certainly billed, by day, job, model, rate card and tags, oldest day first."""

    def billed(
        self, by: Sequence[str] = (), job_id: int | None = None, within: Within = EVERYTHING
    ) -> Iterator[Billed]:
        """Yield every billed attempt with its slice and what it used, in short read transactions."""

    def lanes(self, job_id: int | None = None) -> list[LaneRow]:
        """Return the lanes and what they wait for."""

    def runner(self) -> RunnerRow | None:
        """Return the newest runner."""

    def close(self) -> None:
        """Close the connection."""
