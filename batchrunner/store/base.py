"""The seam of the store: what the runner, the loader and the readers ask of a database.

Everything here is synchronous; the runner calls the writer's methods in its one database thread.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from batchrunner.core.budget import Budget, Sheet
from batchrunner.core.errors import DatabaseError, DiskFullError
from batchrunner.core.job import Job, JobOptions, JobSource
from batchrunner.core.pricing import Price, RateCard
from batchrunner.core.request import NOTHING_BESIDE, Beside, Closing, Head, NewRequest, Opened, Opening, Release
from batchrunner.store.corpusbase import Corpora, Corpus, CorpusReader, Embedded, Missing, Seen
from batchrunner.store.estimatevalues import LENGTHS, DrawnRow, LongPrompts, Pace, Workload
from batchrunner.store.moneyvalues import Billed, ChargeRow, CostRow
from batchrunner.store.readerbase import Reader
from batchrunner.store.values import (
    ALL,
    BY_HAND,
    BucketLevel,
    Counts,
    DuplicateIds,
    FailureGroup,
    LaneRow,
    LaneWork,
    Pause,
    Rescue,
    ResultRow,
    RunnerInfo,
    RunnerRow,
    Selection,
    TakenIn,
    Target,
)

__all__ = [
    "ALL", "BY_HAND", "LENGTHS", "Billed", "BucketLevel", "ChargeRow", "Corpora", "Corpus", "CorpusReader", "CostRow",
    "Counts", "Disk", "DrawnRow", "DuplicateIds", "Embedded", "FailureGroup", "LaneRow", "LaneWork", "Loading",
    "LongPrompts", "Missing", "Pace", "Pause", "Queue", "Reader", "Rescue", "ResultRow", "RunnerInfo", "RunnerRow",
    "Seen", "Selection", "Store", "TakenIn", "Target", "Verbs", "Workload",
]  # fmt: skip


class Disk(Protocol):
    """The disk beneath a database."""

    def prepare(self) -> None:
        """Lay in the ballast. Raises DatabaseError where there is no room for it."""

    def free_ballast(self) -> None:
        """Throw the ballast off, so that what is in the air still fits."""

    def low(self, in_flight: int) -> DiskFullError | None:
        """Return the error to stop with where too little room is left for ``in_flight`` bytes of answers."""

    def journal(self) -> int:
        """Return the size of the database's write-ahead log in bytes, 0 where there is none."""

    def short(self, needed: int) -> str | None:
        """Say that a run which writes ``needed`` bytes will probably not fit; None: it will."""

    def room(self) -> str:
        """Say how much room is where."""

    def explained(self, error: OSError) -> DatabaseError:
        """Return the error for a disk that did not take a file of ours."""


class Queue(Protocol):
    """The writer's side of the queue, used by one runner."""

    def rescue(self, now: int) -> Rescue:
        """Take over from dead runners, as ``start`` does, without starting: so that an estimate counts their rows."""

    def take_in(
        self, closings: Sequence[Closing], released: Sequence[Release], now: int, beside: Beside = NOTHING_BESIDE
    ) -> TakenIn:
        """Close attempts with what an earlier run put by beside the database; comes before ``rescue``.

        Idempotent: what is closed already is passed over. The first complete answer wins, as in ``commit``. An attempt
        that an older copy of the database lacks is added, where its request is the same; a continuation of one is
        ``strange``.
        """

    def start(self, info: RunnerInfo, now: int, accounts: dict[str, str]) -> tuple[int, Rescue]:
        """Register a runner, take over from the dead, end their pauses; return the runner's id and the rescue.

        ``accounts`` maps a provider to the label of the account (a key's fingerprint and host) its attempts are
        billed to.
        """

    def work(self, jobs: Sequence[int] | None, *, running: bool = False) -> list[LaneWork]:
        """Return the lanes with queued requests that no person holds back, of these jobs or of every open job.

        ``running``: those too whose requests are all in the air now, since they may come back.
        """

    def refers_to_files(self, jobs: Sequence[int] | None) -> bool:
        """Whether one of the first queued requests of one of these jobs (or of every open job) refers to files."""

    def remaining(self, jobs: Sequence[int] | None, selection: Selection = ALL) -> tuple[int, int]:
        """Return how many requests of these jobs (or of every open job) are queued or running, and how many failed."""

    def claim(
        self, job_id: int, lane_id: int, after: tuple[int, int] | None, limit: int, selection: Selection = ALL
    ) -> list[Head]:
        """Read fresh requests (never tried, not waiting) in order of priority and id; writes nothing.

        ``after`` is (priority, id) of the last head that this run claimed.
        """

    def claim_due(
        self,
        jobs: Sequence[int],
        lane_id: int,
        now: int,
        limit: int,
        selection: Selection = ALL,
        *,
        bought: Sequence[int] = (),
    ) -> list[Head]:
        """Read requests whose ``not_before`` has come, longest due first; writes nothing.

        Of the jobs ``bought`` only those that go on with an attempt: nothing new is bought by them.
        """

    def next_due(
        self,
        jobs: Sequence[int],
        lane_id: int,
        after: int = 0,
        selection: Selection = ALL,
        *,
        bought: Sequence[int] = (),
    ) -> int | None:
        """Return the earliest ``not_before`` past ``after`` of the waiting requests, or None; ``bought`` as above."""

    def sheet(self, now: int) -> Sheet:
        """Return all budgets, and what counts against each in the period that it is ``now`` (microseconds UTC)."""

    def commit(
        self,
        openings: Sequence[Opening],
        closings: Sequence[Closing],
        levels: Sequence[BucketLevel],
        now: int,
        *,
        released: Sequence[Release] = (),
        beside: Beside = NOTHING_BESIDE,
    ) -> list[Opened]:
        """Open and record in one transaction that is on the disk when this returns.

        Opening writes the attempt and sets the request running; what comes back holds the bodies, in the order asked.
        Closing writes the outcome only where the request is not finished yet: the first complete answer wins, a
        later one is kept as a wasted attempt. What was ``released`` leaves no trace, and its head may be opened again,
        by the same commit too. The rollups move in the same transaction.

        What is ``continued`` beside them stays open: its continuation is kept and its request waits in the queue, or
        stays running. A head that continues an attempt is opened by going on with it: nothing new is bought, and its
        tries and attempts do not count up. ``settled`` ends continuations beside their closings, and lists their files.
        """

    def levels(self) -> list[BucketLevel]:
        """Return all kept bucket levels."""

    def rate(self, card: RateCard) -> int:
        """Return the id of this rate card, writing it at first sight."""

    def learned(self, lane_id: int) -> bytes | None:
        """Return what was learned of a lane (JSON), or None."""

    def beat(
        self,
        runner_id: int,
        now: int,
        snapshot: bytes,
        *,
        learned: Mapping[int, bytes] = MappingProxyType({}),
        pauses: Sequence[Pause] = (),
        resumed: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Keep a runner's heartbeat and snapshot (JSON) for readers, what it learned of lanes (JSON by lane), the
        end of those of ``resumed`` (scope, ref), and then the pauses that are new: in one transaction, once a second.
        """

    def finish(self, runner_id: int, now: int, reason: str) -> None:
        """Keep the runner's clean end."""


class Loading(Protocol):
    """The writer's side of jobs: load, discard, retry."""

    def job_by_key(self, key: str) -> Job | None:
        """Return the job with this identity, in any state."""

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""

    def jobs_by_path(self, path: str) -> list[Job]:
        """Return the jobs loaded from this file, newest first."""

    def create_job(
        self,
        *,
        key: str,
        name: str,
        source: JobSource,
        options: JobOptions,
        tags: tuple[tuple[str, str], ...],
        now: int,
    ) -> Job:
        """Create a job in state ``loading``; a name already taken is made unique with ``-2``, ``-3``, ..."""

    def add(self, job_id: int, requests: Sequence[NewRequest], *, copies: Sequence[str] = ()) -> None:
        """Queue requests, all or none, in one transaction; ``copies``: the endpoints at which those become copies that
        have the body of an earlier one. Raises DuplicateIds.
        """

    def mark_copies(self, job_id: int, endpoints: Sequence[str]) -> int:
        """Make copies of those rows of a loading job that have the body of an earlier one; return how many."""

    def seal(self, job_id: int, source: JobSource, key: str) -> Job:
        """Open a loading job (or end an ``--add``): its rows are whole now; keeps source and key as they are now."""

    def discard(self, job_id: int) -> None:
        """Delete a loading job and its rows."""

    def digests(self, job_id: int, custom_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the body digests of those custom_ids that the job has."""

    def retry(
        self,
        job_id: int,
        *,
        kinds: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
        quarantined: bool = False,
        flagged: bool = False,
        now: int,
    ) -> int:
        """Queue failed requests again, or those in quarantine, or those with a flagged answer (which is wasted then),
        with their tries forgotten; return how many.
        """


class Verbs(Protocol):
    """The writer's side of what people do to jobs beside loading and running them."""

    def pauses(self) -> list[Pause]:
        """Return the pauses that have not ended, oldest first."""

    def pause(self, targets: Sequence[Target], evidence: str, now: int) -> list[Pause]:
        """Hold targets back until ``resume``; return the pauses that are new. One that stands keeps its reason."""

    def resume(self, targets: Sequence[Target] | None, now: int) -> list[Pause]:
        """End what a person paused of these targets, or with None all of it; return what was ended.

        The pauses that a run made end when their cause does, or with the next run.
        """

    def keep_budget(self, budget: Budget, now: int) -> None:
        """Write a budget, in the place of an earlier one of the same scope and period."""

    def drop_budget(self, budget: Budget) -> bool:
        """Remove the budget of this scope and period; return whether there was one."""

    def cancel(self, job_id: int) -> bool:
        """Close a job; its rows are cancelled by ``sweep``. Return False where it was closed already."""

    def prices(self) -> list[Price]:
        """Return the prices that were set here, oldest first. Raises DatabaseError for what is none."""

    def add_prices(self, entries: Sequence[Price]) -> None:
        """Add prices; of two that say the same the newer one counts."""

    def sweep(self) -> int:
        """Cancel some queued rows of cancelled jobs; return how many, 0 once none is left.

        What is in the air then is cancelled by the commit that would queue it again.
        """

    def reopen(self, job_id: int) -> bool:
        """Open a cancelled job again; its rows come back by ``take_back``. Return False where it is not cancelled."""

    def take_back(self, job_id: int, now: int) -> int:
        """Queue some cancelled rows of a job again; return how many, 0 once none is left."""

    def retag(self, job_id: int, change: Sequence[tuple[str, str | None]], *, lines: bool, now: int) -> None:
        """Change a job's tags (None takes one away), and with ``lines`` those that its lines brought themselves."""


class Store(Queue, Loading, Verbs, Corpora, Protocol):
    """Everything that the one writer of a database can do."""
