"""What a writer makes sure of before it writes: the file is sound, and it is the newest there is."""

from sqlalchemy import Connection, text
from sqlalchemy.dialects.sqlite import insert

from batchrunner.core.errors import DatabaseError
from batchrunner.store.failures import DAMAGED
from batchrunner.store.lock import Held, Mark
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import meta

_CHECKED = "checked_runs"
"""The key of ``meta`` that tells after how many runs the pages were last looked at."""
_FACTS = "SELECT key, value FROM meta WHERE key IN ('database_id', 'runs', 'checked_runs')"
_UNCLEAN = "SELECT ended IS NULL FROM runners ORDER BY id DESC LIMIT 1"
_LAST_ENDED = "SELECT id FROM attempts WHERE id > 0 AND ended IS NOT NULL ORDER BY id DESC LIMIT 1"  # ends at the first


def refuse_damaged(session: Session) -> None:
    """Read every page after the last run did not end by itself, once. Raises DatabaseError for a damaged file.

    A power cut or a bad disk may have damaged what a crash alone can't, and SQLite would go on writing into that.
    """
    with session.read() as connection:
        facts = _facts(connection)
        unclean = connection.exec_driver_sql(_UNCLEAN).scalar()
        if not unclean or facts.get(_CHECKED) == facts.get("runs"):
            return
        (found,) = connection.exec_driver_sql("PRAGMA quick_check(1)").one()
    if found != "ok":
        raise DatabaseError(
            f"{session.path}: its last run did not end by itself, and it is damaged: {found}", hint=DAMAGED
        )
    with session.write() as connection:
        row = insert(meta).values(key=_CHECKED, value=facts["runs"])
        connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value}))


def refuse_older(session: Session, held: Held, *, accept: bool) -> None:
    """Refuse a copy that lacks what its last writer had committed, unless a person accepts it. Raises DatabaseError.

    Such a copy was made while a run lived, without its journal, or it is a backup: what it lacks would be bought again.
    """
    known, there = held.mark, mark_of(session)
    if known is None or known.database != there.database or accept:
        held.keep(there)
        return
    if (there.runs, there.attempt) < (known.runs, known.attempt):
        lacks = known.attempt - there.attempt
        raise DatabaseError(
            f"{session.path} is an older copy: its last run was number {known.runs} and had ended attempt"
            f" {known.attempt:,}, this file knows run {there.runs} and attempt {there.attempt:,};"
            f" about {max(lacks, 1):,} calls are missing in it and would be made, and paid, again",
            hint="put the newer file back, with its -wal if it has one, or go on from this one with --accept-older",
        )


def mark_of(session: Session) -> Mark:
    """Return how far a database has come."""
    with session.read() as connection:
        facts = _facts(connection)
        attempt = connection.exec_driver_sql(_LAST_ENDED).scalar() or 0
    return Mark(facts.get("database_id", ""), int(facts.get("runs", "0")), attempt)


def _facts(connection: Connection) -> dict[str, str]:
    return {row.key: row.value for row in connection.execute(text(_FACTS))}
