"""The state machine on SQLite."""

import shutil
import tempfile
from pathlib import Path

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


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
