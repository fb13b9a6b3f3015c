"""The way of the hot statements past SQLAlchemy, whose bookkeeping costs 20 to 30 microseconds a statement."""

import sqlite3
from typing import Any, cast

from sqlalchemy import Connection

LARGEST = 1024
"""Rows that one statement takes at most: below SQLite's bound on parameters (32,766), and long enough for a thread
beside it to get something done meanwhile."""


def driver(connection: Connection) -> sqlite3.Cursor:
    """Return a new cursor of the driver's own, inside the transaction that the connection is in."""
    return cast(sqlite3.Cursor, connection.connection.cursor())


class ManyRows:
    """A statement over a list of rows, run for many of them at a time.

    ``executemany`` steps once a row, and around each step the driver gives the interpreter's lock away and fights the
    event loop to get it back. The rows of one group must not depend on each other: their order is kept for what is
    inserted, but nothing promises in which order it happens.
    """

    def __init__(self, statement: str, row: str) -> None:
        """``%s`` in the statement is where the rows stand, ``row`` one of them with its placeholders."""
        # Powers of two, so that few statements serve every number of rows and stay prepared.
        sizes = [1 << power for power in reversed(range(LARGEST.bit_length()))]
        width = row.count("?")
        self._statements = [(size * width, statement % ", ".join([row] * size)) for size in sizes]

    def execute(self, cursor: sqlite3.Cursor, values: list[Any]) -> None:
        """Execute for all rows, whose values stand one after the other."""
        start = 0
        for size, statement in self._statements:
            while len(values) - start >= size:
                cursor.execute(statement, values[start : start + size])
                start += size
