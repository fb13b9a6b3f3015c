"""The conformance suite on SQLite."""

import pytest

from tests.store.conformance import *  # noqa: F403 - the suite itself
from tests.store.making import SqliteEngine


@pytest.fixture
def engine(tmp_path):
    return SqliteEngine(tmp_path / "q.db")
