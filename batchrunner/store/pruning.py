"""What a corpus no longer needs: packs that were never sent, texts that are gone, and their vectors."""

from typing import Any

from sqlalchemy import Connection

from batchrunner.store.driver import driver
from batchrunner.store.forgetting import forget_unanswered, keep_texts, move_together, needed
from batchrunner.store.rollups import move_counts
from batchrunner.store.rows import id_list
from batchrunner.store.vectors import keep_some

_OF_A_CORPUS = "SELECT 1 FROM corpora WHERE job_id = ?"
_UNNEEDED = """SELECT id, model_id, state FROM requests AS r WHERE job_id = ?
 AND state IN ('queued', 'failed', 'quarantined') AND NOT EXISTS (SELECT 1 FROM items WHERE request_id = r.id)
 AND NOT EXISTS (SELECT 1 FROM continuations AS c WHERE c.request_id = r.id)"""
_CANCEL = """UPDATE requests SET state = 'cancelled', not_before = 0, failure = NULL, attempt_id = NULL
 WHERE id IN (SELECT value FROM json_each(?))"""
_PACKS = """SELECT r.id, sum(v.count), (SELECT count(DISTINCT pos) FROM items AS i WHERE i.request_id = r.id)
 FROM requests AS r CROSS JOIN vectors AS v ON v.request_id = r.id WHERE r.job_id = ? AND r.id > ?
 GROUP BY r.id ORDER BY r.id LIMIT 10000"""


def cancel_unneeded(connection: Connection, job_id: int) -> None:
    """Cancel the packs that hold no text of their corpus any more: nobody should pay for them, or look at why they
    failed. Other jobs have none.
    """
    cursor = driver(connection)
    if cursor.execute(_OF_A_CORPUS, (job_id,)).fetchone() is None:
        return
    rows = cursor.execute(_UNNEEDED, (job_id,)).fetchall()
    if not rows:
        return
    cursor.execute(_CANCEL, (id_list([row[0] for row in rows]),))
    move_counts(connection, ((job_id, lane_id, before, "cancelled", 1) for _, lane_id, before in rows))


def prune(connection: Connection, job_id: int) -> int:
    """Drop the texts and vectors that no item points at, and move the others of their packs together; return how many
    vectors.
    """
    cancel_unneeded(connection, job_id)
    cursor, dropped, after = driver(connection), 0, -1
    while rows := cursor.execute(_PACKS, (job_id, after)).fetchall():
        for request_id, count, wanted in rows:
            if wanted < count:
                dropped += count - wanted
                _shrink(cursor, request_id)
        after = rows[-1][0]
    forget_unanswered(cursor, job_id)
    return dropped


def _shrink(cursor: Any, request_id: int) -> None:
    """Keep only the vectors of a pack that are needed. It stays, without any if need be: it was paid for."""
    kept = needed(cursor, request_id)
    keep_texts(cursor, request_id, kept)
    keep_some(cursor, request_id, kept)
    move_together(cursor, request_id, kept)
