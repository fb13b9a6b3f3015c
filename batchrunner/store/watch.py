"""Notices that the database's file was taken away: SQLite itself would go on writing into what nobody can open."""

import os

from batchrunner.core.errors import DatabaseError


class Watch:
    """Notices that the file was deleted, moved or replaced beneath us: SQLite itself would go on writing into it."""

    def __init__(self, path: str) -> None:
        # Without a write-ahead log there is no journal between two transactions, and nothing of it to watch.
        beside = (f"{path}-wal", f"{path}-shm")
        self._paths = (path, *(name for name in beside if os.path.exists(name)))  # noqa: PTH110 - a path of any bytes
        self._known = self._look()

    def _look(self) -> tuple[tuple[int, int], ...] | None:
        try:
            return tuple((found.st_dev, found.st_ino) for found in map(os.stat, self._paths))
        except OSError:
            return None

    def check(self) -> None:
        """Raise DatabaseError if the path does not lead to the file that was opened any more."""
        if self._look() != self._known:
            raise DatabaseError(
                f"{self._paths[0]}: the database or its journal was deleted, moved or replaced while it was in use",
                hint="put the file back where it was",
            )
