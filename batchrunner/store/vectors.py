"""Vectors of packs, as they are written: float32, some of a pack in a row.

A row is small, as texts that say the same are looked up one by one: whoever reads a part of a long blob walks through
all pages before it.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from batchrunner.core.corpus import Vectors
from batchrunner.core.vectors import FLOAT

PIECE: Final = 8 << 10
"""Bytes of vectors in a row, about: two pages."""

Vectored = tuple[int, int, int, Vectors]
"""Request, job and attempt, and what it brought."""
Row = tuple[int, int, int, int, int, int, bytes]

_KEEP = "INSERT INTO vectors (request_id, first, attempt_id, dim, count, crc, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
_DIMENSIONS = "UPDATE corpora SET dimensions = ? WHERE job_id = ? AND dimensions IS NULL"
_PACK = "SELECT attempt_id, dim, data FROM vectors WHERE request_id = ? ORDER BY first"
_DROP = "DELETE FROM vectors WHERE request_id = ?"


def in_a_row(dimensions: int) -> int:
    """Return how many vectors of so many dimensions stand in one row: rows begin with a multiple of it."""
    return max(1, PIECE // (dimensions * FLOAT))


def keep_vectors(cursor: sqlite3.Cursor, answers: Sequence[Vectored]) -> None:
    """Keep the vectors of packs that had none, and the dimensions of corpora whose first ones these are."""
    for request_id, _, attempt_id, made in answers:
        cursor.executemany(_KEEP, _rows(request_id, attempt_id, made.dimensions, made.data))
    cursor.executemany(_DIMENSIONS, {(made.dimensions, job_id) for _, job_id, _, made in answers})


def keep_some(cursor: sqlite3.Cursor, request_id: int, places: Sequence[int]) -> None:
    """Keep the vectors of a pack that stand at these places, in their order, and drop its others.

    Without any it keeps an empty row: it was paid for.
    """
    rows = cursor.execute(_PACK, (request_id,)).fetchall()
    attempt_id, dimensions, _ = rows[0]
    data, width = b"".join(row[2] for row in rows), dimensions * FLOAT
    cursor.execute(_DROP, (request_id,))
    kept = b"".join(data[place * width : (place + 1) * width] for place in places)
    cursor.executemany(_KEEP, _rows(request_id, attempt_id, dimensions, kept))


def _rows(request_id: int, attempt_id: int, dimensions: int, data: bytes) -> Iterator[Row]:
    width = dimensions * FLOAT
    step = in_a_row(dimensions) * width
    for start in range(0, len(data) or 1, step):
        piece = data[start : start + step]
        yield request_id, start // width, attempt_id, dimensions, len(piece) // width, zlib.crc32(piece), piece
