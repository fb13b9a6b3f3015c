"""Texts that have a place already, by their digests: a database of its own that SQLite keeps in a nameless file."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from batchrunner.store.driver import ManyRows

CACHE = 32 << 10
"""KiB of it in memory: a million texts fit, and what is beyond that goes to the disk."""
AT_ONCE = 5_000
"""Digests that one statement looks up."""

_TABLE = """CREATE TABLE seen (digest BLOB PRIMARY KEY, request_id INTEGER NOT NULL, pos INTEGER NOT NULL,
 had INTEGER NOT NULL) WITHOUT ROWID"""
# One row for all that is found: to step from row to row is to fight for the interpreter's lock each time.
_FIND = """SELECT json_group_array(json_array(hex(digest), request_id, pos, had)) FROM seen WHERE digest IN (%s)"""
_ADD = ManyRows("INSERT OR REPLACE INTO seen (digest, request_id, pos, had) VALUES %s", "(?, ?, ?, 1)")
_KNOWN = "INSERT OR IGNORE INTO seen (digest, request_id, pos, had) VALUES (?, ?, ?, 0)"


class SeenTexts:
    """``Seen`` over a private database. ``known`` are the texts of earlier loads: digest, pack and place.

    It is used by one thread at a time, and gone when it is closed or its process is.
    """

    def __init__(self, known: Iterable[tuple[bytes, int, int]]) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in (f"cache_size = -{CACHE}", "journal_mode = OFF", "synchronous = OFF"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(_TABLE)
        self._connection.execute("BEGIN")
        self._connection.executemany(_KNOWN, known)

    def find(self, digests: Sequence[bytes]) -> dict[bytes, tuple[int | None, int, bool]]:
        """Return the known ones among these: their pack, their place in it, and whether this load has had them."""
        found: dict[bytes, tuple[int | None, int, bool]] = {}
        for start in range(0, len(digests), AT_ONCE):
            some = digests[start : start + AT_ONCE]
            rows: str = self._connection.execute(_FIND % ",".join("?" * len(some)), some).fetchone()[0]
            for digest, request_id, pos, had in json.loads(rows):
                found[bytes.fromhex(digest)] = request_id, pos, had == 1
        return found

    def add(self, places: Mapping[bytes, tuple[int, int]]) -> None:
        """Add texts that are new in this load, or that it has for the first time."""
        values = [value for digest, place in places.items() for value in (digest, *place)]
        _ADD.execute(self._connection.cursor(), values)

    def close(self) -> None:
        """Forget it all."""
        self._connection.close()
