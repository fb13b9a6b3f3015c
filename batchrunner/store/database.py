"""Opens a database: the one store that writes, or readers beside it."""

import os
from contextlib import ExitStack, closing
from typing import NamedTuple

from batchrunner.core.clock import Clock
from batchrunner.core.errors import ConfigurationError, DatabaseError
from batchrunner.store import schema
from batchrunner.store.artifacts import Unnamed, unnamed
from batchrunner.store.corpora import SqliteCorpora
from batchrunner.store.filesystem import mount_at
from batchrunner.store.health import refuse_damaged, refuse_older
from batchrunner.store.jobs import SqliteJobs
from batchrunner.store.lock import Held, hold
from batchrunner.store.ours import refuse_another_owner, refuse_foreign_schema
from batchrunner.store.queue import SqliteQueue
from batchrunner.store.reader import SqliteReader
from batchrunner.store.sqlite import (
    BUSY_SECONDS,
    Session,
    WriterOptions,
    reader_engine,
    recognise,
    refuse_triggers,
    roll_back,
    writer_engine,
)

Path = str | os.PathLike[str]


class Care(NamedTuple):
    """What a person decided about a database that can't be taken as it is."""

    timeout: float = BUSY_SECONDS
    """Seconds to wait for another program's lock."""
    unsafe_fs: bool = False
    """Work on a network file system, with a rollback journal."""
    accept_older: bool = False
    """Go on from a copy that is older than the last run."""
    any_owner: bool = False
    """Write to a file that belongs to another user."""


class SqliteStore(SqliteQueue, SqliteJobs, SqliteCorpora):
    """The one writer of a database: ``Queue``, ``Loading`` and ``Corpora`` over one connection.

    Holds the lock until closed. It may be used from any thread, by one thread at a time.
    """

    def __init__(self, session: Session, held: Held) -> None:
        SqliteQueue.__init__(self, session, held)
        SqliteJobs.__init__(self, session)
        SqliteCorpora.__init__(self, session)
        self._resources = ExitStack()

    def own(self, resources: ExitStack) -> None:
        """Take over what is to be closed with this store."""
        self._resources = resources

    @property
    def path(self) -> str:
        """The database's real path."""
        return self._session.path

    def remove_unnamed(self) -> Unnamed:
        """Remove the files of the artifacts folder that no row names, and count them."""
        return unnamed(self._session, remove=True)

    def close(self) -> None:
        """Close the connection, then give the lock back."""
        self._resources.close()

    def __enter__(self) -> "SqliteStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(
    path: Path, *, wait: bool = False, backup: bool = True, clock: Clock | None = None, care: Care | None = None
) -> SqliteStore:
    """Open a database for writing: take its lock, create it or bring its schema up to date.

    Raises DatabaseHeldError where another process writes (``wait`` queues behind it instead), NewerDatabaseError,
    ConfigurationError for a network file system, and DatabaseError for a file that can't be used: another program's,
    another user's, one that was damaged by the unclean end of its last run, or a copy that is older than that. An
    upgrade of a database that holds jobs copies it first, unless ``backup`` is off.
    """
    real, care = os.path.realpath(path), care or Care()
    if not care.any_owner:
        refuse_another_owner(real)
    wal = _may_share_memory(real, care)
    with ExitStack() as stack:
        held = stack.enter_context(hold(real, wait=wait, clock=clock))
        known = recognise(real)
        if known:
            roll_back(real)
            _inspect(real)
        session = Session(real, writer_engine(real, new=not known, options=WriterOptions(care.timeout, wal)))
        stack.callback(session.close)
        schema.bring_to_head(session, backup=backup)
        refuse_damaged(session)
        refuse_older(session, held, accept=care.accept_older)
        session.watch()
        store = SqliteStore(session, held)
        store.own(stack.pop_all())
        return store


def _may_share_memory(path: str, care: Care) -> bool:
    """Whether a write-ahead log works there. Raises ConfigurationError where it does not, and nobody insists."""
    mount = mount_at(path)
    if mount is None or not mount.is_network:
        return True
    if care.unsafe_fs:
        return False
    raise ConfigurationError(
        f"{path} is on a network file system ({mount.kind} at {mount.point}), where SQLite's write-ahead log can lose"
        " rows: it needs memory that all its processes share",
        hint="put the database on a local disk with --db; --unsafe-fs goes on with a slower journal, at your own risk",
    )


def _inspect(path: str) -> None:
    """Refuse a file that must not be touched, before anything could touch it."""
    with closing(Session(path, reader_engine(path))) as session, session.read() as connection:
        refuse_triggers(path, connection)
        if schema.refuse_newer(path, connection) == schema.HEAD:
            refuse_foreign_schema(path, connection)


def open_reader(path: Path) -> SqliteReader:
    """Open a database for reading only, beside whoever writes.

    Raises DatabaseError where there is none, NewerDatabaseError where it is too new, DatabaseError where it must be
    upgraded first.
    """
    real = os.path.realpath(path)
    if not recognise(real):
        raise DatabaseError(
            f"there is no database at {os.fspath(path)}", hint="load a job file first, or give its path with --db"
        )
    session = Session(real, reader_engine(real))
    try:
        with session.read() as connection:
            refuse_triggers(real, connection)
            schema.require_head(real, connection)
            refuse_foreign_schema(real, connection)
    except BaseException:
        session.close()
        raise
    return SqliteReader(session)
