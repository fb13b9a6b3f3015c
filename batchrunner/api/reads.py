"""Reading a queue, beside a live run or without one."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from batchrunner.api.tuning import tuned
from batchrunner.api.values import JobStatus, Result
from batchrunner.config import Loaded
from batchrunner.core.budget import Line
from batchrunner.core.clock import SystemClock
from batchrunner.core.job import Job
from batchrunner.core.pricing import Price
from batchrunner.core.slices import EVERYTHING, Within
from batchrunner.formats.base import ExportSummary
from batchrunner.formats.unembedded import UNFINISHED
from batchrunner.runner.exporter import export
from batchrunner.store.base import (
    Billed,
    ChargeRow,
    Corpus,
    CostRow,
    FailureGroup,
    LaneRow,
    Missing,
    Pause,
    Reader,
    RunnerRow,
)
from batchrunner.wiring import reading


class Reads:
    """Everything that can be asked of a queue. Safe while another process runs it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def path(self) -> str:
        """The database's real path."""
        return self._reader.path

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return self._reader.jobs()

    def job(self, ref: str | Job) -> Job:
        """Find a job by number, name or path. Raises ConfigurationError that lists what there is."""
        return ref if isinstance(ref, Job) else self._reader.job(str(ref))

    def status(self, ref: str | Job) -> JobStatus:
        """Return where a job stands."""
        job = self.job(ref)
        costs, lanes = self._reader.costs((), job.id), self._reader.lanes(job.id)
        return JobStatus(
            job=job,
            counts=self._reader.counts(job.id, SystemClock().now()),
            costs=costs[0] if costs else None,
            lanes=tuple(lanes),
            runner=self._reader.runner(),
            pauses=tuple(pause for pause in self._reader.pauses() if _concerns(pause, job, lanes)),
        )

    def statuses(self, jobs: Sequence[Job] | None = None) -> list[JobStatus]:
        """Return where these jobs (or all) stand."""
        return [self.status(job) for job in (self.jobs() if jobs is None else jobs)]

    def with_texts(self, status: JobStatus) -> JobStatus:
        """Return where a job stands with what became of its texts, if it is a corpus: that looks at all of them."""
        corpus = self._reader.corpus(status.job.id)
        return status if corpus is None else replace(status, texts=self._reader.text_counts(corpus.id))

    def corpus(self, ref: str | Job) -> Corpus | None:
        """Return the corpus of a job; None where it has none."""
        return self._reader.corpus(self.job(ref).id)

    def at_fault(self, ref: str | Job, most: int) -> dict[tuple[str, int | None], list[str]]:
        """Return the names of a corpus' first texts that will get no vector, by kind and status; of other jobs none."""
        corpus = self.corpus(ref)
        found: dict[tuple[str, int | None], list[str]] = {}
        for text in () if corpus is None else self._reader.missing(corpus.id):
            names = found.setdefault((text.reason, text.status), [])
            if len(names) < most:
                names.append(text.id)
        return found

    def results(self, ref: str | Job) -> Iterator[Result]:
        """Yield every request of a job in input order, finished or not."""
        for row in self._reader.results(self.job(ref).id):
            yield Result(row)

    def export(
        self, ref: str | Job, out: str, *, force: bool = False, flagged: bool = False, fields: Sequence[str] = ()
    ) -> ExportSummary:
        """Write what is there of a job's results; failures go beside them. Raises ConfigurationError.

        ``flagged``: only the answers that are flagged. ``fields``: of answers that are JSON objects, as columns of
        tables (``("*",)``: all).
        """
        with tuned():
            return export(self._reader, self.job(ref), out, force=force, flagged=flagged, fields=fields)

    def failures(self, ref: str | Job) -> list[FailureGroup]:
        """Return a job's failures by kind and status, most frequent first; of a corpus its texts without a vector."""
        job_id = self.job(ref).id
        corpus = self._reader.corpus(job_id)
        return self._reader.failures(job_id) if corpus is None else _by_kind(self._reader.missing(corpus.id))

    def costs(self, by: Sequence[str] = (), ref: str | Job | None = None, within: Within = EVERYTHING) -> list[CostRow]:
        """Return the four sums, whole or sliced by any of ``SLICES`` and ``tag:KEY``. Raises ConfigurationError."""
        return self._reader.costs(by, None if ref is None else self.job(ref).id, within)

    def savings(self, ref: str | Job | None = None, within: Within = EVERYTHING) -> int:
        """Return what cached input tokens would have cost more as fresh ones, in pico-dollars."""
        return self._reader.savings(None if ref is None else self.job(ref).id, within)

    def charges(self, ref: str | Job | None = None, within: Within = EVERYTHING) -> list[ChargeRow]:
        """Return what was certainly billed, by day, job, model, rate card and tags, oldest day first."""
        return self._reader.charges(None if ref is None else self.job(ref).id, within)

    def billed(
        self, by: Sequence[str] = (), ref: str | Job | None = None, within: Within = EVERYTHING
    ) -> Iterator[Billed]:
        """Yield every billed attempt with its slice and what it used: what ``repricing.reprice`` takes."""
        return self._reader.billed(by, None if ref is None else self.job(ref).id, within)

    def lanes(self, ref: str | Job | None = None) -> list[LaneRow]:
        """Return the lanes and what they wait for."""
        return self._reader.lanes(None if ref is None else self.job(ref).id)

    def prices(self) -> list[Price]:
        """Return the prices that were set in the database, oldest first. Raises DatabaseError for what is none."""
        return self._reader.prices()

    def budgets(self) -> tuple[Line, ...]:
        """Return all budgets, and what counts against each in the day and month that it is now, in UTC."""
        return self._reader.budgets(SystemClock().now()).lines

    def pauses(self) -> list[Pause]:
        """Return the pauses that stand, oldest first."""
        return self._reader.pauses()

    def runner(self) -> RunnerRow | None:
        """Return the newest runner of the database."""
        return self._reader.runner()


def _by_kind(missing: Iterable[Missing]) -> list[FailureGroup]:
    """Return the texts that will get no vector as groups, each with its first text; those that wait are left out."""
    found: dict[tuple[str, int | None], FailureGroup] = {}
    for text in missing:
        if text.reason in UNFINISHED:
            continue
        key = (text.reason, text.status)
        group = found.get(key) or FailureGroup(*key, 0, text.id, text.seq + 1, text.message)
        found[key] = group._replace(count=group.count + 1)
    return sorted(found.values(), key=lambda group: (-group.count, group.kind))


def _concerns(pause: Pause, job: Job, lanes: Sequence[LaneRow]) -> bool:
    if pause.scope == "job":
        return pause.ref == str(job.id)
    queued = [lane.lane for lane in lanes if lane.queued]
    return any(pause.ref in (lane.provider, f"{lane.provider} {lane.model}") for lane in queued)


@contextmanager
def reads(loaded: Loaded) -> Iterator[Reads]:
    """Open the queue of these settings to read it. Raises ConfigurationError where there is none."""
    with reading(loaded.settings.db) as reader:
        yield Reads(reader)
