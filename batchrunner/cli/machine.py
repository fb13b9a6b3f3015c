"""What ``doctor`` finds out about the machine: Python, SQLite, disk, files, terminal."""

import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from batchrunner.core.errors import ExitCode
from batchrunner.store.filesystem import mount_of, mounts

OLDEST_SQLITE: Final = (3, 37, 0)
"""The first with strict tables."""
MENDED_SQLITE: Final = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""SQLite's release notes: where the WAL-reset bug, which was in every version from 3.7.0 on, is mended."""

FULL: Final = 64 << 20
TIGHT: Final = 1 << 30
"""Bytes of free disk below which a run can't go on, and below which it may not last."""

SPARE_FILES: Final = 64
"""Descriptors for the database, the terminal and what else is open beside the connections."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    level: Level
    message: str
    fix: str = ""
    code: ExitCode = ExitCode.OK
    """The exit code that a problem asks for."""


def python(version: tuple[int, int, int]) -> Finding:
    """Look at Python's version."""
    shown = ".".join(map(str, version))
    return Finding("python", Level.OK, f"{shown} at {sys.executable}")


def sqlite_version() -> tuple[int, int, int]:
    """Return the version of the SQLite library that Python was built with."""
    import sqlite3

    return sqlite3.sqlite_version_info


def sqlite(version: tuple[int, int, int]) -> Finding:
    """Look at SQLite's version."""
    shown = ".".join(map(str, version))
    if version < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        return Finding(
            "sqlite", Level.PROBLEM, f"{shown} is too old, {wanted} is needed", "use a newer Python", ExitCode.DATABASE
        )
    if version >= MENDED_SQLITE[-1] or any(version[:2] == fix[:2] and version >= fix for fix in MENDED_SQLITE):
        return Finding("sqlite", Level.OK, shown)
    return Finding(
        "sqlite",
        Level.WARNING,
        f"{shown} has the WAL-reset bug: a second program that writes can damage a database; batchrunner is only one",
        "let no other program write to the database during a run, or use a Python with SQLite 3.51.3",
    )


def folder(db: Path) -> Finding:
    """Look at the folder of a database: is it there, can it be written, is it on a local disk?"""
    place = db.parent
    if not place.is_dir():
        return _no_place(f"{place} is not there", f"mkdir -p {place}, or give another --db")
    if not os.access(place, os.W_OK | os.X_OK):
        return _no_place(f"{place} can't be written", "change its permissions, or give another --db")
    if db.exists() and not os.access(db, os.R_OK | os.W_OK):
        return _no_place(f"{db} can't be read and written", "change its permissions, or give another --db")
    mount = mount_of(place.resolve(), mounts())
    kind = "" if mount is None else mount.kind
    if mount is not None and mount.is_network:
        return _no_place(f"{place} is on a network file system ({kind})", "put the database on a local disk with --db")
    return Finding("folder", Level.OK, f"{place} can be written" + (f", {kind}" if kind else ""))


def _no_place(message: str, fix: str) -> Finding:
    return Finding("folder", Level.PROBLEM, message, fix, ExitCode.DATABASE)


def file_system(place: Path, mounts: str) -> str | None:
    """Return the type of the file system that a folder is on, by Linux's table of mounts; None: not told."""
    found = mount_of(place, mounts)
    return None if found is None else found.kind


def mode(db: Path) -> Finding | None:
    """Return a warning where others may read a database; None where they may not."""
    if not db.stat().st_mode & 0o077:
        return None
    return Finding("database", Level.WARNING, f"other users may read {db}: prompts and answers", f"chmod 600 {db}*")


def disk(place: Path) -> Finding:
    """Look at the free space of a disk."""
    while not place.exists():
        place = place.parent
    return space(shutil.disk_usage(place).free)


def space(free: int) -> Finding:
    """Judge free space, in bytes."""
    shown = f"{free / (1 << 30):.1f} GiB free"
    if free < FULL:
        return Finding(
            "disk", Level.PROBLEM, shown, "free some space, or put the database elsewhere", ExitCode.DATABASE
        )
    if free < TIGHT:
        return Finding("disk", Level.WARNING, f"{shown}: little for a large job", "free some space")
    return Finding("disk", Level.OK, shown)


def open_files(concurrency: int) -> Finding:
    """Look at the limit on open files: each call in flight has a connection of its own."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return allowed(None if hard == resource.RLIM_INFINITY else hard, concurrency)


def allowed(hard: int | None, concurrency: int) -> Finding:
    """Judge a hard limit on open files; None: there is none."""
    needed = concurrency + SPARE_FILES
    if hard is None or hard >= needed:
        limit = "no limit" if hard is None else f"{hard:,} allowed"
        return Finding("files", Level.OK, f"{limit}, {needed:,} needed for a concurrency of {concurrency:,}")
    return Finding(
        "files",
        Level.PROBLEM,
        f"{hard:,} open files allowed, {needed:,} needed for a concurrency of {concurrency:,}",
        f"raise it with ulimit -n {needed}, or take --concurrency {max(1, hard - SPARE_FILES)}",
        ExitCode.USAGE,
    )


def terminal() -> Finding:
    """Look at what the live view is drawn on."""
    encoding = (getattr(sys.stderr, "encoding", None) or "unknown").lower()
    if not sys.stderr.isatty():
        return Finding("terminal", Level.OK, "none on stderr: a run tells how it goes every 30 seconds")
    if "utf" not in encoding:
        return Finding("terminal", Level.WARNING, f"its encoding is {encoding}", "export LC_ALL=C.UTF-8")
    size = shutil.get_terminal_size()
    return Finding("terminal", Level.OK, f"{size.columns} x {size.lines}, {encoding}")
