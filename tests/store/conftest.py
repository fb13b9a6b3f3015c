"""Nobody but SQLite may open a database file in this process: closing that descriptor would drop SQLite's locks."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_opened: list[str] = []
_allowed = 0


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and not _allowed and isinstance(args[0], str | bytes | os.PathLike):
        path = os.fsdecode(args[0])
        if path.endswith((".db", ".db-wal", ".db-shm")):
            _opened.append(path)


sys.addaudithook(_listen)


@pytest.fixture(autouse=True)
def only_sqlite_opens_the_database() -> Iterator[None]:
    _opened.clear()
    yield
    assert _opened == []


@pytest.fixture
def tamper() -> Callable[[Path, Callable[[bytes], bytes]], None]:
    """Change a closed database's bytes, as a bad disk or a person would."""

    def change(path: Path, how: Callable[[bytes], bytes]) -> None:
        global _allowed
        _allowed += 1
        try:
            path.write_bytes(how(path.read_bytes() if path.exists() else b""))
        finally:
            _allowed -= 1

    return change


@pytest.fixture
def bytes_of() -> Callable[[Path], bytes]:
    """Read a closed database's bytes."""

    def read(path: Path) -> bytes:
        global _allowed
        _allowed += 1
        try:
            return path.read_bytes()
        finally:
            _allowed -= 1

    return read
