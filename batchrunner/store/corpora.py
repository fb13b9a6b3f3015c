"""The writer's side of corpora on SQLite: packs and items in, versions sealed, vectors dropped."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from batchrunner.core.corpus import Item, Pack
from batchrunner.core.job import JobSource, JobState
from batchrunner.store.corpusbase import Corpus
from batchrunner.store.corpustables import DROPPED, KEPT, LEAVING, corpora, items
from batchrunner.store.driver import ManyRows, driver
from batchrunner.store.lanes import lane_of
from batchrunner.store.leaving import leave
from batchrunner.store.pruning import cancel_unneeded, prune
from batchrunner.store.rollups import add_counts
from batchrunner.store.rows import PACK, source_columns
from batchrunner.store.seen import SeenTexts
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import jobs, requests

PATH = "/v1/embeddings"
REMOVED_AT_ONCE = 50_000
"""Items that one transaction removes."""
DROPPED_AT_ONCE = 500
"""Packs whose vectors one transaction drops: each has up to 1.5 MB of them."""
PAGE = 20_000

_REQUEST = ManyRows(
    """INSERT INTO requests (id, job_id, line, custom_id, digest, endpoint, model_id, est_in, max_out) VALUES %s""",
    f"(?, ?, ?, ?, ?, '{PATH}', ?, ?, 0)",
)
_BODY = ManyRows("INSERT INTO bodies (request_id, codec, data) VALUES %s", f"(?, {PACK}, ?)")
_ITEM = """INSERT INTO items (corpus_id, version, seq, part, ext_id, text_hash, request_id, pos, weight, kept, note)
 VALUES %s"""
_KNOWN = """SELECT text_hash, request_id, pos, version, seq, part FROM items
 WHERE corpus_id = ? AND (version, seq, part) > (?, ?, ?) ORDER BY version, seq, part LIMIT ?"""
_NOT_OF = """DELETE FROM items WHERE (corpus_id, version, seq, part) IN
 (SELECT corpus_id, version, seq, part FROM items WHERE corpus_id = ? AND version <> ? LIMIT ?)"""
_DROP = """DELETE FROM vectors WHERE request_id IN (SELECT v.request_id FROM vectors AS v
 JOIN requests AS r ON r.id = v.request_id WHERE r.job_id = ? LIMIT ?)"""


def corpus_of(connection: Connection, job_id: int) -> Corpus | None:
    """Return the corpus of a job; None where it has none."""
    row = connection.execute(select(corpora).where(corpora.c.job_id == job_id)).mappings().one_or_none()
    if row is None:
        return None
    keep = row["keep"]
    return Corpus(**{**row, "normalize": bool(row["normalize"]), "keep": keep == KEPT, "leaving": keep == LEAVING})


class SqliteCorpora:
    """``Corpora`` over one writing session. Its caller holds the lock."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def corpus(self, job_id: int) -> Corpus | None:
        """Return the corpus of a job; None where it has none."""
        with self._session.read() as connection:
            return corpus_of(connection, job_id)

    def create_corpus(self, job_id: int, model: str, params: bytes, *, normalize: bool) -> Corpus:
        """Make a job the one of a corpus."""
        row = {"job_id": job_id, "model": model, "params": params, "normalize": int(normalize)}
        with self._session.write() as connection:
            connection.execute(insert(corpora), {**row, "keep": KEPT, "version": 0, "texts": 0})
            made = corpus_of(connection, job_id)
        assert made is not None  # noqa: S101 - for the type checker: it was written one line above
        return made

    def seen(self, corpus: Corpus) -> SeenTexts:
        """Return which texts of a corpus are in packs already."""
        return SeenTexts(self._known(corpus.id))

    def _known(self, corpus_id: int) -> Iterator[tuple[bytes, int, int]]:
        after = (-1, -1, -1)
        while True:
            with self._session.read() as connection:
                rows = driver(connection).execute(_KNOWN, (corpus_id, *after, PAGE)).fetchall()
            yield from ((row[0], row[1], row[2]) for row in rows if row[1] is not None)
            if len(rows) < PAGE:
                return
            after = rows[-1][3:]

    def next_version(self, corpus: Corpus) -> int:
        """Return the version for the next load's items: no item has it yet, also of a load that was cut short."""
        newest = select(func.max(items.c.version)).where(items.c.corpus_id == corpus.id)
        with self._session.read() as connection:
            return max(corpus.version, connection.execute(newest).scalar_one() or 0) + 1

    def next_request(self) -> int:
        """Return the id of the next request; nothing else may be added before ``add_packs`` is done."""
        with self._session.read() as connection:
            return (connection.execute(select(func.max(requests.c.id))).scalar_one() or 0) + 1

    def add_packs(self, corpus: Corpus, version: int, packs: Sequence[Pack], items: Sequence[Item]) -> None:
        """Queue packs and keep items, in one transaction. Items refer to packs that are there by then."""
        with self._session.write() as connection:
            if packs:
                self._queue(connection, corpus, packs)
            row = ManyRows(_ITEM, f"({corpus.id}, {version}, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            row.execute(driver(connection), list(chain.from_iterable(items)))

    def _queue(self, connection: Connection, corpus: Corpus, packs: Sequence[Pack]) -> None:
        job_id = corpus.job_id
        provider, lines = connection.execute(select(jobs.c.provider, jobs.c.lines).where(jobs.c.id == job_id)).one()
        lane_id = lane_of(connection, provider, corpus.model)
        rows: list[Any] = []
        bodies: list[Any] = []
        for line, (request_id, body, est_in, _) in enumerate(packs, lines + 1):
            digest = hashlib.sha256(body).digest()[:16]
            rows += request_id, job_id, line, f"pack-{request_id}", digest, lane_id, est_in
            bodies += request_id, body
        cursor = driver(connection)
        _REQUEST.execute(cursor, rows)
        _BODY.execute(cursor, bodies)
        add_counts(connection, {(job_id, lane_id, "queued"): len(packs)})
        grown = update(jobs).where(jobs.c.id == job_id)
        first = func.coalesce(jobs.c.first_id, packs[0].request_id)
        connection.execute(grown.values(first_id=first, last_id=packs[-1].request_id, lines=jobs.c.lines + len(packs)))

    def seal_corpus(self, corpus: Corpus, version: int, source: JobSource, texts: int) -> None:
        """Make a load's items the ones that hold, open its job, and remove those of earlier loads."""
        with self._session.write() as connection:
            opened = update(jobs).where(jobs.c.id == corpus.job_id)
            connection.execute(opened.values(state=JobState.OPEN.value, **source_columns(source)))
            holds = update(corpora).where(corpora.c.id == corpus.id)
            connection.execute(holds.values(version=version, texts=texts))
        self._remove_items(corpus.id, version)
        with self._session.write() as connection:
            cancel_unneeded(connection, corpus.job_id)

    def _remove_items(self, corpus_id: int, keep: int) -> None:
        """Remove all items but those of one version, some at a time."""
        removed = 1
        while removed:
            with self._session.write() as connection:
                removed = driver(connection).execute(_NOT_OF, (corpus_id, keep, REMOVED_AT_ONCE)).rowcount

    def discard_corpus(self, job_id: int) -> None:
        """Remove a corpus whose first load was cut short; ``discard`` does the rest."""
        corpus = self.corpus(job_id)
        if corpus is not None:
            self._remove_items(corpus.id, -1)
            with self._session.write() as connection:
                connection.execute(delete(corpora).where(corpora.c.id == corpus.id))

    def prune(self, corpus: Corpus) -> int:
        """Drop the texts that are gone, and the vectors that no text needs any more; return how many vectors.

        What they were is overwritten in the file, and does not stay in its journal.
        """
        self._session.outside("PRAGMA secure_delete = ON")
        try:
            with self._session.write() as connection:
                dropped = prune(connection, corpus.job_id)
        finally:
            self._session.outside("PRAGMA secure_delete = OFF")
        self._session.outside("PRAGMA wal_checkpoint(TRUNCATE)")
        return dropped

    def leave(self, corpus: Corpus, first: int, upto: int) -> None:
        """Drop the vectors that only texts from place ``first`` to before ``upto`` need: they were exported."""
        leave(self._session, corpus, first, upto)

    def drop_vectors(self, corpus: Corpus) -> None:
        """Drop all vectors of a corpus, since they were exported; its ``keep`` says so first. Twice changes nothing."""
        with self._session.write() as connection:
            connection.execute(update(corpora).where(corpora.c.id == corpus.id).values(keep=DROPPED))
        dropped = 1
        while dropped:
            with self._session.write() as connection:
                dropped = driver(connection).execute(_DROP, (corpus.job_id, DROPPED_AT_ONCE)).rowcount
