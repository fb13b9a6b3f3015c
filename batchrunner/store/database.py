"""Opens a database: the one store that writes, or readers beside it."""

import os
from contextlib import ExitStack, closing

from batchrunner.core.clock import Clock
from batchrunner.core.errors import DatabaseError
from batchrunner.store import schema
from batchrunner.store.jobs import SqliteJobs
from batchrunner.store.lock import hold
from batchrunner.store.ours import refuse_foreign_schema
from batchrunner.store.queue import SqliteQueue
from batchrunner.store.reader import SqliteReader
from batchrunner.store.sqlite import Session, reader_engine, recognise, refuse_triggers, writer_engine

Path = str | os.PathLike[str]


class SqliteStore(SqliteQueue, SqliteJobs):
    """The one writer of a database: ``Queue`` and ``Loading`` over one connection. Holds the lock until closed.

    It may be used from any thread, by one thread at a time.
    """

    def __init__(self, session: Session) -> None:
        SqliteQueue.__init__(self, session)
        SqliteJobs.__init__(self, session)
        self._resources = ExitStack()

    def own(self, resources: ExitStack) -> None:
        """Take over what is to be closed with this store."""
        self._resources = resources

    @property
    def path(self) -> str:
        """The database's real path."""
        return self._session.path

    def close(self) -> None:
        """Close the connection, then give the lock back."""
        self._resources.close()

    def __enter__(self) -> "SqliteStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(path: Path, *, wait: bool = False, backup: bool = True, clock: Clock | None = None) -> SqliteStore:
    """Open a database for writing: take its lock, create it or bring its schema up to date.

    Raises DatabaseHeldError where another process writes (``wait`` queues behind it instead), NewerDatabaseError, and
    DatabaseError for a file that can't be used. An upgrade of a database that holds jobs copies it first, unless
    ``backup`` is off.
    """
    real = os.path.realpath(path)
    with ExitStack() as stack:
        stack.enter_context(hold(real, wait=wait, clock=clock))
        known = recognise(real)
        if known:
            _inspect(real)
        session = Session(real, writer_engine(real, new=not known))
        stack.callback(session.close)
        schema.bring_to_head(session, backup=backup)
        session.watch()
        store = SqliteStore(session)
        store.own(stack.pop_all())
        return store


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
