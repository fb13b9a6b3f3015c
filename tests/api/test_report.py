"""A report beside a live run: what it shows adds up, whatever is written while it is made."""

from pathlib import Path
from typing import Any

from batchrunner.api.report import report_figures
from batchrunner.core.slices import EVERYTHING
from batchrunner.store.database import SqliteReader, SqliteStore, open_reader, open_store
from tests.store.making import INFO, NOW, heads, line, load, start_calls, succeed

SECOND = 1_000_000


class Overtaken:
    """A reader beside a run that records another answer before each slice of the costs is read."""

    def __init__(self, reader: SqliteReader, store: SqliteStore, calls: list[Any]) -> None:
        self._reader, self._store, self._calls = reader, store, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def costs(self, *asked: Any) -> Any:
        self._store.commit([], [succeed(self._calls.pop(), ended=NOW + SECOND)], [], NOW)
        return self._reader.costs(*asked)


def test_a_report_beside_a_live_run_adds_up(tmp_path: Path) -> None:
    with open_store(tmp_path / "q.db") as store:
        store.start(INFO, NOW, {"together": "key"})
        job = load(store, [line(n) for n in range(1, 31)])
        calls = start_calls(store, heads(store, job))
        store.commit([], [succeed(calls.pop(), ended=NOW + SECOND) for _ in range(3)], [], NOW)
        reader: Any = Overtaken(open_reader(tmp_path / "q.db"), store, calls)

        shown = report_figures([("q.db", reader)], EVERYTHING, made=NOW)

        reader.close()
        assert len(calls) < 25
    assert shown.total.attempts == 3
    for slices in (shown.daily, shown.models, shown.jobs, shown.endpoints, shown.accounts):
        assert sum(one.attempts for one in slices) == 3
    assert sum(one.answers for one in shown.latencies) == sum(one.answered for one in shown.flows) == 3
