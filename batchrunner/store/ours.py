"""Whether a database is as this program makes it: nobody's code in it, no table bent, and nobody else's file.

Somebody may have sent it. Opening a file runs none of its code, but a trigger, an index on an expression or a changed
table would work on what we write, and a database without our keys would let an answer be paid for twice.
"""

import functools
import os

from sqlalchemy import Connection, create_engine

from batchrunner.core.errors import DatabaseError
from batchrunner.store import schema

Shape = tuple[str, str, str]
"""Type, table and SQL text of one object of a schema."""

_OBJECTS = "SELECT name, type, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
_OWN_ADVICE = (
    "work with a database that batchrunner made; `batchrunner results` of the one who sent it gives its answers"
)


def refuse_foreign_schema(path: str, connection: Connection) -> None:
    """Raise DatabaseError where a database of the newest schema is not made as we make it.

    Each of our tables, indexes and views must be there, letter by letter. Tables and views that somebody added for
    their own use are left alone; triggers and further indexes are not, since they would run when we write.
    """
    found = _objects(connection)
    for name, shape in _expected().items():
        if found.get(name) != shape:
            raise DatabaseError(f"{path}: {name!r} is not as batchrunner makes it: tampered with", hint=_OWN_ADVICE)
    for name in found.keys() - _expected().keys():
        if found[name][0] not in ("table", "view"):
            raise DatabaseError(
                f"{path} holds {found[name][0]} {name!r}, which batchrunner never makes", hint=_OWN_ADVICE
            )


def refuse_another_owner(path: str | os.PathLike[str]) -> None:
    """Raise DatabaseError where a database belongs to another user than this process, as it does under ``sudo``.

    What root writes beside it, its owner could not use any more. A file that is not there has no owner yet.
    """
    try:
        owner = os.stat(path).st_uid  # noqa: PTH116 - a path of any bytes
    except OSError:
        return  # opening it will say why
    if owner != os.geteuid():
        raise DatabaseError(
            f"{os.fspath(path)} belongs to user {_name(owner)}, and this is {_name(os.geteuid())}",
            hint=f"run it as that user (sudo -u {_name(owner)} ...), or with --any-owner if you mean it",
        )


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _objects(connection: Connection) -> dict[str, Shape]:
    rows = connection.exec_driver_sql(_OBJECTS)
    return {name: (kind, table, sql) for name, kind, table, sql in rows}


@functools.cache
def _expected() -> dict[str, Shape]:
    """Make the schema anew, in memory: what a file has to be compared with."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            schema.create(connection)
            return _objects(connection)
    finally:
        engine.dispose()
