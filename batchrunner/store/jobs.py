"""The writer's side of jobs on SQLite: load, discard, retry."""

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from batchrunner.core.job import Job, JobOptions, JobSource, JobState
from batchrunner.core.request import NewRequest
from batchrunner.core.usage import units_text
from batchrunner.store.again import retry_flagged
from batchrunner.store.base import DuplicateIds
from batchrunner.store.copies import follow_job, mark, mark_added, ranges
from batchrunner.store.driver import ManyRows, driver
from batchrunner.store.lanes import lane_of
from batchrunner.store.moneytables import counts
from batchrunner.store.retrying import retry
from batchrunner.store.rollups import add_counts
from batchrunner.store.rows import (
    COMPOSED,
    WITH_FILES,
    Tags,
    job_columns,
    job_value,
    source_columns,
    tags_text,
    text_list,
)
from batchrunner.store.selecting import listed
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import bodies, jobs, requests, tag_sets

DISCARDED_AT_ONCE = 10_000
"""Rows that one transaction of ``discard`` deletes."""

_REQUEST = ManyRows(
    """INSERT INTO requests
 (id, job_id, line, custom_id, digest, endpoint, model_id, tag_set_id, priority, est_in, max_out, units) VALUES %s""",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_BODY = ManyRows("INSERT INTO bodies (request_id, codec, extras, data) VALUES %s", "(?, ?, ?, ?)")
_NAMED = requests.c.custom_id.in_(listed("texts"))
_OF_JOB = requests.c.job_id == bindparam("job")


class SqliteJobs:
    """``Loading`` over one writing session. Its caller holds the lock."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lanes: dict[tuple[str, str], int] = {}
        self._tag_sets: dict[Tags, int | None] = {(): None}
        with session.read() as connection:
            self._next_request = (connection.execute(select(func.max(requests.c.id))).scalar_one() or 0) + 1

    def job_by_key(self, key: str) -> Job | None:
        """Return the job with this identity, in any state."""
        found = self._jobs(jobs.c.key == key)
        return found[0] if found else None

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return self._jobs(jobs.c.id > 0)

    def jobs_by_path(self, path: str) -> list[Job]:
        """Return the jobs loaded from this file, newest first."""
        return self._jobs(jobs.c.path == path)[::-1]

    def _jobs(self, condition: ColumnElement[bool]) -> list[Job]:
        with self._session.read() as connection:
            rows = connection.execute(select(jobs).where(condition).order_by(jobs.c.id)).mappings()
            return [job_value(dict(row)) for row in rows]

    def create_job(self, *, key: str, name: str, source: JobSource, options: JobOptions, tags: Tags, now: int) -> Job:
        """Create a job in state ``loading``; a name already taken is made unique with ``-2``, ``-3``, ..."""
        with self._session.write() as connection:
            taken = set(
                connection.execute(select(jobs.c.name).where(jobs.c.name.startswith(name, autoescape=True))).scalars()
            )
            free = next(each for each in _names(name) if each not in taken)
            row = job_columns(key, free, source, options, tags)
            connection.execute(insert(jobs), {**row, "lines": 0, "state": JobState.LOADING.value, "created": now})
        created = self.job_by_key(key)
        assert created is not None  # noqa: S101 - for the type checker: it was written one line above
        return created

    def add(self, job_id: int, requests: Sequence[NewRequest], *, copies: Sequence[str] = ()) -> None:
        """Queue requests, all or none, in one transaction. Raises DuplicateIds.

        Ids ascend in the order given: that is the input order. ``copies``: the endpoints at which those become copies
        that have the body of an earlier one. That reads all of the job: a whole file has ``mark_copies`` instead.
        """
        if not requests:
            return
        try:
            with self._session.write() as connection:
                self._add(connection, job_id, requests)
                if copies:
                    first = connection.execute(select(jobs.c.first_id).where(jobs.c.id == job_id)).scalar_one()
                    mark_added(connection, job_id, (first, self._next_request), requests, copies)
        except sqlite3.IntegrityError:
            self._forget()
            found = self._duplicates(job_id, requests)
            if not found:
                raise
            raise DuplicateIds(found) from None
        except BaseException:
            self._forget()
            raise
        self._next_request += len(requests)

    def _add(self, connection: Connection, job_id: int, new: Sequence[NewRequest]) -> None:
        newest = connection.execute(select(func.max(requests.c.id))).scalar_one() or 0
        first = self._next_request = max(self._next_request, newest + 1)  # packs come on other ways, too
        provider = connection.execute(select(jobs.c.provider).where(jobs.c.id == job_id)).scalar_one()
        rows: list[Any] = []
        data: list[Any] = []
        queued: dict[int, int] = defaultdict(int)
        extra_lines = 0
        for key, one in enumerate(new, first):
            # fmt: off
            (
                line, custom_id, path, model, body, digest, est_in, max_out, priority, extras, tags,
                units, composed, files, own,
            ) = one
            # fmt: on
            host = own or provider
            lane_id = self._lanes.get((host, model)) or self._lane(connection, host, model)
            tag_set_id = self._tag_sets[tags] if tags in self._tag_sets else self._tag_set(connection, tags)
            told = units and units_text(units)
            rows += key, job_id, line, custom_id, digest, path, lane_id, tag_set_id, -priority, est_in, max_out, told
            data += key, (WITH_FILES if files else COMPOSED) if composed else 0, extras, body
            queued[lane_id] += 1
            extra_lines += extras is not None
        cursor = driver(connection)
        _REQUEST.execute(cursor, rows)
        _BODY.execute(cursor, data)
        add_counts(connection, {(job_id, lane_id, "queued"): n for lane_id, n in queued.items()})
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(
                first_id=func.coalesce(jobs.c.first_id, first),
                last_id=first + len(new) - 1,
                lines=jobs.c.lines + len(new),
                extras=jobs.c.extras + extra_lines,
            )
        )

    def _lane(self, connection: Connection, provider: str, model: str) -> int:
        lane_id = self._lanes[provider, model] = lane_of(connection, provider, model)
        return lane_id

    def _tag_set(self, connection: Connection, tags: Tags) -> int:
        content = tags_text(tags)
        digest = hashlib.sha256(content.encode()).digest()[:16]
        connection.execute(insert(tag_sets).on_conflict_do_nothing(), {"digest": digest, "tags": content})
        known = select(tag_sets.c.id).where(tag_sets.c.digest == digest)
        tag_set_id: int = connection.execute(known).scalar_one()
        self._tag_sets[tags] = tag_set_id
        return tag_set_id

    def mark_copies(self, job_id: int, endpoints: Sequence[str]) -> int:
        """Make copies of those rows of a loading job that have the body of an earlier one; return how many."""
        with self._session.read() as connection:
            ends = select(jobs.c.first_id, jobs.c.last_id, jobs.c.lines).where(jobs.c.id == job_id)
            first, last, lines = connection.execute(ends).one()
        copies = 0
        for digests in ranges(lines) if lines else ():
            with self._session.write() as connection:
                copies += mark(connection, job_id, (first, last), digests, endpoints)
        return copies

    def _forget(self) -> None:
        """Forget names whose rows went away with a transaction that failed."""
        self._lanes.clear()
        self._tag_sets = {(): None}

    def _duplicates(self, job_id: int, new: Sequence[NewRequest]) -> list[tuple[int, str, int]]:
        stored = select(requests.c.custom_id, requests.c.line).where(_OF_JOB, _NAMED)
        with self._session.read() as connection:
            values = {"job": job_id, "texts": text_list([one.custom_id for one in new])}
            lines = dict(connection.execute(stored, values).all())
        found = []
        for one in new:
            if one.custom_id in lines:
                found.append((one.line, one.custom_id, lines[one.custom_id]))
            else:
                lines[one.custom_id] = one.line
        return found

    def seal(self, job_id: int, source: JobSource, key: str) -> Job:
        """Open a loading job (or end an ``--add``): its rows are whole now; keeps source and key as they are now."""
        with self._session.write() as connection:
            opened = update(jobs).where(jobs.c.id == job_id)
            connection.execute(opened.values(state=JobState.OPEN.value, key=key, **source_columns(source)))
        return self._jobs(jobs.c.id == job_id)[0]

    def discard(self, job_id: int) -> None:
        """Delete a loading job and its rows, some at a time. Raises ValueError for a job in another state."""
        job = self._jobs(jobs.c.id == job_id)[0]
        if job.state is not JobState.LOADING:
            raise ValueError(f"job {job.name} is {job.state}: only a loading job can be discarded")
        while self._discard_some(job_id):
            pass
        with self._session.write() as connection:
            connection.execute(delete(counts).where(counts.c.job_id == job_id))
            connection.execute(delete(jobs).where(jobs.c.id == job_id))

    def _discard_some(self, job_id: int) -> bool:
        with self._session.write() as connection:
            first = connection.execute(select(jobs.c.first_id).where(jobs.c.id == job_id)).scalar_one()
            if first is None:
                return False
            upto = first + DISCARDED_AT_ONCE
            some = [requests.c.job_id == job_id, requests.c.id >= first, requests.c.id < upto]
            per_lane = select(requests.c.model_id, func.count()).where(*some).group_by(requests.c.model_id)
            gone = connection.execute(per_lane).all()
            connection.execute(delete(bodies).where(bodies.c.request_id.in_(select(requests.c.id).where(*some))))
            connection.execute(delete(requests).where(*some))
            add_counts(connection, {(job_id, lane_id, "queued"): -n for lane_id, n in gone})
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    first_id=func.iif(jobs.c.last_id < upto, None, upto),
                    lines=jobs.c.lines - sum(n for _, n in gone),
                )
            )
        return True

    def digests(self, job_id: int, custom_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the body digests of those custom_ids that the job has."""
        named = select(requests.c.custom_id, requests.c.digest).where(_OF_JOB, _NAMED)
        with self._session.read() as connection:
            values = {"job": job_id, "texts": text_list(custom_ids)}
            return dict(connection.execute(named, values).all())

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
        """Queue failed requests again, with their tries forgotten and their attempts kept; return how many.

        ``kinds`` and ``custom_ids`` narrow it down; with both, a request must match both. ``quarantined`` brings back
        those that were set aside instead, and forgets the crashes that spoke against them; ``flagged`` those that
        succeeded with flags, whose answers are wasted then.
        """
        if flagged:
            return self._retry_flagged(job_id, text_list(custom_ids) if custom_ids else None, now)
        state = "quarantined" if quarantined else "failed"
        with self._session.write() as connection:
            moved = retry(connection, job_id, state, list(kinds), list(custom_ids), now)
            return moved + follow_job(connection, job_id)

    def _retry_flagged(self, job_id: int, custom_ids: str | None, now: int) -> int:
        queued = 0
        while True:
            with self._session.write() as connection:
                moved = retry_flagged(connection, job_id, custom_ids, now)
                queued += moved + follow_job(connection, job_id)
            if not moved:
                return queued


def _names(name: str) -> Iterable[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
