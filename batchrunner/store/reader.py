"""The reader's side on SQLite: read-only, in short transactions, safe beside a live run."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, or_, select, text

from batchrunner.core.budget import Sheet
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.pricing import Price
from batchrunner.core.request import Lane
from batchrunner.store import results
from batchrunner.store.base import (
    Counts,
    FailureGroup,
    LaneRow,
    Pause,
    ResultRow,
    RunnerRow,
)
from batchrunner.store.bookreader import BookReads
from batchrunner.store.budgets import sheet
from batchrunner.store.corpusreader import CorpusReads
from batchrunner.store.drawn import DrawnReads
from batchrunner.store.moneytables import counts
from batchrunner.store.pausing import standing
from batchrunner.store.prices import read_prices
from batchrunner.store.reportreads import ReportReads
from batchrunner.store.rows import job_value
from batchrunner.store.selecting import of_jobs
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import attempts, buckets, models, pauses, requests, runners
from batchrunner.store.tables import jobs as job_table
from batchrunner.store.workload import WorkloadReads

PAGE = 10_000
"""Ids that one transaction of ``queued_ids`` reads."""

# The plus keeps SQLite from walking along an index of jobs: ids in their own order need no sorting.
_JOB: ColumnElement[int] = literal_column("+requests.job_id")
_QUEUED = select(requests.c.id).where(text("state = 'queued' AND copy_of IS NULL")).order_by(requests.c.id).limit(PAGE)
_FLAGGED = "SELECT count(*) FROM attempts WHERE job_id = ? AND flags IS NOT NULL AND use = 'used'"
_NO_STATES = ("total", "waiting", "flagged")


class SqliteReader(CorpusReads, BookReads, ReportReads, DrawnReads, WorkloadReads):
    """``Reader`` over one read-only session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def path(self) -> str:
        """The database's real path."""
        return self._session.path

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def prices(self) -> list[Price]:
        """Return the prices that were set here, oldest first. Raises DatabaseError for what is none."""
        with self._session.read() as connection:
            return read_prices(connection)

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._session.read() as connection:
            rows = connection.execute(select(job_table).order_by(job_table.c.id)).mappings()
            return [job_value(dict(row)) for row in rows]

    def job(self, ref: str) -> Job:
        """Find a job by number, name or path, the newest where a file was loaded several times.

        Raises ConfigurationError that lists what there is.
        """
        known = self.jobs()
        path = os.path.realpath(ref)
        for matches in (
            lambda job: str(job.id) == ref,
            lambda job: job.name == ref,
            lambda job: job.source.path in (ref, os.path.abspath(ref), path),  # noqa: PTH100 - any bytes
        ):
            found = [job for job in known if matches(job)]
            if found:
                return found[-1]
        listed = ", ".join(f"{job.id} {job.name}" for job in known[-10:])
        raise ConfigurationError(
            f"there is no job {ref!r} in {self._session.path}",
            hint=f"the jobs are: {listed}" if known else "nothing was loaded yet: batchrunner load FILE",
        )

    def counts(self, job_id: int, now: int) -> Counts:
        """Return a job's requests by state."""
        states = select(counts.c.state, func.sum(counts.c.n)).where(counts.c.job_id == job_id).group_by(counts.c.state)
        waiting = (
            select(func.count())
            .select_from(requests)
            .where(
                text("requests.state = 'queued' AND requests.not_before > 0"),
                requests.c.model_id.in_(select(counts.c.model_id).where(counts.c.job_id == job_id)),
                _JOB.in_([job_id]),
                requests.c.not_before > now,
            )
        )
        with self._session.read() as connection:
            found = dict(connection.execute(states).all())
            return Counts(
                total=sum(found.values()),
                waiting=connection.execute(waiting).scalar_one(),
                flagged=connection.exec_driver_sql(_FLAGGED, (job_id,)).scalar_one(),
                **{state: found.get(state, 0) for state in Counts._fields if state not in _NO_STATES},
            )

    def results(self, job_id: int) -> Iterator[ResultRow]:
        """Yield every request of a job in input order, in short read transactions.

        Raises DatabaseError that names the request whose answer is damaged.
        """
        return results.results(self._session, job_id)

    def extras(self, job_id: int) -> Iterator[bytes]:
        """Yield what a job's lines have beside their bodies, in input order, in short read transactions."""
        return results.extras(self._session, job_id)

    def queued_ids(self, jobs: Sequence[int] | None) -> Iterator[int]:
        """Yield the ids of queued requests of these jobs (or of every open job) in input order."""
        queued = _QUEUED.where(_JOB.in_(select(job_table.c.id).where(of_jobs(jobs))))
        after = -1
        while True:
            with self._session.read() as connection:
                page = connection.execute(queued.where(requests.c.id > after)).scalars().all()
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1]

    def failures(self, job_id: int) -> list[FailureGroup]:
        """Return a job's failed requests by kind and status, most frequent first, each with its first line."""
        groups = (
            select(
                requests.c.failure,
                attempts.c.status,
                func.count().label("n"),
                requests.c.custom_id,
                func.min(requests.c.line),  # SQLite takes the bare columns from the row that holds the minimum
                func.coalesce(attempts.c.error, ""),
            )
            .outerjoin_from(requests, attempts, attempts.c.id == requests.c.attempt_id)
            .where(text("requests.state = 'failed'"), requests.c.job_id == job_id)
            .group_by(requests.c.failure, attempts.c.status)
            .order_by(text("n DESC"), requests.c.failure)
        )
        with self._session.read() as connection:
            return [FailureGroup._make(row) for row in connection.execute(groups)]

    def budgets(self, now: int) -> Sheet:
        """Return all budgets, and what counts against each in the period that it is ``now`` (microseconds UTC)."""
        with self._session.read() as connection:
            return sheet(connection, now)

    def lanes(self, job_id: int | None = None) -> list[LaneRow]:
        """Return the lanes and what they wait for."""
        with self._session.read() as connection:
            rows = connection.execute(_lanes_of(job_id))
            return [LaneRow(Lane(*row[:3]), *row[3:]) for row in rows]

    def pauses(self) -> list[Pause]:
        """Return the pauses that have not ended, oldest first."""
        with self._session.read() as connection:
            return standing(connection)

    def runner(self) -> RunnerRow | None:
        """Return the newest runner."""
        newest = select(*(runners.c[name] for name in RunnerRow._fields)).order_by(runners.c.id.desc()).limit(1)
        with self._session.read() as connection:
            row = connection.execute(newest).one_or_none()
        if row is None:
            return None
        found = RunnerRow._make(row)
        return found._replace(snapshot=None if row.snapshot is None else row.snapshot.encode())


def _lanes_of(job_id: int | None) -> Select[Any]:
    queued = func.sum(case((counts.c.state == "queued", counts.c.n), else_=0))
    paused_until = select(func.max(buckets.c.paused_until)).where(buckets.c.model_id == models.c.id)
    reason = (
        select(pauses.c.reason)
        .where(
            pauses.c.ended.is_(None),
            or_(
                and_(pauses.c.scope == "provider", pauses.c.ref == models.c.provider),
                and_(pauses.c.scope == "lane", pauses.c.ref == models.c.provider + " " + models.c.model),
            ),
        )
        .order_by(pauses.c.id.desc())
        .limit(1)
    )
    lanes = select(
        models.c.id,
        models.c.provider,
        models.c.model,
        queued,
        func.coalesce(paused_until.scalar_subquery(), 0),
        reason.scalar_subquery(),
    ).join_from(models, counts, counts.c.model_id == models.c.id)
    if job_id is not None:
        lanes = lanes.where(counts.c.job_id == job_id)
    return lanes.group_by(models.c.id).order_by(models.c.id)
