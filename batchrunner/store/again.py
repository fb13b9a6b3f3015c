"""Requests that are asked again although they have an answer: another body, and the way back to what they had.

All of this is rare, and in the transaction that makes it necessary.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.request import Opened
from batchrunner.core.retry import AskAgain
from batchrunner.store.driver import driver
from batchrunner.store.rollups import add_closed, move_counts, take_closed
from batchrunner.store.rows import id_list

_AGAIN = """SELECT b.request_id, b.again, b.repairs, b.raises FROM json_each(?) AS j
 CROSS JOIN bodies AS b ON b.request_id = j.value WHERE b.again IS NOT NULL"""
_OWN = ("body", "repairs", "raises")
_SENT = "UPDATE attempts SET sent_digest = ?, patch = ? WHERE id = ?"
_BODY = "UPDATE bodies SET again = ?, repairs = repairs + ?, raises = raises + ? WHERE request_id = ?"
_SIZE = "UPDATE requests SET est_in = ?, max_out = ? WHERE id = ?"

_KEPT = """SELECT a.request_id, max(a.id) FROM json_each(?) AS j CROSS JOIN attempts AS a ON a.request_id = j.value
 CROSS JOIN discards AS d ON d.attempt_id = a.id WHERE a.outcome = 'reply' AND a.billing = 'billed' GROUP BY 1"""
_USE = "UPDATE attempts SET use = ? WHERE id IN (SELECT value FROM json_each(?))"
_ANSWER = """INSERT INTO responses (request_id, attempt_id, crc, codec, body)
 SELECT a.request_id, d.attempt_id, d.crc, d.codec, d.body FROM json_each(?) AS j
 CROSS JOIN discards AS d ON d.attempt_id = j.value CROSS JOIN attempts AS a ON a.id = d.attempt_id"""
_TAKEN = "DELETE FROM discards WHERE attempt_id IN (SELECT value FROM json_each(?))"
_SETTLE = """UPDATE requests SET state = 'succeeded', not_before = 0, attempt_id = ?, failure = NULL, runner_id = NULL
 WHERE id = ?"""

_FLAGGED = """SELECT r.id, r.attempt_id, r.model_id FROM attempts AS a INDEXED BY attempts_flagged
 CROSS JOIN requests AS r ON r.id = a.request_id AND r.attempt_id = a.id
 WHERE a.job_id = ? AND a.flags IS NOT NULL AND a.use = 'used' AND r.state = 'succeeded'"""
_NAMED = """ AND r.id IN (SELECT coalesce(n.copy_of, n.id) FROM requests AS n WHERE n.job_id = a.job_id
 AND n.custom_id IN (SELECT value FROM json_each(?)))"""
_PUT_BY = """INSERT OR REPLACE INTO discards (attempt_id, crc, codec, body)
 SELECT attempt_id, crc, codec, body FROM responses WHERE request_id IN (SELECT value FROM json_each(?))"""
_EMPTY = "DELETE FROM responses WHERE request_id IN (SELECT value FROM json_each(?))"
_QUEUE = """UPDATE requests SET state = 'queued', not_before = ?, tries = 0, crashes = 0, attempt_id = NULL
 WHERE id IN (SELECT value FROM json_each(?))"""
_AS_LOADED = """UPDATE bodies SET again = NULL, repairs = 0, raises = 0
 WHERE request_id IN (SELECT value FROM json_each(?)) AND again IS NOT NULL"""

AT_ONCE = 1_000
"""Answers that one transaction puts by."""


def with_bodies_of_their_own(
    connection: Connection, opened: list[Opened], asked: Sequence[int], tried: Sequence[int]
) -> list[Opened]:
    """Put in what is sent to those of the requests that are asked again, and keep its digest on their attempts.

    ``opened`` are the attempts of the requests ``asked``, in this order; ``tried`` those that had attempts before.
    """
    cursor = driver(connection)
    again = {row[0]: row[1:] for row in cursor.execute(_AGAIN, (id_list(tried),))}
    if not again:
        return opened
    changed = [
        one._replace(**dict(zip(_OWN, again[request_id], strict=True))) if request_id in again else one
        for one, request_id in zip(opened, asked, strict=True)
    ]
    sent = [one for one in changed if one.answered]
    digests = [(hashlib.sha256(one.body).digest()[:16], _patch(one), one.attempt_id) for one in sent]
    cursor.executemany(_SENT, digests)
    return changed


def _patch(opened: Opened) -> str:
    """Say in a word or two how a body differs from the one that was loaded."""
    counted = (("repair", opened.repairs), ("raise", opened.raises))
    return " ".join(f"{word}:{times}" for word, times in counted if times)


def ask_again(cursor: sqlite3.Cursor, asked: Sequence[tuple[AskAgain, int]]) -> None:
    """Keep what is sent to these requests from here on, and what it may come to."""
    cursor.executemany(_BODY, [(one.body, int(not one.raised), int(one.raised), key) for one, key in asked])
    cursor.executemany(_SIZE, [(one.est_in, one.max_out, key) for one, key in asked])


def fall_back(connection: Connection, requests: Sequence[int]) -> None:
    """Give requests the last answer that they had, and was put by for a better one.

    Their attempts are closed. Raises RuntimeError for a request that has none.
    """
    cursor = driver(connection)
    kept: dict[int, int] = dict(cursor.execute(_KEPT, (id_list(requests),)))
    if len(kept) != len(set(requests)):
        raise RuntimeError("a request falls back to an answer that it never had")
    attempts = list(kept.values())
    take_closed(connection, attempts)
    cursor.execute(_USE, ("used", id_list(attempts)))
    cursor.execute(_ANSWER, (id_list(attempts),))
    cursor.execute(_TAKEN, (id_list(attempts),))
    cursor.executemany(_SETTLE, [(attempt, request) for request, attempt in kept.items()])
    add_closed(connection, attempts)


def retry_flagged(connection: Connection, job_id: int, custom_ids: str | None, now: int) -> int:
    """Queue some requests again whose answers are flagged, as they were loaded; return how many.

    Their answers are kept as wasted ones: what they have cost stays counted. ``custom_ids`` is a JSON list, or None.
    """
    cursor = driver(connection)
    narrowed = _FLAGGED if custom_ids is None else _FLAGGED + _NAMED
    values: tuple[Any, ...] = (job_id,) if custom_ids is None else (job_id, custom_ids)
    rows = cursor.execute(f"{narrowed} LIMIT {AT_ONCE}", values).fetchall()
    if not rows:
        return 0
    requests, attempts = id_list([row[0] for row in rows]), [row[1] for row in rows]
    take_closed(connection, attempts)
    cursor.execute(_USE, ("wasted", id_list(attempts)))
    cursor.execute(_PUT_BY, (requests,))
    cursor.execute(_EMPTY, (requests,))
    cursor.execute(_QUEUE, (max(1, now), requests))
    cursor.execute(_AS_LOADED, (requests,))
    add_closed(connection, attempts)
    return move_counts(connection, ((job_id, lane_id, "succeeded", "queued", 1) for _, _, lane_id in rows))
