"""Disk that vectors will take, in words."""

import os
from pathlib import Path

from batchrunner.api.room import VectorRoom
from batchrunner.store.filesystem import free_at


def told(room: VectorRoom, db: Path, out: Path) -> str:
    """Say what vectors will take and what is free, where the database is and where they are exported to."""
    export = f", {_gib(room.export)} in a file of all" if room.export else ""
    free = f"{_free(db)} free"
    if room.export and not on_one_disk(db, out):
        free += f" at the database, {_free(out)} at {out}"
    return f"at most {_gib(room.database)} more in the database{export}; {free}"


def on_one_disk(one: Path, other: Path) -> bool:
    """Whether two files are, or would be, on one file system."""
    try:
        return os.stat(one.parent).st_dev == os.stat(other.parent).st_dev  # noqa: PTH116 - only the device counts
    except OSError:
        return True  # a folder that is not there is told of elsewhere


def _free(path: Path) -> str:
    try:
        return _gib(free_at(str(path)))
    except OSError as error:
        return error.strerror or "unknown"


def _gib(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GiB" if size >= 1 << 30 else f"{max(1, size >> 20):,} MiB"
