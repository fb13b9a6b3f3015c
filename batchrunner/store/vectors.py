"""Vectors of packs, as they are written: float32, one blob for a pack."""

import sqlite3
import zlib
from collections.abc import Sequence

from batchrunner.core.corpus import Vectors

Vectored = tuple[int, int, int, Vectors]
"""Request, job and attempt, and what it brought."""

_KEEP = "INSERT INTO vectors (request_id, attempt_id, dim, count, crc, data) VALUES (?, ?, ?, ?, ?, ?)"
_DIMENSIONS = "UPDATE corpora SET dimensions = ? WHERE job_id = ? AND dimensions IS NULL"


def keep_vectors(cursor: sqlite3.Cursor, answers: Sequence[Vectored]) -> None:
    """Keep the vectors of packs that had none, and the dimensions of corpora whose first ones these are."""
    cursor.executemany(
        _KEEP,
        [
            (request_id, attempt_id, made.dimensions, made.count, zlib.crc32(made.data), made.data)
            for request_id, _, attempt_id, made in answers
        ],
    )
    cursor.executemany(_DIMENSIONS, {(made.dimensions, job_id) for _, job_id, _, made in answers})
