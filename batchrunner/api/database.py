"""The database as a file: its schema, its health, a copy of it."""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from batchrunner.api.session import session
from batchrunner.config import Loaded
from batchrunner.core.continuation import folder_of
from batchrunner.core.errors import DatabaseError
from batchrunner.store import check as _check
from batchrunner.store.artifacts import Copied, Unnamed
from batchrunner.store.database import open_store
from batchrunner.store.schema import HEAD, revision
from batchrunner.store.sqlite import Session, reader_engine, recognise
from batchrunner.wiring import care_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """What an upgrade did."""

    before: str | None
    """The schema's revision as it was; None: the file was empty."""
    after: str
    backup: Path | None
    """The copy that was made first; None: there was nothing to lose, or nothing to upgrade, or none was wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A copy of a database, and of the files that its answers brought."""

    path: Path
    folder: Path
    """Where the files are; not there where there are none."""
    files: Copied


def schema_of(loaded: Loaded) -> tuple[str | None, str]:
    """Return the revision of the database's schema and the one that this program reads. Raises DatabaseError."""
    real = os.path.realpath(loaded.settings.db)
    if not recognise(real):
        raise DatabaseError(f"there is no database at {loaded.settings.db}", hint="give its path with --db")
    with closing(Session(real, reader_engine(real))) as session, session.read() as connection:
        return revision(connection), HEAD


def upgrade(loaded: Loaded, *, backup: bool = True, wait: bool = False) -> Upgraded:
    """Bring the database to the newest schema; one with jobs in it is copied first, beside itself.

    Raises DatabaseError where there is none, NewerDatabaseError, and DatabaseHeldError (``wait`` queues instead).
    """
    before, after = schema_of(loaded)
    open_store(loaded.settings.db, wait=wait, backup=backup, care=care_of(loaded.settings)).close()
    copied = Path(f"{os.path.realpath(loaded.settings.db)}.backup-{before}")
    made = backup and before not in (None, after) and copied.exists()
    return Upgraded(before=before, after=after, backup=copied if made else None)


def check(loaded: Loaded) -> list[str]:
    """Return what is wrong with the database, in words; empty where everything is right. Raises DatabaseError."""
    return _check.check(loaded.settings.db)


def unnamed(loaded: Loaded) -> Unnamed:
    """Count the files in the artifacts folder that no answer names. Raises DatabaseError."""
    return _check.unnamed(loaded.settings.db)


def remove_unnamed(loaded: Loaded, *, wait: bool = False) -> Unnamed:
    """Remove the files in the artifacts folder that no answer names; return what went.

    A person asks for it: no run does it by itself. Some were paid for, and where an older copy of the database was put
    back, the answers that named them are gone with it. Raises DatabaseHeldError where a run may be about to name one.
    """
    with session(loaded, wait=wait) as held:  # what a full disk had kept beside the database is taken in first
        return held.remove_unnamed()


def backup(loaded: Loaded, target: Path) -> Backup:
    """Copy the database, whole and compacted, and the files that it names; also beside a live run.

    Raises DatabaseError.
    """
    aim = Path(os.path.realpath(target))
    files = _check.backup(loaded.settings.db, aim)
    return Backup(path=aim, folder=Path(folder_of(str(aim))), files=files)
