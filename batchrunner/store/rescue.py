"""Taking over from the dead. Whoever calls this holds the lock, so every earlier runner is gone."""

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from batchrunner.core.attempt import Billing, FailureKind, Use
from batchrunner.core.crashpoint import reached
from batchrunner.core.usage import UsageFrom
from batchrunner.store.base import BY_HAND, Rescue, RunnerInfo
from batchrunner.store.continuing import come_back
from batchrunner.store.copies import any_copies, follow
from batchrunner.store.rollups import add_closed, move_counts
from batchrunner.store.rows import id_list
from batchrunner.store.selecting import listed
from batchrunner.store.tables import attempts, continuations, meta, pauses, requests, runners

_OPEN = (
    select(attempts.c.id, attempts.c.request_id, attempts.c.hold, continuations.c.attempt_id)
    .outerjoin_from(
        attempts,
        continuations,
        (continuations.c.request_id == attempts.c.request_id) & (continuations.c.attempt_id == attempts.c.id),
    )
    .where(text("attempts.ended IS NULL"))
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

UNCLEAN_ENDS = 5
"""Crashes that a request must have been in the air at before it is quarantined."""
ALONE_TWICE = 2
"""Of those, the last ones that must have had few calls out."""
FEW = 8
"""Calls out at a crash, of which fewer make each of them suspect."""

_SUSPECTS = select(requests.c.id, requests.c.job_id, requests.c.model_id, requests.c.crashes).where(
    requests.c.id.in_(_THESE), requests.c.state == "queued", requests.c.crashes >= UNCLEAN_ENDS
)
_SET_ASIDE = (
    update(requests)
    .where(requests.c.id.in_(_THESE))
    .values(state="quarantined", not_before=0, failure=FailureKind.LOST.value)
)
BEYOND_DOUBT = 12
"""Crashes after which it no longer matters whether other calls had landed before them."""

_ENDS = "SELECT id, runner_id, ended FROM attempts WHERE request_id = ? AND outcome = 'lost' ORDER BY id DESC"
_LANDED_MEANWHILE = """SELECT EXISTS (SELECT 1 FROM attempts
 WHERE id > ? AND id <= ? AND runner_id = ? AND outcome <> 'lost')"""
_LOOK_AHEAD = 4_096
"""Attempts after a lost one that are looked at: some of these land before it where the runner lived long enough."""
_OUT_THEN = "SELECT count(*) FROM attempts WHERE runner_id = ? AND ended = ? AND outcome = 'lost'"


def rescue(connection: Connection, now: int) -> Rescue:
    """Close what the dead left open as lost attempts, and queue their requests again with their tries unchanged.

    A lost attempt may have been billed: it keeps its hold, and its cost stays unknown. An attempt with a continuation
    is not lost: it goes on without buying again. Reads the index of open attempts only, and is idempotent.
    """
    left = connection.execute(_OPEN).all()
    lost = [row for row in left if row.attempt_id is None]
    if len(lost) < len(left):
        come_back(connection, [row.request_id for row in left if row.attempt_id is not None], now)
    if not lost:
        return Rescue(0, 0, 0, 0)
    attempt_ids = [row.id for row in lost]
    connection.execute(_CLOSE, {"ids": id_list(attempt_ids), "now": now})
    add_closed(connection, attempt_ids)
    request_ids = id_list([row.request_id for row in lost])
    moved = connection.execute(_BY_LANE, {"ids": request_ids}).all()
    connection.execute(_REQUEUE, {"ids": request_ids, "now": max(1, now)})
    move_counts(connection, ((job_id, lane_id, "running", "queued", n) for job_id, lane_id, n in moved))
    quarantined = _quarantine(connection, request_ids, len(lost))
    reached("rescue")
    holds = [row.hold for row in lost if row.hold is not None]
    return Rescue(len(lost), sum(holds), len(lost) - len(holds), quarantined)


def _quarantine(connection: Connection, request_ids: str, lost: int) -> int:
    """Set aside the requests that seem to kill their runner; return how many.

    A request is under suspicion when it was in the air at ``UNCLEAN_ENDS`` unclean ends; most that share a crash are
    innocent. Only what waits in the queue moves: an answer that was written wins.
    """
    if lost >= FEW:
        return 0
    suspects = connection.execute(_SUSPECTS, {"ids": request_ids}).all()
    guilty = [row for row in suspects if _is_suspicious(connection, row.id, row.crashes)]
    if not guilty:
        return 0
    connection.execute(_SET_ASIDE, {"ids": id_list([row.id for row in guilty])})
    move_counts(connection, ((row.job_id, row.model_id, "queued", "quarantined", 1) for row in guilty))
    if any_copies(connection):
        follow(connection, [row.id for row in guilty])
    return len(guilty)


def _is_suspicious(connection: Connection, request_id: int, crashes: int) -> bool:
    """Whether the crashes that a request was in the air at speak against it.

    At the last two, few calls were out. And at ``UNCLEAN_ENDS`` of them it was alone, or a call that was opened later
    had landed while it was still out: a runner that is killed before anything lands accuses nobody, until it has
    happened ``BEYOND_DOUBT`` times.
    """
    ends = connection.exec_driver_sql(_ENDS, (request_id,)).all()
    out = [
        connection.exec_driver_sql(_OUT_THEN, (runner_id, ended)).scalar_one()
        for _, runner_id, ended in ends[:BEYOND_DOUBT]
    ]
    if len(out) < ALONE_TWICE or max(out[:ALONE_TWICE]) >= FEW:
        return False
    if crashes >= BEYOND_DOUBT:
        return True
    telling = 0
    for (attempt_id, runner_id, _), calls in zip(ends, out, strict=False):
        upto = attempt_id + _LOOK_AHEAD
        landed = connection.exec_driver_sql(_LANDED_MEANWHILE, (attempt_id, upto, runner_id)).scalar_one()
        telling += calls == 1 or landed
    return telling >= UNCLEAN_ENDS


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
