"""Attempts that go on later: their continuations, what becomes of them, and the list of the files that they brought.

The row waits as ``queued`` with a ``not_before`` while its attempt stays open. A continuation is there from the commit
of the provider's first answer until the commit that closes its attempt.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.attempt import Billing, FailureKind, Use
from batchrunner.core.continuation import Artifact, Continuation, Step
from batchrunner.core.request import Continued, Head, Release, Resumption, Settled
from batchrunner.core.usage import UsageFrom
from batchrunner.store.driver import driver
from batchrunner.store.rollups import add_closed, move_counts, take_closed
from batchrunner.store.rows import id_list, rate_card

_KEEP = """INSERT OR REPLACE INTO continuations (request_id, attempt_id, step, target, content_type,
 provider_request_id, since, steps, misses, kept, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WAIT = "UPDATE requests SET state = 'queued', not_before = ?, runner_id = NULL WHERE id = ? AND state = 'running'"
_OPEN = """SELECT a.id FROM json_each(?) AS j CROSS JOIN attempts AS a ON a.id = j.value WHERE a.ended IS NULL"""

_RUN = """UPDATE requests SET state = 'running', runner_id = ?
 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'queued'"""
_RESUMED = """SELECT c.attempt_id, c.step, c.target, c.body, c.content_type, c.provider_request_id, c.since, c.steps,
 c.misses, c.kept, a.opened, a.rate_id, a.hold, r.card
 FROM json_each(?) AS j CROSS JOIN continuations AS c ON c.request_id = j.value
 CROSS JOIN attempts AS a ON a.id = c.attempt_id AND a.ended IS NULL LEFT JOIN rates AS r ON r.id = a.rate_id"""
_GIVE_BACK = """UPDATE requests SET state = 'queued', not_before = max(1, not_before), runner_id = NULL
 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'running' RETURNING job_id, model_id"""
_COME_BACK = """UPDATE requests SET state = 'queued', not_before = ?, runner_id = NULL
 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'running' RETURNING job_id, model_id"""

_END = "DELETE FROM continuations WHERE request_id = ? AND attempt_id = ?"
_LIST = """INSERT OR REPLACE INTO artifacts (request_id, n, attempt_id, place, sha256, type, size, name)
 SELECT id, ?, ?, ?, ?, ?, ?, ? FROM requests WHERE id = ? AND attempt_id = ? AND state = 'succeeded'"""

_OF_THESE = "SELECT c.attempt_id FROM json_each(?) AS j CROSS JOIN continuations AS c ON c.request_id = j.value"
_ABANDON = """UPDATE attempts SET ended = max(opened, ifnull((SELECT max(heartbeat) FROM runners), 0)),
 outcome = 'lost', failure = ?, billing = ?, use = ?, usage_from = ?
 WHERE id IN (SELECT value FROM json_each(?)) AND ended IS NULL"""
_REGAIN = """UPDATE attempts SET ended = NULL, outcome = NULL, failure = NULL, billing = NULL, use = NULL,
 usage_from = NULL WHERE id IN (SELECT value FROM json_each(?)) AND outcome = 'lost'"""


def keep_continued(connection: Connection, continued: Sequence[Continued]) -> None:
    """Write continuations, and send their requests back to the queue unless their workers go on at once.

    Raises RuntimeError for an attempt that is not open.
    """
    cursor = driver(connection)
    ids = [one.attempt_id for one in continued]
    if len(cursor.execute(_OPEN, (id_list(ids),)).fetchall()) != len(set(ids)):
        raise RuntimeError("an attempt that is not open can't be continued")
    waiting: list[tuple[int, int, str, str, int]] = []
    for attempt_id, opening, continuation, verdict in continued:
        head = opening.head
        cursor.execute(_KEEP, (head.id, attempt_id, *_columns(continuation)))
        if not verdict.stays and cursor.execute(_WAIT, (max(1, verdict.not_before), head.id)).rowcount:
            waiting.append((head.job_id, head.lane_id, "running", "queued", 1))
    move_counts(connection, waiting)


def resume_attempts(connection: Connection, heads: Sequence[Head], runner_id: int) -> dict[int, Resumption]:
    """Set requests running whose attempts go on; return by attempt where each does.

    Raises RuntimeError for a request that is not queued, or whose attempt has ended since it was claimed.
    """
    cursor = driver(connection)
    ids = id_list([head.id for head in heads])
    moved = cursor.execute(_RUN, (runner_id, ids)).rowcount
    found = {row[0]: _resumption(row) for row in cursor.execute(_RESUMED, (ids,))}
    if moved != len(heads) or found.keys() != {head.continues for head in heads}:
        raise RuntimeError(f"{len(heads)} attempts were to go on, but {moved} requests and {len(found)} attempts can")
    return found


def give_back(connection: Connection, released: Sequence[Release]) -> None:
    """Queue requests again whose next step was not made: their attempts stay open."""
    _requeue(connection, _GIVE_BACK, (id_list([head.id for _, head in released]),))


def come_back(connection: Connection, request_ids: Sequence[int], now: int) -> None:
    """Queue requests of a dead runner again, whose attempts are not lost: they have continuations."""
    _requeue(connection, _COME_BACK, (max(1, now), id_list(request_ids)))


def _requeue(connection: Connection, statement: str, values: tuple[Any, ...]) -> None:
    moved = driver(connection).execute(statement, values).fetchall()
    move_counts(connection, ((job_id, lane_id, "running", "queued", 1) for job_id, lane_id in moved))


def settle(connection: Connection, settled: Sequence[Settled]) -> None:
    """End continuations whose attempts have just been closed, and list the files of those that were used."""
    cursor = driver(connection)
    for attempt_id, request_id, artifacts in settled:
        cursor.execute(_END, (request_id, attempt_id))
        for n, (place, sha256, kind, size, name) in enumerate(artifacts):
            cursor.execute(_LIST, (n, attempt_id, place, sha256, kind, size, name, request_id, attempt_id))


def abandon(connection: Connection, request_ids: Sequence[int]) -> None:
    """Close the open attempts of cancelled requests: nobody asks for them any more, and they may be billed.

    Their continuations stay: an uncancelled request goes on with what was bought.
    """
    ids = _continuing(connection, request_ids)
    if ids:
        facts = (FailureKind.INTERRUPTED.value, Billing.UNKNOWN.value, Use.WASTED.value, UsageFrom.NONE.value)
        driver(connection).execute(_ABANDON, (*facts, id_list(ids)))
        add_closed(connection, ids)


def regain(connection: Connection, request_ids: Sequence[int]) -> None:
    """Open the attempts again that ``abandon`` closed."""
    ids = _continuing(connection, request_ids)
    if ids:
        take_closed(connection, ids)
        driver(connection).execute(_REGAIN, (id_list(ids),))


def _continuing(connection: Connection, request_ids: Sequence[int]) -> list[int]:
    return [row[0] for row in driver(connection).execute(_OF_THESE, (id_list(request_ids),))]


def _columns(continuation: Continuation) -> tuple[Any, ...]:
    step, target, answer, content_type, request_id, since, steps, misses, kept = continuation
    return (step.value, target, content_type, request_id, since, steps, misses, json.dumps(kept), answer)


def _resumption(row: tuple[Any, ...]) -> Resumption:
    _, step, target, answer, content_type, request_id, since, steps, misses, kept, opened, rate_id, hold, card = row
    files = tuple(Artifact(*artifact) for artifact in json.loads(kept))
    continuation = Continuation(Step(step), target, answer, content_type, request_id, since, steps, misses, files)
    return Resumption(continuation, opened, rate_id, hold, None if card is None else rate_card(card))
