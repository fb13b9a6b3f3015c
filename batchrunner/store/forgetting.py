"""Texts that are gone from a corpus, taken out of the packs that still hold them: whoever deletes a text means it.

A pack's body is the only place where a text is stored. What stays of a text that is gone are its length in tokens, in
the sums, and the digest of what was sent, on its attempts. Its name and kept columns went with its item.
"""

import hashlib
import sqlite3
from collections.abc import Sequence

import msgspec

from batchrunner.core.estimate import tokens

_BODY = "SELECT b.data, r.est_in FROM bodies AS b JOIN requests AS r ON r.id = b.request_id WHERE b.request_id = ?"
_KEEP = "UPDATE bodies SET data = ? WHERE request_id = ?"
_SHRINK = "UPDATE requests SET digest = ?, est_in = ? WHERE id = ?"
_UNANSWERED = """SELECT id FROM requests WHERE job_id = ? AND id > ? AND state IN ('queued', 'failed', 'quarantined',
 'cancelled') ORDER BY id LIMIT 1000"""
_NEEDED = "SELECT DISTINCT pos FROM items WHERE request_id = ? ORDER BY pos"
_MOVE = "UPDATE items SET pos = ? WHERE request_id = ? AND pos = ?"
_MESSAGES = """UPDATE attempts SET error = NULL WHERE job_id = ? AND error IS NOT NULL AND id NOT IN
 (SELECT attempt_id FROM requests WHERE job_id = ? AND state = 'failed' AND attempt_id IS NOT NULL)"""


def needed(cursor: sqlite3.Cursor, request_id: int) -> list[int]:
    """Return the places in a pack whose texts are still in the corpus, ascending."""
    return [row[0] for row in cursor.execute(_NEEDED, (request_id,))]


def move_together(cursor: sqlite3.Cursor, request_id: int, kept: Sequence[int]) -> None:
    """Point the items of a pack at the places that its texts have, once only those at ``kept`` are left."""
    for pos, before in enumerate(kept):
        if pos != before:
            cursor.execute(_MOVE, (pos, request_id, before))


def keep_texts(cursor: sqlite3.Cursor, request_id: int, kept: Sequence[int]) -> bool:
    """Leave a pack only the texts at these places, byte for byte as they were; return whether others were there."""
    body, est_in = cursor.execute(_BODY, (request_id,)).fetchone()
    parts = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    texts = msgspec.json.decode(parts["input"], type=list[msgspec.Raw])
    if len(kept) == len(texts):
        return False
    sizes = [tokens(bytes(text)) for text in texts]
    share = sum(sizes[pos] for pos in kept) / max(1, sum(sizes))
    body = msgspec.json.encode(parts | {"input": [texts[pos] for pos in kept]})
    cursor.execute(_KEEP, (body, request_id))
    cursor.execute(_SHRINK, (hashlib.sha256(body).digest()[:16], round(est_in * share), request_id))
    return True


def forget_unanswered(cursor: sqlite3.Cursor, job_id: int) -> None:
    """Take the texts that are gone out of the packs that have no vectors, and what was said of any of them."""
    after = -1
    while rows := cursor.execute(_UNANSWERED, (job_id, after)).fetchall():
        for (request_id,) in rows:
            kept = needed(cursor, request_id)
            if keep_texts(cursor, request_id, kept):
                move_together(cursor, request_id, kept)
        after = rows[-1][0]
    cursor.execute(_MESSAGES, (job_id, job_id))  # a refusal may quote any text of its pack
