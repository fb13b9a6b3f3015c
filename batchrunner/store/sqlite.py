"""The SQLite file: how it is created, recognised, opened and watched.

One connection in one process writes (the holder of the lock); everybody else opens the file read-only. The file is
never opened by anything but SQLite in this process: closing such a descriptor would drop SQLite's own locks
("How To Corrupt An SQLite Database File", 2.2).
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from batchrunner.core.crashpoint import reached
from batchrunner.core.errors import DatabaseError
from batchrunner.store.failures import decoded, translated
from batchrunner.store.watch import Watch

APPLICATION_ID = int.from_bytes(b"btch", "big")
"""Marks the file as ours, in SQLite's header."""
OLDEST_SQLITE = (3, 37, 0)
"""The first with strict tables."""
BUSY_SECONDS = 10.0
"""How long a reader waits for another program's lock, and a writer that was told nothing else."""


_COMMON = (
    "PRAGMA temp_store = MEMORY",  # no temporary files with prompts in them
    "PRAGMA mmap_size = 0",  # an I/O error stays an error and does not become a signal
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)
_READER = ("PRAGMA cache_size = -2048",)  # it walks along tables and rarely comes back to a page
_WRITER = (
    "PRAGMA cache_size = -8192",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)


def uri(path: str, mode: str) -> str:
    """Return SQLite's URI of a file, whatever characters its path holds; ``mode`` is ``ro``, ``rw`` or ``rwc``."""
    return f"file:{quote(os.fsencode(path))}?mode={mode}"


def recognise(path: str) -> bool:
    """Whether the file is a database of ours; False where there is none yet. Touches nothing.

    Raises DatabaseError for another program's file, for a damaged one, for one with a second name, and for a SQLite
    that is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise DatabaseError(
            f"SQLite {sqlite3.sqlite_version} is too old: batchrunner needs {wanted}", hint="use a newer Python"
        )
    try:
        found = os.stat(path)  # noqa: PTH116 - a path of any bytes, as SQLite takes it
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DatabaseError(f"{path} is not a regular file", hint="give another path with --db")
    if found.st_nlink > 1:
        raise DatabaseError(
            f"{path} has {found.st_nlink} names (hard links): SQLite would keep a journal for each, and lose rows",
            hint="remove the other names, or copy with `batchrunner db backup`",
        )
    return _is_ours(path, found.st_size)


def _is_ours(path: str, size: int) -> bool:
    if size == 0:
        if os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):  # noqa: PTH110, PTH202 - as above
            raise DatabaseError(f"{path} is empty, but its journal is not: it was cut", hint="restore a backup")
        return False
    with translated(path):
        found = _application_id(path)
    if found != APPLICATION_ID:
        raise DatabaseError(f"{path} is another program's database", hint="give another path with --db")
    return True


def _application_id(path: str) -> int:
    """Ask immutably: no locks, no journal, no side effects on a file that may be somebody else's.

    A checkpoint that a full disk ended leaves a file that is whole only with its journal: then that is read too.
    """
    try:
        return _pragma(f"{uri(path, 'ro')}&immutable=1")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT or not os.path.exists(f"{path}-wal"):  # noqa: PTH110 - as above
            raise
    return _pragma(uri(path, "ro"))


def _pragma(name: str) -> int:
    with closing(sqlite3.connect(name, uri=True)) as connection:
        return int(connection.execute("PRAGMA application_id").fetchone()[0])


def roll_back(path: str) -> None:
    """Undo what a dead writer left half-written, where it had a rollback journal: only a writer can.

    Each new file begins with such a journal, and one on a network file system never gets another. Must be called by
    the holder of the lock. Raises DatabaseError.
    """
    if not os.path.exists(f"{path}-journal"):  # noqa: PTH110 - a path of any bytes
        return
    with translated(path), closing(_connect(uri(path, "rw"), BUSY_SECONDS, _COMMON)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()


def refuse_triggers(path: str, connection: Connection) -> None:
    """Refuse a file in which somebody hid code: our tables have no triggers."""
    found = connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE type = 'trigger' LIMIT 1").scalar()
    if found is not None:
        raise DatabaseError(f"{path} holds a trigger ({found!r}), which batchrunner never makes: it was tampered with")


class WriterOptions(NamedTuple):
    """How the one writing connection is opened."""

    timeout: float = BUSY_SECONDS
    """Seconds to wait for another program's lock."""
    wal: bool = True
    """Off: a rollback journal, which needs no memory that processes share; slower, and it makes readers wait."""


_AS_EVER = WriterOptions()


def _connect_writer(path: str, *, new: bool, options: WriterOptions) -> sqlite3.Connection:
    first = ("PRAGMA page_size = 4096", f"PRAGMA application_id = {APPLICATION_ID}") if new else ()
    journal = f"PRAGMA journal_mode = {'WAL' if options.wal else 'DELETE'}"
    where = uri(path, "rwc" if new else "rw")
    return _connect(where, options.timeout, (*first, *_COMMON, journal, *_WRITER))


def _connect_reader(path: str) -> sqlite3.Connection:
    where = uri(path, "ro") + ("&immutable=1" if _is_at_rest(path) else "")
    return _connect(where, BUSY_SECONDS, _COMMON + _READER)


def _connect(where: str, timeout: float, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(where, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        for pragma in pragmas:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()  # now, not when the error's traceback is forgotten: a file must not stay open by accident
        raise
    return connection


def _is_at_rest(path: str) -> bool:
    """Whether a database lies in a folder that we can't write, with no journal beside it: nobody is at work on it.

    SQLite would want to make its shared memory there, and refuse.
    """
    folder = os.path.dirname(path) or "."  # noqa: PTH120 - a path of any bytes
    return not os.access(folder, os.W_OK) and not os.path.exists(f"{path}-wal")  # noqa: PTH110


@contextmanager
def private() -> Iterator[None]:
    """Let files that are created inside be readable by their owner only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _engine(path: str, creator: Callable[[], sqlite3.Connection]) -> Engine:
    # pysqlite's own BEGIN is deferred and comes late: with isolation_level None we say it ourselves.
    engine = create_engine("sqlite+pysqlite://", creator=creator, poolclass=StaticPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.info.get("begin", "BEGIN"))

    return engine


def writer_engine(path: str, *, new: bool, options: WriterOptions = _AS_EVER) -> Engine:
    """Return an engine of one writing connection; a new file is created at once, readable by its owner only."""
    engine = _engine(path, lambda: _connect_writer(path, new=new, options=options))
    with translated(path), private():
        engine.connect().close()
    return engine


def reader_engine(path: str) -> Engine:
    """Return an engine of one read-only connection; it neither checkpoints nor removes the journal."""
    return _engine(path, lambda: _connect_reader(path))


_WRITE = "BEGIN IMMEDIATE"


class Session:
    """One connection of an engine, and its two kinds of transactions."""

    def __init__(self, path: str, engine: Engine) -> None:
        self.path = path
        self._engine = engine
        with translated(path):
            self._connection = engine.connect()
        self._watch: Watch | None = None
        self._held = False

    def watch(self) -> None:
        """From now on, refuse to write once the file is not where it was."""
        self._watch = Watch(self.path)

    def check_place(self) -> None:
        """Raise DatabaseError if the file is not where it was, once it is watched."""
        if self._watch is not None:
            self._watch.check()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that is on the disk when the block has ended, or has left nothing."""
        self.check_place()
        reached("write.before")
        with self._transaction(_WRITE) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read transaction: everything inside sees the same state."""
        if self._held:
            with decoded(self.path), translated(self.path):
                yield self._connection
            return
        with decoded(self.path), self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def still(self) -> Iterator[None]:
        """Make all reads inside one transaction, so that they see one state; the journal can't be folded meanwhile."""
        with self.read():
            self._held = True
            try:
                yield
            finally:
                self._held = False

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        connection = self._connection
        with translated(self.path):
            connection.info["begin"] = begin
            with connection.begin():
                yield connection
                if begin is _WRITE:
                    reached("write.inside")
        if begin is _WRITE:
            reached("write.done")

    def outside(self, statement: str, *values: Any) -> None:
        """Execute a statement that SQLite refuses inside a transaction."""
        with translated(self.path):
            driver = self._connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - for the type checker
            driver.execute(statement, values).fetchall()

    def connection(self) -> Connection:
        """Return the connection itself, for who manages its own transactions."""
        self._connection.info["begin"] = _WRITE
        return self._connection

    def close(self) -> None:
        """Close the connection; the last writer folds the journal into the file."""
        reached("close")
        with translated(self.path):
            self._connection.close()
            self._engine.dispose()
