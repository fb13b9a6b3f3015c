"""Brings a database to the newest schema, and refuses one that is newer than this program.

A new file gets its tables from the metadata and is stamped; an older one is upgraded by Alembic. Both ways lead to the
same schema, byte for byte. Alembic is imported only where there is something to upgrade.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.schema import CreateIndex

from batchrunner.core.crashpoint import reached
from batchrunner.core.errors import DatabaseError, NewerDatabaseError
from batchrunner.core.version import program_version
from batchrunner.store.columns import AddColumn, added_columns, added_indexes
from batchrunner.store.filesystem import sync
from batchrunner.store.sqlite import Session, private, uri
from batchrunner.store.tables import meta
from batchrunner.store.views import VIEWS

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"
"""The newest revision: what ``tables.py`` describes."""

_VERSION_TABLE = (
    "CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n"
    "\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)\n"
)  # as Alembic itself writes it


def migrations() -> Path:
    """Return the folder of migrations: inside an installed package, else beside it in the repository."""
    here = Path(__file__).resolve().parent
    packaged = here / "migrations"
    return packaged if packaged.is_dir() else here.parents[1] / "migrations"


def revision(connection: Connection) -> str | None:
    """Return the schema's revision; None where nothing has been created yet."""
    known = connection.exec_driver_sql("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").scalar()
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if known else None


def require_head(path: str, connection: Connection) -> None:
    """Raise where a reader can't read: NewerDatabaseError, or DatabaseError for a schema to upgrade first."""
    found = refuse_newer(path, connection)
    if found == HEAD:
        return
    if found is None:
        raise DatabaseError(f"{path} is empty: a load was stopped before it began", hint="load a job file into it")
    raise DatabaseError(
        f"{path} was written by an older batchrunner (schema {found}, this one reads {HEAD})",
        hint="run `batchrunner db upgrade`",
    )


def refuse_newer(path: str, connection: Connection) -> str | None:
    """Return the schema's revision, None where there is none yet. Raises NewerDatabaseError for one we don't know."""
    found = revision(connection)
    if found in (None, HEAD) or _is_older(found):
        return found
    version = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'version'").scalar()
    raise NewerDatabaseError(
        f"{path} was written by batchrunner {version or '(unknown)'}, which is newer than this one",
        hint="upgrade batchrunner, or give another database with --db",
    )


def create(connection: Connection) -> None:
    """Create every table and view in a new file, and stamp it."""
    meta.metadata.create_all(connection, checkfirst=False)
    for table in meta.metadata.sorted_tables:
        for column in added_columns(table):
            connection.execute(AddColumn(column))
        for index in added_indexes(table):
            connection.execute(CreateIndex(index))
    for view in VIEWS:
        connection.execute(text(view))
    connection.exec_driver_sql(_VERSION_TABLE)
    connection.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))


def bring_to_head(session: Session, *, backup: bool = True) -> None:
    """Create or upgrade the schema; a database with jobs in it is copied first, unless told otherwise.

    Raises NewerDatabaseError, and DatabaseError where the disk has no room for the copy.
    """
    with session.read() as connection:
        found = refuse_newer(session.path, connection)
    if found == HEAD:
        return
    if found is None:
        with session.write() as connection:
            create(connection)
    else:
        if backup and _has_jobs(session):
            copy(session, f"{session.path}.backup-{found}")
        upgrade(session)
    with session.write() as connection:
        _sign(connection)


def upgrade(session: Session, target: str = "head") -> None:
    """Run Alembic's upgrade on this connection; every migration is one transaction."""
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = session.connection()
    reached("upgrade")
    command.upgrade(config, target)
    reached("upgraded")


def alembic_config() -> "Config":
    """Return Alembic's configuration without any file: where the migrations are."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _is_older(found: str | None) -> bool:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config())
    return found in {script.revision for script in scripts.walk_revisions()}


def _sign(connection: Connection) -> None:
    version = program_version()
    row = insert(meta)
    connection.execute(
        row.on_conflict_do_nothing(),
        [
            {"key": "database_id", "value": secrets.token_hex(16)},
            {"key": "created_by", "value": version},
            {"key": "runs", "value": "0"},
        ],
    )
    connection.execute(
        row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value}),
        {"key": "version", "value": version},
    )


def _has_jobs(session: Session) -> bool:
    with session.read() as connection:
        return connection.exec_driver_sql("SELECT 1 FROM jobs LIMIT 1").scalar() is not None


def _nothing(partial: str) -> None:
    """Need nothing beside a copy."""


def copy(session: Session, target: str, beside: Callable[[str], None] = _nothing) -> None:
    """Copy the whole database, compacted, to a file that only its owner can read; it is whole or not there.

    ``beside`` is called with the copy's path before it gets its name, to put there what belongs to it. Raises
    DatabaseError where the disk has no room, and what ``beside`` raises. An existing target is replaced.
    """
    folder = os.path.dirname(target) or "."  # noqa: PTH120 - a path of any bytes
    with session.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    if shutil.disk_usage(folder).free < size:
        raise DatabaseError(
            f"{folder} has no room for a copy of {session.path} ({size >> 20} MiB)",
            hint="free some space, or go without a copy (--no-backup)",
        )
    with _whole_or_nothing(target) as partial, private():
        session.outside("VACUUM INTO ?", uri(partial, "rwc"))
        beside(partial)


@contextmanager
def _whole_or_nothing(target: str) -> Iterator[str]:
    partial = f"{target}.partial"
    Path(partial).unlink(missing_ok=True)
    try:
        yield partial
        reached("copy")
        sync(partial)
        os.replace(partial, target)  # noqa: PTH105 - a path of any bytes
        sync(os.path.dirname(target) or ".")  # noqa: PTH120
    finally:
        Path(partial).unlink(missing_ok=True)
