"""Runs migrations on the connection that the program hands over, or on the file that ``-x db=PATH`` names."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection

from batchrunner.core.errors import ConfigurationError
from batchrunner.store.lock import hold
from batchrunner.store.sqlite import Session, recognise, writer_engine
from batchrunner.store.tables import meta


@contextmanager
def _connection() -> Iterator[Connection]:
    given = context.config.attributes.get("connection")
    if given is not None:
        yield given
        return
    path = context.get_x_argument(as_dictionary=True).get("db")
    if path is None:
        raise ConfigurationError("no database named", hint="alembic -x db=PATH ...")
    with hold(path):
        session = Session(path, writer_engine(path, new=not recognise(path)))
        try:
            yield session.connection()
        finally:
            session.close()


def _run() -> None:
    with _connection() as connection:
        # SQLite's schema changes are transactional, once BEGIN is said before them: each migration is all or nothing.
        context.configure(
            connection=connection,
            target_metadata=meta.metadata,
            transactional_ddl=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise ConfigurationError("migrations run on a database, not to a script", hint="leave out --sql")
_run()
