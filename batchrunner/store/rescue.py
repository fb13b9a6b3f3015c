"""Taking over from the dead. Whoever calls this holds the lock, so every earlier runner is gone."""

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from batchrunner.core.attempt import Billing, FailureKind, Use
from batchrunner.core.usage import UsageFrom
from batchrunner.store.base import BY_HAND, Rescue, RunnerInfo
from batchrunner.store.rollups import add_closed, add_counts
from batchrunner.store.rows import id_list
from batchrunner.store.selecting import listed
from batchrunner.store.tables import attempts, meta, pauses, requests, runners

_LOST = select(attempts.c.id, attempts.c.request_id, attempts.c.hold).where(
    text("ended IS NULL"), attempts.c.continuation.is_(None)
)
_THESE = listed("ids")
_CLOSE = (
    update(attempts)
    .where(attempts.c.id.in_(_THESE))
    .values(
        ended=bindparam("now"),
        outcome="lost",
        failure=FailureKind.LOST.value,
        billing=Billing.UNKNOWN.value,
        use=Use.WASTED.value,
        usage_from=UsageFrom.NONE.value,
    )
)
_RUNNING = requests.c.id.in_(_THESE) & (requests.c.state == "running")
_BY_LANE = select(requests.c.job_id, requests.c.model_id, func.count()).where(_RUNNING).group_by(text("1, 2"))
_REQUEUE = (
    update(requests)
    .where(_RUNNING)
    .values(
        state="queued",
        not_before=bindparam("now"),  # never 0: what was tried comes back as due, so fresh cursors stay simple
        crashes=requests.c.crashes + 1,
        runner_id=None,
    )
)


def rescue(connection: Connection, now: int) -> Rescue:
    """Close what the dead left open as lost attempts, and queue their requests again with their tries unchanged.

    A lost attempt may have been billed: it keeps its hold, and its cost stays unknown. An attempt with a continuation
    is not lost: it can go on without buying again. Reads the index of open attempts only, and is idempotent.
    """
    lost = connection.execute(_LOST).all()
    if not lost:
        return Rescue(0, 0, 0)
    attempt_ids = [row.id for row in lost]
    connection.execute(_CLOSE, {"ids": id_list(attempt_ids), "now": now})
    add_closed(connection, attempt_ids)
    request_ids = id_list([row.request_id for row in lost])
    moved = connection.execute(_BY_LANE, {"ids": request_ids}).all()
    connection.execute(_REQUEUE, {"ids": request_ids, "now": max(1, now)})
    counts = {}
    for job_id, model_id, n in moved:
        counts[job_id, model_id, "running"] = -n
        counts[job_id, model_id, "queued"] = n
    add_counts(connection, counts)
    holds = [row.hold for row in lost if row.hold is not None]
    return Rescue(len(lost), sum(holds), len(lost) - len(holds))


def register(connection: Connection, info: RunnerInfo, now: int) -> int:
    """Write the new runner; every earlier one has ended, and the pauses that it made. Return the runner's id."""
    connection.execute(update(runners).where(runners.c.ended.is_(None)).values(ended=now, end_reason="died"))
    connection.execute(update(pauses).where(pauses.c.ended.is_(None), pauses.c.reason != BY_HAND).values(ended=now))
    connection.execute(
        update(meta).where(meta.c.key == "runs").values(value=text("CAST(CAST(value AS INTEGER) + 1 AS TEXT)"))
    )
    row = insert(runners).values(**info._asdict(), started=now, heartbeat=now)
    (runner_id,) = connection.execute(row).inserted_primary_key or (0,)
    return int(runner_id)
