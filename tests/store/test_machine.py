"""The state machine on SQLite."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.store.machine import QueueMachine
from tests.store.making import SqliteEngine


class SqliteMachine(QueueMachine):
    def make_engine(self):
        self.folder = tempfile.mkdtemp()
        return SqliteEngine(Path(self.folder) / "q.db")

    def teardown(self):
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


def case(examples, steps):
    test = type("Case", (SqliteMachine.TestCase,), {})
    test.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return test


TestSqliteMachine = case(10, 20)
TestSqliteMachineAtLength = pytest.mark.slow(case(60, 40))
