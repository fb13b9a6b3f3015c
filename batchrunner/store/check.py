"""Looks at a database from outside: is everything in it what it should be?"""

import os
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from batchrunner.core.continuation import folder_of
from batchrunner.core.errors import DatabaseError
from batchrunner.store import rollups, schema
from batchrunner.store.artifacts import Copied, Unnamed, copy_files, findings
from batchrunner.store.artifacts import unnamed as _unnamed
from batchrunner.store.ours import refuse_foreign_schema
from batchrunner.store.sqlite import Session, reader_engine, recognise

MOST_FINDINGS = 20
"""Findings of one kind that are listed; the rest is counted."""

_ANSWERS = "SELECT request_id, crc, body, request_id FROM responses WHERE request_id > ? ORDER BY request_id LIMIT 1000"
_DISCARDED = (
    "SELECT attempt_id, crc, body, attempt_id FROM discards WHERE attempt_id > ? ORDER BY attempt_id LIMIT 1000"
)
_ASTRAY = """SELECT count(*) FROM continuations AS c JOIN requests AS r ON r.id = c.request_id
 LEFT JOIN attempts AS a ON a.id = c.attempt_id AND a.request_id = c.request_id
 WHERE a.id IS NULL OR (a.ended IS NULL) <> (r.state IN ('queued', 'running'))
 OR r.state NOT IN ('queued', 'running', 'cancelled')"""
_VECTORS = "SELECT rowid, crc, data, request_id FROM vectors WHERE rowid > ? ORDER BY rowid LIMIT 500"
_UNANSWERED = """SELECT count(*) FROM requests AS r LEFT JOIN responses AS p ON p.request_id = r.id
 LEFT JOIN vectors AS v ON v.request_id = r.id AND v.first = 0
 LEFT JOIN corpora AS c ON c.job_id = r.job_id AND c.keep <> 1
 WHERE CASE WHEN c.id IS NOT NULL THEN r.state <> 'succeeded' AND v.request_id IS NOT NULL
 ELSE (r.state = 'succeeded' AND r.copy_of IS NULL) <> (p.request_id IS NOT NULL OR v.request_id IS NOT NULL) END"""
_UNLIKE = """SELECT count(*) FROM requests AS c INDEXED BY requests_copies LEFT JOIN requests AS o ON o.id = c.copy_of
 WHERE c.copy_of IS NOT NULL AND (o.id IS NULL OR o.copy_of IS NOT NULL OR o.job_id <> c.job_id OR o.id > c.id
 OR o.digest <> c.digest OR c.attempts > 0 OR (c.state <> o.state AND c.state <> 'cancelled'
 AND NOT (c.state = 'queued' AND o.state = 'running')) OR (c.state = 'cancelled' AND o.state = 'succeeded'))"""
_MISFIT = """SELECT count(*) FROM (SELECT v.request_id AS pack, sum(v.count) AS n, max(v.first + v.count) AS ends,
 max(c.dimensions IS NOT v.dim OR length(v.data) <> 4 * v.dim * v.count) AS odd
 FROM vectors AS v JOIN requests AS r ON r.id = v.request_id LEFT JOIN corpora AS c ON c.job_id = r.job_id GROUP BY 1)
 WHERE odd OR n <> ends OR n <= (SELECT ifnull(max(pos), -1) FROM items AS i WHERE i.request_id = pack)"""
_TEXTS = """SELECT count(*) FROM corpora AS c WHERE c.version > 0 AND c.texts <>
 (SELECT count(*) FROM items AS i WHERE i.corpus_id = c.id AND i.version = c.version AND i.part = 0)"""


def check(path: str | os.PathLike[str]) -> list[str]:
    """Return what is wrong with a database, in words; an empty list where everything is as it should be.

    Reads every page, every answer (against its checksum), every file that answers brought (against its name) and
    counts both rollups anew. Beside a live run it sees one consistent state per question. Raises DatabaseError for a
    file that can't be read at all.
    """
    with _reading(path) as session:
        return [
            *_pages(session),
            *_damaged(session, _ANSWERS, "the answer of request"),
            *_damaged(session, _DISCARDED, "the discarded answer of attempt"),
            *_damaged(session, _VECTORS, "the pack of vectors of request"),
            *_shortened(list(findings(session))),
            *_consistency(session),
        ]


def unnamed(path: str | os.PathLike[str]) -> Unnamed:
    """Count the files in the artifacts folder that no row names; beside a live run, also those whose row comes next."""
    with _reading(path) as session:
        return _unnamed(session)


def backup(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> Copied:
    """Copy a database, compacted and readable by its owner only, beside whoever writes; it is whole or not there.

    The files that the copied rows name are copied before it is there, into the artifacts folder beside it. Raises
    DatabaseError where the target exists or its disk has no room.
    """
    aim = os.path.realpath(target)
    if os.path.lexists(aim):
        raise DatabaseError(f"{aim} exists already", hint="give another name for the backup")
    done: list[Copied] = []
    with _reading(path) as session:
        schema.copy(session, aim, lambda copy: done.append(_copy_files(session.path, copy, aim)))
    return done[0]


def _copy_files(path: str, copy: str, aim: str) -> Copied:
    """Copy what the rows of the ``copy`` name, which is to be called ``aim``: the database itself has gone on since."""
    with closing(Session(copy, reader_engine(copy))) as session:
        try:
            return copy_files(Path(folder_of(path)), session, folder_of(aim))
        except OSError as error:
            raise DatabaseError(
                f"{folder_of(aim)}: {error.strerror or error}", hint="give a backup a place with room for its files"
            ) from error


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[Session]:
    real = os.path.realpath(path)
    if not recognise(real):
        raise DatabaseError(f"there is no database at {os.fspath(path)}", hint="give its path with --db")
    with closing(Session(real, reader_engine(real))) as session:
        with session.read() as connection:
            schema.require_head(real, connection)
            refuse_foreign_schema(real, connection)
        yield session


def _pages(session: Session) -> list[str]:
    with session.read() as connection:
        found = connection.exec_driver_sql(f"PRAGMA quick_check({MOST_FINDINGS})").scalars().all()
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    findings = [f"damaged: {finding}" for finding in found if finding != "ok"]
    return findings + _shortened([f"row {row[1]} of {row[0]} points at a missing row of {row[2]}" for row in orphans])


def _damaged(session: Session, pages: str, what: str) -> list[str]:
    found: list[str] = []
    after = -1
    while True:
        with session.read() as connection:
            page = connection.exec_driver_sql(pages, (after,)).all()
        found.extend(
            f"{what} {name} is damaged: its checksum differs" for _, crc, body, name in page if zlib.crc32(body) != crc
        )
        if not page:
            return _shortened(found)
        after = page[-1][0]


def _consistency(session: Session) -> list[str]:
    with session.read() as connection:
        (odd,) = connection.exec_driver_sql(_UNANSWERED).one()
        (astray,) = connection.exec_driver_sql(_ASTRAY).one()
        (unlike,) = connection.exec_driver_sql(_UNLIKE).one()
        (misfit,) = connection.exec_driver_sql(_MISFIT).one()
        (torn,) = connection.exec_driver_sql(_TEXTS).one()
        return [
            *([f"{odd} requests are succeeded without an answer, or answered without being succeeded"] if odd else []),
            *([f"{astray} continuations belong to no request that could go on with them"] if astray else []),
            *([f"{unlike} copies are not as the requests that they are copies of"] if unlike else []),
            *([f"the vectors of {misfit} packs are not as many, or as long, as their texts need"] if misfit else []),
            *([f"{torn} corpora do not hold as many texts as were loaded"] if torn else []),
            *_differences(connection, "counts", rollups.STORED_COUNTS, rollups.RECOUNT_COUNTS),
            *_differences(connection, "totals", rollups.STORED_TOTALS, rollups.RECOUNT_TOTALS),
        ]


def _differences(connection: Connection, name: str, stored: str, recount: str) -> list[str]:
    kept = {tuple(row) for row in connection.exec_driver_sql(stored)}
    counted = {tuple(row) for row in connection.exec_driver_sql(recount)}
    return _shortened(
        [f"{name} holds {row}, which the rows do not show" for row in sorted(kept - counted)]
        + [f"{name} lacks {row}, which the rows show" for row in sorted(counted - kept)]
    )


def _shortened(findings: list[str]) -> list[str]:
    more = len(findings) - MOST_FINDINGS
    return [*findings[:MOST_FINDINGS], f"... and {more} more of this kind"] if more > 0 else findings
