"""Takes in what a run had put by beside its database: answers that are paid for, and were never recorded."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

from batchrunner.core.attempt import Billing, FailureKind, Use
from batchrunner.core.crashpoint import reached
from batchrunner.core.request import Closing, Continued, Release
from batchrunner.core.usage import UsageFrom
from batchrunner.store.base import TakenIn
from batchrunner.store.closings import record_attempts
from batchrunner.store.continuing import keep_continued
from batchrunner.store.driver import driver
from batchrunner.store.ledger import release_attempts
from batchrunner.store.rollups import add_closed
from batchrunner.store.rows import id_list

_STANDING = """SELECT a.id, a.request_id, a.opened, a.ended IS NOT NULL AND a.outcome <> 'lost', a.ended IS NULL,
 a.account
 FROM json_each(?) AS j CROSS JOIN attempts AS a ON a.id = j.value"""
_SAME = "SELECT attempts FROM requests WHERE id = ? AND job_id = ? AND model_id = ? AND digest = ?"
_ADD = """INSERT INTO attempts (id, request_id, n, runner_id, job_id, model_id, tag_set_id, endpoint, account, class,
 opened, ended, outcome, failure, billing, use, usage_from, rate_id, hold, sent_digest)
 VALUES (?, ?, ?, 0, ?, ?, ?, ?, '', 'live', ?, ?, 'lost', ?, ?, ?, ?, ?, ?, ?)"""
_COUNT = "UPDATE requests SET attempts = attempts + 1 WHERE id = ?"


class _Standing:
    """What the database knows of an attempt already."""

    __slots__ = ("account", "is_known", "is_open", "opened", "request_id")

    def __init__(self, row: Sequence[object]) -> None:
        _, self.request_id, self.opened, self.is_known, self.is_open, account = row
        self.account = str(account)

    def is_of(self, closing: Closing) -> bool:
        """Whether it is the very attempt that this closing ends: ids come again in another history."""
        return (self.request_id, self.opened) == (closing.opening.head.id, closing.opening.opened)


def take_in(connection: Connection, closings: Sequence[Closing], released: Sequence[Release], now: int) -> TakenIn:
    """Close and release attempts that are open, or were taken for lost; pass over what is closed already."""
    standing = _standing(connection, [closing.attempt_id for closing in closings])
    by_account: dict[str, list[Closing]] = defaultdict(list)
    taken, known, strange = 0, 0, 0
    for closing in {closing.attempt_id: closing for closing in closings}.values():
        there = standing.get(closing.attempt_id)
        if there is not None and there.is_of(closing):
            if there.is_known:
                known += 1
                continue
            by_account[there.account].append(closing)
        elif there is None and _add(connection, closing, now):
            by_account[""].append(closing)
        else:
            strange += 1
            continue
        taken += 1
    for account, group in by_account.items():
        record_attempts(connection, group, now, lambda _, label=account: label)  # type: ignore[misc]
    reached("takein.recorded")
    return TakenIn(taken, known, _release(connection, released), strange)


def take_in_continued(connection: Connection, continued: Sequence[Continued]) -> int:
    """Keep the continuations of attempts that are open still; return how many are of no attempt of this database."""
    standing = _standing(connection, [one.attempt_id for one in continued])
    newest = {one.attempt_id: one for one in continued if one.attempt_id in standing}
    ours = [
        one
        for attempt_id, one in newest.items()
        if (standing[attempt_id].request_id, standing[attempt_id].opened) == (one.opening.head.id, one.opening.opened)
    ]
    still = [one for one in ours if standing[one.attempt_id].is_open]
    if still:
        keep_continued(connection, still)
    return len({one.attempt_id for one in continued}) - len(ours)


def _standing(connection: Connection, attempt_ids: Sequence[int]) -> dict[int, _Standing]:
    rows = driver(connection).execute(_STANDING, (id_list(attempt_ids),)).fetchall()
    return {row[0]: _Standing(row) for row in rows}


def _add(connection: Connection, closing: Closing, now: int) -> bool:
    """Add an attempt that this copy of the database lacks, as a lost one, to be answered late; False: not of ours."""
    head, opened, rate_id, hold = closing.opening
    cursor = driver(connection)
    made = cursor.execute(_SAME, (head.id, head.job_id, head.lane_id, head.digest)).fetchone()
    if made is None:
        return False
    lost = (FailureKind.LOST.value, Billing.UNKNOWN.value, Use.WASTED.value, UsageFrom.NONE.value)
    facts = (closing.attempt_id, head.id, made[0] + 1, head.job_id, head.lane_id, head.tag_set_id, head.endpoint)
    cursor.execute(_ADD, (*facts, opened, now, *lost, rate_id, hold, head.digest))
    cursor.execute(_COUNT, (head.id,))
    add_closed(connection, [closing.attempt_id])
    return True


def _release(connection: Connection, released: Sequence[Release]) -> int:
    standing = _standing(connection, [attempt_id for attempt_id, _ in released])
    still = [
        one
        for one in {release.attempt_id: release for release in released}.values()
        if one.attempt_id in standing
        and standing[one.attempt_id].is_open
        and standing[one.attempt_id].request_id == one.head.id
    ]
    if still:
        release_attempts(connection, still)
    return len(still)
