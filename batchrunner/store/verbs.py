"""What people do to jobs beside loading and running them: pause, resume, cancel, and take a cancel back."""

from collections.abc import Sequence

from sqlalchemy import Connection, Update, func, insert, select, text, update

from batchrunner.core.budget import Budget
from batchrunner.core.job import JobState
from batchrunner.core.pricing import Price
from batchrunner.store.base import BY_HAND, Pause, Target
from batchrunner.store.budgets import drop_budget, keep_budget
from batchrunner.store.continuing import abandon, regain
from batchrunner.store.moneytables import counts
from batchrunner.store.pausing import standing
from batchrunner.store.prices import add_prices, read_prices
from batchrunner.store.pruning import cancel_unneeded
from batchrunner.store.rollups import move_counts
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import jobs, pauses, requests
from batchrunner.store.tagging import Change, retag

MOVED_AT_ONCE = 10_000
"""Rows that one transaction cancels or takes back: a live run commits between two of them."""

_LEFT = (
    select(counts.c.job_id, counts.c.model_id)
    .join(jobs, jobs.c.id == counts.c.job_id)
    .where(jobs.c.state == JobState.CANCELLED.value, counts.c.state == "queued", counts.c.n > 0)
)


class SqliteVerbs:
    """``Verbs`` over one writing session. Its caller holds the lock."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cancelled = False
        self._taken_back: dict[int, int] = {}

    def pauses(self) -> list[Pause]:
        """Return the pauses that have not ended, oldest first."""
        with self._session.read() as connection:
            return standing(connection)

    def pause(self, targets: Sequence[Target], evidence: str, now: int) -> list[Pause]:
        """Hold targets back until ``resume``; return the pauses that are new. One that stands keeps its reason."""
        with self._session.write() as connection:
            known = {(pause.scope, pause.ref) for pause in standing(connection) if pause.reason == BY_HAND}
            new = [
                Pause(scope, ref, BY_HAND, evidence, now)
                for scope, ref in dict.fromkeys(map(tuple, targets))
                if (scope, ref) not in known
            ]
            if new:
                connection.execute(insert(pauses), [pause._asdict() for pause in new])
        return new

    def resume(self, targets: Sequence[Target] | None, now: int) -> list[Pause]:
        """End what a person paused of these targets, or with None all of it; return what was ended."""
        wanted = None if targets is None else {(target.scope, target.ref) for target in targets}
        with self._session.write() as connection:
            ended = [
                pause
                for pause in standing(connection)
                if pause.reason == BY_HAND and (wanted is None or (pause.scope, pause.ref) in wanted)
            ]
            for pause in ended:
                these = (pauses.c.scope == pause.scope, pauses.c.ref == pause.ref, pauses.c.reason == pause.reason)
                connection.execute(update(pauses).where(pauses.c.ended.is_(None), *these).values(ended=now))
        return ended

    def prices(self) -> list[Price]:
        """Return the prices that were set here, oldest first. Raises DatabaseError for what is none."""
        with self._session.read() as connection:
            return read_prices(connection)

    def add_prices(self, entries: Sequence[Price]) -> None:
        """Add prices; of two that say the same the newer one counts."""
        with self._session.write() as connection:
            add_prices(connection, entries)

    def keep_budget(self, budget: Budget, now: int) -> None:
        """Write a budget, in the place of an earlier one of the same scope and period."""
        with self._session.write() as connection:
            keep_budget(connection, budget, now)

    def drop_budget(self, budget: Budget) -> bool:
        """Remove the budget of this scope and period; return whether there was one."""
        with self._session.write() as connection:
            return drop_budget(connection, budget)

    def cancel(self, job_id: int) -> bool:
        """Close a job; its rows are cancelled by ``sweep``. Return False where it was closed already."""
        self._cancelled = True
        with self._session.write() as connection:
            row = update(jobs).where(jobs.c.id == job_id, jobs.c.state == JobState.OPEN.value)
            return connection.execute(row.values(state=JobState.CANCELLED.value)).rowcount > 0

    def sweep(self) -> int:
        """Cancel some queued rows of cancelled jobs; return how many, 0 once none is left."""
        with self._session.write() as connection:
            return sweep(connection)

    def reopen(self, job_id: int) -> bool:
        """Open a cancelled job again; its rows come back by ``take_back``. Return False where it is not cancelled."""
        self._taken_back.pop(job_id, None)
        with self._session.write() as connection:
            row = update(jobs).where(jobs.c.id == job_id, jobs.c.state == JobState.CANCELLED.value)
            return connection.execute(row.values(state=JobState.OPEN.value)).rowcount > 0

    def take_back(self, job_id: int, now: int) -> int:
        """Queue some cancelled rows of a job again; return how many, 0 once none is left."""
        with self._session.write() as connection:
            lanes = select(counts.c.model_id).where(
                counts.c.job_id == job_id, counts.c.state == "cancelled", counts.c.n > 0
            )
            if not connection.execute(lanes).all():
                return 0
            first, last = connection.execute(select(jobs.c.first_id, jobs.c.last_id).where(jobs.c.id == job_id)).one()
            start = self._taken_back.get(job_id, first)  # nothing before it is cancelled any more
            some = (
                select(requests.c.id)
                .where(text("state = 'cancelled'"), requests.c.id.between(start, last), requests.c.job_id == job_id)
                .order_by(requests.c.id)
                .limit(MOVED_AT_ONCE)
            )
            # What was tried comes back as due, so that fresh cursors stay simple.
            back = update(requests).where(requests.c.id.in_(some))
            values = {"state": "queued", "not_before": func.iif(requests.c.attempts == 0, 0, max(1, now)), "tries": 0}
            moved = _move(connection, back.values(values), "cancelled", "queued")
            regain(connection, moved)
            cancel_unneeded(connection, job_id)
        if moved:
            self._taken_back[job_id] = max(moved) + 1
        return len(moved)

    def retag(self, job_id: int, change: Change, *, lines: bool, now: int) -> None:
        """Change a job's tags (None takes one away), and with ``lines`` those that its lines brought themselves."""
        with self._session.write() as connection:
            retag(connection, job_id, change, lines=lines, now=now)


def sweep(connection: Connection, most: int = MOVED_AT_ONCE) -> int:
    """Cancel queued rows of cancelled jobs, at most so many; return how many. Costs one small look where none is."""
    moved = 0
    for job_id, lane_id in connection.execute(_LEFT).all():
        for waits in ("not_before = 0", "not_before > 0"):  # each along an index of its own
            if moved < most:
                moved += _sweep_lane(connection, job_id, lane_id, waits, most - moved)
    return moved


def _sweep_lane(connection: Connection, job_id: int, lane_id: int, waits: str, most: int) -> int:
    some = (
        select(requests.c.id)
        .where(text(f"state = 'queued' AND {waits}"), requests.c.job_id == job_id, requests.c.model_id == lane_id)
        .limit(most)
    )
    gone = update(requests).where(requests.c.id.in_(some)).values(state="cancelled", not_before=0)
    moved = _move(connection, gone, "queued", "cancelled")
    if moved and waits != "not_before = 0":
        abandon(connection, moved)
    return len(moved)


def _move(connection: Connection, change: Update, before: str, after: str) -> list[int]:
    """Execute a change of requests' states and move their counts along; return the requests' ids."""
    statement = change.returning(requests.c.id, requests.c.job_id, requests.c.model_id)
    rows = connection.execute(statement).all()
    move_counts(connection, ((job_id, lane_id, before, after, 1) for _, job_id, lane_id in rows))
    return [request_id for request_id, _, _ in rows]
