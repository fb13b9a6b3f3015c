"""What a corpus no longer needs: packs that were never sent, and vectors of texts that are gone."""

from typing import Any

from sqlalchemy import Connection

from batchrunner.store.driver import driver
from batchrunner.store.rollups import Counts, add_counts
from batchrunner.store.rows import id_list
from batchrunner.store.vectors import keep_some

_UNNEEDED = """SELECT id, model_id FROM requests AS r WHERE job_id = ? AND state = 'queued'
 AND NOT EXISTS (SELECT 1 FROM items WHERE request_id = r.id)
 AND NOT EXISTS (SELECT 1 FROM continuations AS c WHERE c.request_id = r.id)"""
_CANCEL = """UPDATE requests SET state = 'cancelled', not_before = 0
 WHERE id IN (SELECT value FROM json_each(?))"""
_PACKS = """SELECT r.id, sum(v.count), (SELECT count(DISTINCT pos) FROM items AS i WHERE i.request_id = r.id)
 FROM requests AS r CROSS JOIN vectors AS v ON v.request_id = r.id WHERE r.job_id = ? AND r.id > ?
 GROUP BY r.id ORDER BY r.id LIMIT 10000"""
_NEEDED = "SELECT DISTINCT pos FROM items WHERE request_id = ? ORDER BY pos"
_MOVE = "UPDATE items SET pos = ? WHERE request_id = ? AND pos = ?"


def cancel_unneeded(connection: Connection, job_id: int) -> None:
    """Cancel the queued packs that hold no text of their corpus any more: nobody should pay for them."""
    cursor = driver(connection)
    rows = cursor.execute(_UNNEEDED, (job_id,)).fetchall()
    if not rows:
        return
    cursor.execute(_CANCEL, (id_list([row[0] for row in rows]),))
    counts: Counts = {}
    for _, lane_id in rows:
        for state, n in (("queued", -1), ("cancelled", 1)):
            counts[job_id, lane_id, state] = counts.get((job_id, lane_id, state), 0) + n
    add_counts(connection, counts)


def prune(connection: Connection, job_id: int) -> int:
    """Drop the vectors that no item points at, and move the others of their packs together; return how many."""
    cursor, dropped, after = driver(connection), 0, -1
    while rows := cursor.execute(_PACKS, (job_id, after)).fetchall():
        for request_id, count, needed in rows:
            if needed < count:
                dropped += count - needed
                _shrink(cursor, request_id)
        after = rows[-1][0]
    return dropped


def _shrink(cursor: Any, request_id: int) -> None:
    """Keep only the vectors of a pack that are needed. It stays, without any if need be: it was paid for."""
    kept = [row[0] for row in cursor.execute(_NEEDED, (request_id,))]
    keep_some(cursor, request_id, kept)
    for pos, before in enumerate(kept):
        if pos != before:
            cursor.execute(_MOVE, (pos, request_id, before))
