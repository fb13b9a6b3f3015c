"""Vectors that leave the database as they are written: a shard that is safe takes its vectors with it."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from sqlalchemy import update

from batchrunner.core.crashpoint import reached
from batchrunner.store.corpusbase import Corpus, Embedded
from batchrunner.store.corpustables import LEAVING, corpora
from batchrunner.store.driver import driver
from batchrunner.store.rows import id_list
from batchrunner.store.sqlite import Session

AT_ONCE = 500
"""Packs whose vectors one transaction drops: each has up to 1.5 MB of them."""
LOOKED_AT = 20_000
"""Texts that one transaction looks at."""

_PARTS = """SELECT seq, request_id FROM items
 WHERE corpus_id = ? AND version = ? AND seq >= ? AND seq < ? ORDER BY seq, part"""
_GONE = """SELECT ifnull(max(i.seq) + 1, 0) FROM items AS i JOIN requests AS r ON r.id = i.request_id
 LEFT JOIN vectors AS v ON v.request_id = r.id AND v.first = 0
 WHERE i.corpus_id = ? AND i.version = ? AND r.state = 'succeeded' AND v.request_id IS NULL"""
_PACKS = """SELECT DISTINCT request_id FROM items
 WHERE corpus_id = ? AND version = ? AND seq >= ? AND seq < ? AND request_id IS NOT NULL"""
_DROP = """DELETE FROM vectors WHERE request_id IN (SELECT value FROM json_each(?)) AND NOT EXISTS
 (SELECT 1 FROM items AS i WHERE i.request_id = vectors.request_id AND i.version = ? AND i.seq >= ?)"""


def places(session: Session, corpus: Corpus, among: Embedded) -> Iterator[int]:
    """Yield the place in the source of each text that has one of these vectors, ascending."""
    for first in range(0, corpus.texts, LOOKED_AT):
        with session.read() as connection:
            bounds = (corpus.id, corpus.version, first, first + LOOKED_AT)
            rows = driver(connection).execute(_PARTS, bounds).fetchall()
        for seq, parts in groupby(rows, itemgetter(0)):
            if all(request_id is not None and among.has(request_id) for _, request_id in parts):
                yield seq


def gone(session: Session, corpus: Corpus) -> int:
    """Return the place in the source from which on no vector was dropped; looks at all texts."""
    with session.read() as connection:
        place: int = driver(connection).execute(_GONE, (corpus.id, corpus.version)).fetchone()[0]
    return place


def leave(session: Session, corpus: Corpus, first: int, upto: int) -> None:
    """Drop the vectors that texts from place ``first`` to before ``upto`` need, and none from ``upto`` on."""
    with session.write() as connection:
        connection.execute(update(corpora).where(corpora.c.id == corpus.id).values(keep=LEAVING))
        rows = driver(connection).execute(_PACKS, (corpus.id, corpus.version, first, upto))
        packs = [row[0] for row in rows]
    for start in range(0, len(packs), AT_ONCE):
        reached("corpus.leave")
        with session.write() as connection:
            some = id_list(packs[start : start + AT_ONCE])
            driver(connection).execute(_DROP, (some, corpus.version, upto))
    reached("corpus.left")
