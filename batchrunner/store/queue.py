"""The writer's side of the queue on SQLite: start, claim, commit, and the runner's own facts."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.sqlite import insert

from batchrunner.core.crashpoint import reached
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import NOTHING_BESIDE, Beside, Closing, Head, Lane, Opened, Opening, Release
from batchrunner.store import claims
from batchrunner.store.base import ALL, BY_HAND, BucketLevel, LaneWork, Pause, Rescue, RunnerInfo, Selection, TakenIn
from batchrunner.store.closings import record_attempts
from batchrunner.store.continuing import keep_continued, settle
from batchrunner.store.copies import waiting
from batchrunner.store.driver import driver
from batchrunner.store.health import mark_of
from batchrunner.store.ledger import open_attempts, release_attempts
from batchrunner.store.lock import Held
from batchrunner.store.moneytables import counts, rates
from batchrunner.store.pausing import held
from batchrunner.store.rescue import register, rescue
from batchrunner.store.rows import rate_columns
from batchrunner.store.selecting import of_jobs, selected
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import attempts, buckets, meta, models, requests, runners
from batchrunner.store.tables import jobs as job_table
from batchrunner.store.tables import pauses as pause_table
from batchrunner.store.takein import take_in, take_in_continued
from batchrunner.store.verbs import SqliteVerbs, sweep

_KEEP_LEVEL = """INSERT INTO buckets (model_id, kind, level, at, paused_until) VALUES (?, ?, ?, ?, ?)
 ON CONFLICT (model_id, kind) DO UPDATE SET level = excluded.level, at = excluded.at,
 paused_until = excluded.paused_until"""


class SqliteQueue(SqliteVerbs):
    """``Queue`` over one writing session. Its caller holds the lock."""

    def __init__(self, session: Session, lock: Held) -> None:
        super().__init__(session)
        self._held = lock
        self._runner_id = 0
        self._accounts: dict[str, str] = {}
        self._labels: dict[int, str] = {}
        with session.read() as connection:
            self._next_attempt = connection.execute(select(func.max(attempts.c.id))).scalar_one() or 0
        self._next_attempt += 1

    def rescue(self, now: int) -> Rescue:
        """Take over from the dead; see ``Rescue``."""
        with self._session.write() as connection:
            rescued = rescue(connection, now)
        self._sweep_all()
        return rescued

    def _sweep_all(self) -> None:
        """Finish a cancel that was cut off, and cancel what came back from the dead."""
        while self.sweep():
            pass

    def take_in(
        self, closings: Sequence[Closing], released: Sequence[Release], now: int, beside: Beside = NOTHING_BESIDE
    ) -> TakenIn:
        """Close attempts with what an earlier run put by beside the database; see ``TakenIn``."""
        with self._session.write() as connection:
            strange = take_in_continued(connection, beside.continued)
            done = take_in(connection, closings, released, now)
            settle(connection, beside.settled)
            done = done._replace(strange=done.strange + strange)
            newest = connection.execute(select(func.max(attempts.c.id))).scalar_one() or 0
        self._next_attempt = max(self._next_attempt, newest + 1)
        return done

    def start(self, info: RunnerInfo, now: int, accounts: dict[str, str]) -> tuple[int, Rescue]:
        """Register a runner, take over from the dead, end their pauses; return the runner's id and the rescue."""
        with self._session.write() as connection:
            rescued = rescue(connection, now)
            self._runner_id = register(connection, info, now)
        self._held.keep(mark_of(self._session))
        self._sweep_all()
        self._accounts = dict(accounts)
        self._labels.clear()
        return self._runner_id, rescued

    def work(self, jobs: Sequence[int] | None, *, running: bool = False) -> list[LaneWork]:
        """Return the lanes with queued requests that no person holds back, of these jobs or of every open job."""
        states = ("queued", "running") if running else ("queued",)
        queued = (
            select(models.c.id, models.c.provider, models.c.model, counts.c.job_id, func.sum(counts.c.n))
            .join_from(counts, models, models.c.id == counts.c.model_id)
            .join(job_table, job_table.c.id == counts.c.job_id)
            .where(counts.c.state.in_(states), counts.c.n > 0, of_jobs(jobs))
            .group_by(models.c.id, counts.c.job_id)
            .order_by(models.c.id, counts.c.job_id)
        )
        found: dict[Lane, list[tuple[int, int]]] = {}
        with self._session.read() as connection:
            is_held = held(connection)
            copies = waiting(connection)
            for lane_id, provider, model, job_id, every in connection.execute(queued).all():
                n = every - copies.get((job_id, lane_id), 0)
                if n and not is_held(job_id, provider, model):
                    found.setdefault(Lane(lane_id, provider, model), []).append((job_id, n))
        return [
            LaneWork(lane, tuple(job_id for job_id, _ in parts), sum(n for _, n in parts))
            for lane, parts in found.items()
        ]

    def refers_to_files(self, jobs: Sequence[int] | None) -> bool:
        """Whether one of the first queued requests of one of these jobs (or of every open job) refers to files."""
        with self._session.read() as connection:
            chosen = connection.execute(select(job_table.c.id).where(of_jobs(jobs))).scalars().all()
            return any(claims.refers_to_files(connection, job_id) for job_id in chosen)

    def remaining(self, jobs: Sequence[int] | None, selection: Selection = ALL) -> tuple[int, int]:
        """Return how many requests of these jobs (or of every open job) are queued or running, and how many failed.

        Copies that are queued are not among them: nobody has to send them.
        """
        conditions, values = selected(selection)
        if conditions:
            states = select(requests.c.state, func.count()).join(job_table, job_table.c.id == requests.c.job_id)
            states = states.where(*conditions, text("(copy_of IS NULL OR requests.state <> 'queued')"))
        else:
            states = select(counts.c.state, func.sum(counts.c.n)).join(job_table, job_table.c.id == counts.c.job_id)
        with self._session.read() as connection:
            found: dict[str, int] = dict(
                connection.execute(states.where(of_jobs(jobs)).group_by(text("1")), values).all()
            )
            copies = {} if conditions else waiting(connection)
            chosen = set(connection.execute(select(job_table.c.id).where(of_jobs(jobs))).scalars()) if copies else ()
        found["queued"] = found.get("queued", 0) - sum(n for (job_id, _), n in copies.items() if job_id in chosen)
        return found["queued"] + found.get("running", 0), found.get("failed", 0)

    def claim(
        self, job_id: int, lane_id: int, after: tuple[int, int] | None, limit: int, selection: Selection = ALL
    ) -> list[Head]:
        """Read fresh requests in order of priority and id; writes nothing."""
        with self._session.read() as connection:
            return claims.fresh(connection, {"job_id": job_id, "lane_id": lane_id}, after, limit, selection)

    def claim_due(
        self, jobs: Sequence[int], lane_id: int, now: int, limit: int, selection: Selection = ALL
    ) -> list[Head]:
        """Read requests whose ``not_before`` has come, longest due first; writes nothing."""
        with self._session.read() as connection:
            return claims.due(connection, jobs, lane_id, (now, limit), selection)

    def next_due(self, jobs: Sequence[int], lane_id: int, after: int = 0, selection: Selection = ALL) -> int | None:
        """Return the earliest ``not_before`` past ``after`` of the waiting requests, or None."""
        with self._session.read() as connection:
            return claims.next_due(connection, jobs, lane_id, after, selection)

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
        """Open, record and release in one transaction that is on the disk when this returns.

        Raises RuntimeError for an opening of a request that is not queued, for a closing of an attempt that is closed
        already (a lost one may be answered late), and for the release of one that is not open; then nothing of the
        group is written.
        """
        opened: list[Opened] = []
        with self._session.write() as connection:
            if released:
                release_attempts(connection, released)
                reached("commit.released")
            if beside.continued:
                keep_continued(connection, beside.continued)
                reached("commit.continued")
            if closings:
                record_attempts(connection, closings, now, self._account)
                reached("commit.recorded")
            if beside.settled:
                settle(connection, beside.settled)
                reached("commit.settled")
            if self._cancelled:
                sweep(connection)
            if openings:
                opened = open_attempts(
                    connection,
                    openings,
                    first_id=self._next_attempt,
                    runner_id=self._runner_id,
                    account=self._account,
                )
            if levels:
                driver(connection).executemany(_KEEP_LEVEL, levels)
            if openings:
                reached("commit.opened")
        self._next_attempt += len(opened)
        return opened

    def _account(self, lane_id: int) -> str:
        """Return the label of the account that a lane's attempts are billed to."""
        label = self._labels.get(lane_id)
        if label is None:
            provider = self._session.connection().execute(select(models.c.provider).where(models.c.id == lane_id))
            label = self._labels[lane_id] = self._accounts.get(provider.scalar_one(), "")
        return label

    def levels(self) -> list[BucketLevel]:
        """Return all kept bucket levels."""
        with self._session.read() as connection:
            return [BucketLevel._make(row) for row in connection.execute(select(buckets))]

    def rate(self, card: RateCard) -> int:
        """Return the id of this rate card, writing it at first sight."""
        row = rate_columns(card)
        with self._session.write() as connection:
            connection.execute(insert(rates).on_conflict_do_nothing(), row)
            known = select(rates.c.id).where(rates.c.digest == row["digest"])
            rate_id: int = connection.execute(known).scalar_one()
        return rate_id

    def learned(self, lane_id: int) -> bytes | None:
        """Return what was learned of a lane (JSON), or None."""
        with self._session.read() as connection:
            found = connection.execute(select(models.c.learned).where(models.c.id == lane_id)).scalar_one_or_none()
        return None if found is None else found.encode()

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
        """Keep a runner's heartbeat and snapshot, what it learned of lanes, and the pauses that are new or over."""
        with self._session.write() as connection:
            row = update(runners).where(runners.c.id == runner_id)
            connection.execute(row.values(heartbeat=now, snapshot=snapshot.decode()))
            for lane_id, what in learned.items():
                connection.execute(update(models).where(models.c.id == lane_id).values(learned=what.decode()))
            for scope, ref in resumed:
                ours = (pause_table.c.reason != BY_HAND, pause_table.c.scope == scope, pause_table.c.ref == ref)
                standing = (pause_table.c.ended.is_(None), *ours)
                connection.execute(update(pause_table).where(*standing).values(ended=now))
            if pauses:
                connection.execute(insert(pause_table), [pause._asdict() for pause in pauses])
        self._held.keep(mark_of(self._session))

    def finish(self, runner_id: int, now: int, reason: str) -> None:
        """Keep the runner's clean end."""
        with self._session.write() as connection:
            row = update(runners).where(runners.c.id == runner_id)
            connection.execute(row.values(heartbeat=now, ended=now, end_reason=reason))
            last = insert(meta).values(key="last_clean_end", value=str(now))
            connection.execute(last.on_conflict_do_update(index_elements=["key"], set_={"value": last.excluded.value}))
        self._held.keep(mark_of(self._session))
