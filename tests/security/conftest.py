"""The provider that is meant, and the server that is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import finished, here, worked
from tests.e2e.conftest import at
from tests.e2e.place import Box, boxed
from tests.security.sink import Sink, sink

__all__ = ["at", "finished", "here", "worked"]


@pytest.fixture
def evil() -> Iterator[Sink]:
    with sink() as made:
        yield made


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
