"""Reads of corpora on SQLite: vectors in the order of the source, texts without one, counts. A page a transaction."""

import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from batchrunner.core.corpus import EMPTY, TOO_LONG, TextCounts
from batchrunner.core.errors import DatabaseError
from batchrunner.core.vectors import FLOAT, VectorBatch
from batchrunner.store.corpora import corpus_of
from batchrunner.store.corpusbase import Corpus, Embedded, Missing
from batchrunner.store.corpustables import corpora
from batchrunner.store.driver import driver
from batchrunner.store.leaving import gone, places
from batchrunner.store.sqlite import Session
from batchrunner.store.vectors import in_a_row

PAGE = 2 << 20
"""Bytes of vectors in a batch, about."""
LOOKED_AT = 20_000
"""Texts that one transaction looks at in search of those without a vector."""

_PAGE = """SELECT seq, request_id, pos, weight, ext_id, kept FROM items
 WHERE corpus_id = ? AND version = ? AND seq >= ? AND seq < ? ORDER BY seq, part"""
_ROWS = """SELECT v.request_id, v.first, v.crc, v.data FROM json_each(?) AS j
 CROSS JOIN vectors AS v ON v.request_id = j.value ->> 0 AND v.first = j.value ->> 1"""
_ANSWERED = "SELECT id FROM requests WHERE job_id = ? AND state = 'succeeded' ORDER BY id"
_KEPT = """SELECT kept FROM items WHERE corpus_id = ? AND version = ? AND seq >= ? AND seq < ?
 AND kept <> CAST('{}' AS BLOB) ORDER BY seq, part"""
_MISSING = """SELECT i.seq, i.ext_id, i.note, r.state, r.failure, a.error, a.status
 FROM items AS i LEFT JOIN requests AS r ON r.id = i.request_id LEFT JOIN attempts AS a ON a.id = r.attempt_id
 WHERE i.corpus_id = ? AND i.version = ? AND i.seq >= ? AND i.seq < ?
 AND (r.id IS NULL OR r.state <> 'succeeded') ORDER BY i.seq, i.part"""
_WHOLE = """SELECT count(*) FILTER (WHERE r.state = 'succeeded'),
 count(*) FILTER (WHERE r.state IN ('queued', 'running')),
 count(*) FILTER (WHERE r.state NOT IN ('succeeded', 'queued', 'running')), count(*) FILTER (WHERE note = 'empty'),
 count(*) FILTER (WHERE note = 'too_long'), count(*) FILTER (WHERE note = 'duplicate')
 FROM items AS i LEFT JOIN requests AS r ON r.id = i.request_id
 WHERE i.corpus_id = ? AND i.version = ? AND i.weight = 0"""
_CUT = """SELECT count(*) FILTER (WHERE worst = 0), count(*) FILTER (WHERE worst = 1),
 count(*) FILTER (WHERE worst = 2), count(*) FILTER (WHERE duplicate)
 FROM (SELECT max(CASE r.state WHEN 'succeeded' THEN 0 WHEN 'queued' THEN 1 WHEN 'running' THEN 1 ELSE 2 END) AS worst,
 min(note IS 'duplicate') AS duplicate FROM items AS i
 JOIN requests AS r ON r.id = i.request_id WHERE i.corpus_id = ? AND i.version = ? AND i.weight > 0 GROUP BY i.seq)"""


_NOT_SENT = {
    EMPTY: "it is empty, and was not sent",
    TOO_LONG: "it is longer than the model takes, and was not sent: --too-long truncate or chunk sends it",
}
Row = tuple[Any, ...]
Bounds = tuple[int, int, int, int]
"""Corpus, version, first text, and the one behind the last."""
T = TypeVar("T")


class CorpusReads:
    """``CorpusReader`` over one read-only session."""

    _session: Session

    def corpus(self, job_id: int) -> Corpus | None:
        """Return the corpus of a job; None where it has none."""
        with self._session.read() as connection:
            return corpus_of(connection, job_id)

    def embedded(self, corpus_id: int) -> Embedded:
        """Return which vectors are there now. Takes a bit a pack."""
        corpus = self._corpus(corpus_id)
        with self._session.read() as connection:
            rows = driver(connection).execute(_ANSWERED, (corpus.job_id,))
            first = 0
            packs = bytearray()
            for (request_id,) in rows:
                first = first or request_id
                byte, bit = divmod(request_id - first, 8)
                packs.extend(bytes(byte + 1 - len(packs)))
                packs[byte] |= 1 << bit
            counts = _counted(connection, corpus)
        return Embedded(counts.embedded, first, bytes(packs))

    def kept(self, corpus_id: int) -> Iterator[bytes]:
        """Yield the kept columns of all texts that have some, as JSON objects."""
        for rows in self._pages(self._corpus(corpus_id), LOOKED_AT, partial(_rows, _KEPT)):
            yield from (row[0] for row in rows)

    def vectors(self, corpus_id: int, among: Embedded, first: int = 0) -> Iterator[VectorBatch]:
        """Yield these vectors by the batch, from a place in the source on; texts without one are left out.

        A text that was cut gets the mean of its parts' vectors, each weighed by its length. Raises DatabaseError for
        damaged vectors, and where the corpus was loaded anew meanwhile.
        """
        corpus = self._corpus(corpus_id)
        if corpus.dimensions is None:
            return
        look = partial(_found, self._session.path, corpus, among)
        for batch in self._pages(corpus, max(1, PAGE // (corpus.dimensions * FLOAT)), look, first):
            if batch.ids:
                yield batch

    def places(self, corpus_id: int, among: Embedded) -> Iterator[int]:
        """Yield the place in the source of each text that has one of these vectors, ascending."""
        return places(self._session, self._corpus(corpus_id), among)

    def gone(self, corpus_id: int) -> int:
        """Return the place in the source from which on no vector was dropped; looks at all texts."""
        return gone(self._session, self._corpus(corpus_id))

    def missing(self, corpus_id: int) -> Iterator[Missing]:
        """Yield the texts that have no vector, in the order of the source, and why."""
        for rows in self._pages(self._corpus(corpus_id), LOOKED_AT, partial(_rows, _MISSING)):
            for _, parts in groupby(rows, itemgetter(0)):
                yield _missing(list(parts))

    def text_counts(self, corpus_id: int) -> TextCounts:
        """Return what became of the texts; looks at all of them."""
        corpus = self._corpus(corpus_id)
        with self._session.read() as connection:
            return _counted(connection, corpus)

    def _corpus(self, corpus_id: int) -> Corpus:
        with self._session.read() as connection:
            job_id = connection.execute(select(corpora.c.job_id).where(corpora.c.id == corpus_id)).scalar_one()
            corpus = corpus_of(connection, job_id)
        assert corpus is not None  # noqa: S101 - for the type checker: it was found one line above
        return corpus

    def _pages(self, corpus: Corpus, size: int, look: Callable[[Connection, Bounds], T], first: int = 0) -> Iterator[T]:
        """Yield what is found of so many texts at a time, each in a read of its own that has ended by then.

        Raises DatabaseError where the corpus was loaded anew meanwhile.
        """
        for start in range(first, corpus.texts, size):
            with self._session.read() as connection:
                self._refuse_another(connection, corpus)
                found = look(connection, (corpus.id, corpus.version, start, start + size))
            yield found

    def _refuse_another(self, connection: Connection, corpus: Corpus) -> None:
        version = connection.execute(select(corpora.c.version).where(corpora.c.id == corpus.id)).scalar_one()
        if version != corpus.version:
            raise DatabaseError(
                f"{self._session.path}: the corpus was loaded anew while it was read", hint="run the same command again"
            )


def _rows(statement: str, connection: Connection, bounds: Bounds) -> list[Row]:
    return driver(connection).execute(statement, bounds).fetchall()


def _found(path: str, corpus: Corpus, among: Embedded, connection: Connection, bounds: Bounds) -> VectorBatch:
    rows = _rows(_PAGE, connection, bounds)
    return _batch(rows, _Vectors(connection, path, rows, among, corpus.dimensions or 0), corpus)


class _Vectors:
    """The vectors that one page needs, in the rows that hold them."""

    def __init__(
        self, connection: Connection, path: str, rows: Sequence[Row], among: Embedded, dimensions: int
    ) -> None:
        self.width = dimensions * FLOAT
        self._step = step = in_a_row(dimensions)
        places = {(row[1], row[2] // step) for row in rows}
        asked = ((pack, part * step) for pack, part in places if pack is not None and among.has(pack))
        self._rows: dict[tuple[int, int], bytes] = {}
        listed = b"[%b]" % b",".join(b"[%d,%d]" % each for each in sorted(asked))
        for request_id, first, crc, data in driver(connection).execute(_ROWS, (listed,)):
            if zlib.crc32(data) != crc:
                raise DatabaseError(
                    f"{path}: the vectors of request {request_id} are damaged",
                    hint="run `batchrunner db check`, and look at the disk",
                )
            self._rows[request_id, first // step] = data

    def get(self, request_id: int | None, pos: int) -> bytes | None:
        """Return one vector; None where there is none yet."""
        row = self._rows.get((request_id, pos // self._step))  # type: ignore[arg-type]  # None is in no key
        if row is None:
            return None
        start = pos % self._step * self.width
        return row[start : start + self.width]


def _batch(rows: Sequence[Row], found: _Vectors, corpus: Corpus) -> VectorBatch:
    ids, vectors, kept = [], [], []
    get = found.get
    for _, request_id, pos, weight, name, columns in rows:
        if weight:
            return _batch_of_parts(rows, found, corpus)
        vector = get(request_id, pos)
        if vector is not None:
            ids.append(name)
            vectors.append(vector)
            kept.append(columns)
    return VectorBatch(ids, b"".join(vectors), corpus.dimensions or 0, kept)


def _batch_of_parts(rows: Sequence[Row], found: _Vectors, corpus: Corpus) -> VectorBatch:
    """Return a page among whose texts are some that were cut."""
    ids, vectors, kept = [], [], []
    for _, group in groupby(rows, itemgetter(0)):
        parts = list(group)
        there = [vector for part in parts if (vector := found.get(part[1], part[2])) is not None]
        if len(there) < len(parts):
            continue
        whole = there[0] if len(there) == 1 else mean(there, [part[3] for part in parts], normalize=corpus.normalize)
        ids.append(parts[0][4])
        vectors.append(whole)
        kept.append(parts[0][5])
    return VectorBatch(ids, b"".join(vectors), corpus.dimensions or 0, kept)


def _counted(connection: Connection, corpus: Corpus) -> TextCounts:
    """Count texts by what became of them. Of several parts the one that fared worst decides."""
    cursor, version = driver(connection), (corpus.id, corpus.version)
    embedded, waiting, failed, empty, too_long, duplicates = cursor.execute(_WHOLE, version).fetchone()
    cut = cursor.execute(_CUT, version).fetchone()
    return TextCounts(
        total=corpus.texts,
        embedded=embedded + cut[0],
        failed=failed + cut[2],
        waiting=waiting + cut[1],
        empty=empty,
        too_long=too_long,
        duplicates=duplicates + cut[3],
    )


def mean(vectors: Sequence[bytes], weights: Sequence[int], *, normalize: bool) -> bytes:
    """Return the weighted mean of vectors of float32, computed in double precision; of length 1 if ``normalize``."""
    size = len(vectors[0]) // FLOAT
    total = sum(weights)
    tables = [struct.unpack(f"<{size}f", vector) for vector in vectors]
    summed = [sum(w * x for w, x in zip(weights, column, strict=True)) / total for column in zip(*tables, strict=True)]
    length = (math.sqrt(math.fsum(x * x for x in summed)) or 1.0) if normalize else 1.0
    return struct.pack(f"<{size}f", *(x / length for x in summed))


def _missing(parts: Sequence[Row]) -> Missing:
    """Say why a text has no vector: of several parts the first that failed decides."""
    chosen = next((part for part in parts if part[4] is not None), parts[0])
    seq, name, note, state, failure, error, status = chosen
    if state is None:
        return Missing(name, note or EMPTY, _NOT_SENT[note or EMPTY], None, seq)
    return Missing(name, failure or state, error or "", status, seq)
