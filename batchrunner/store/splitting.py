"""A pack becomes two: the request keeps the first half of its texts, and a new request takes the second.

There is no state of its own for a request that was split, nor one that is left behind by it: every request is one
call's worth of work before and after, with one outcome, and the counts add up as ever. The digest of what an earlier
attempt sent is on that attempt. All of this is rare, and in the transaction of the closing that makes it necessary.
"""

import hashlib
import sqlite3
from collections.abc import Sequence

from batchrunner.core.corpus import Half
from batchrunner.core.retry import Split
from batchrunner.store.rows import PACK

_NEXT = "SELECT max(id) + 1 FROM requests"
_BODY = "UPDATE bodies SET data = ? WHERE request_id = ?"
_SHRINK = "UPDATE requests SET digest = ?, est_in = ?, tries = 0, crashes = 0 WHERE id = ?"
_CHILD = """INSERT INTO requests (id, job_id, line, custom_id, digest, endpoint, model_id, tag_set_id, state,
 not_before, priority, est_in, max_out, parent_id)
 SELECT ?, job_id, line, substr(custom_id, 1, instr(custom_id || '/', '/') - 1) || '/' || ?, ?, endpoint, model_id,
 tag_set_id, 'queued', ?, priority, ?, max_out, id FROM requests WHERE id = ?"""
_CHILD_BODY = "INSERT INTO bodies (request_id, codec, data) VALUES (?, ?, ?)"
_REPOINT = "UPDATE items SET request_id = ?, pos = pos - ? WHERE request_id = ? AND pos >= ?"
_JOB = """UPDATE jobs SET lines = lines + 1, last_id = max(last_id, ?)
 WHERE id = (SELECT job_id FROM requests WHERE id = ?)"""


def split(cursor: sqlite3.Cursor, splits: Sequence[tuple[Split, int]]) -> None:
    """Halve these packs, which are queued again already; their children are counted by who calls."""
    for verdict, request_id in splits:
        child = cursor.execute(_NEXT).fetchone()[0]
        first, second = verdict.first, verdict.second
        cursor.execute(_BODY, (first.body, request_id))
        cursor.execute(_SHRINK, (_digest(first), first.est_in, request_id))
        due = max(1, verdict.not_before)
        cursor.execute(_CHILD, (child, child, _digest(second), due, second.est_in, request_id))
        cursor.execute(_CHILD_BODY, (child, PACK, second.body))
        cursor.execute(_REPOINT, (child, first.texts, request_id, first.texts))
        cursor.execute(_JOB, (child, request_id))


def _digest(half: Half) -> bytes:
    return hashlib.sha256(half.body).digest()[:16]
