"""One place and one box for each test that asks for no special ones."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.forks import Forks
from tests.e2e.place import Place, boxed, placed

Start = Callable[..., Place]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Start]:
    """Makes a place whose provider has these settings."""
    with ExitStack() as stack:

        def make(*, key: str = "any-key", name: str = "here", **settings: Any) -> Place:
            (tmp_path / name).mkdir()
            box = stack.enter_context(boxed(**settings))
            return stack.enter_context(placed(tmp_path / name, box, key))

        yield make


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Starts runs as forks of one process that has imported everything."""
    made = Forks()
    yield made
    made.close()
