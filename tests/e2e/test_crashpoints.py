"""The process is killed at every named point of its work: nothing is lost, and every call is in the books."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.books import SLACK, check_books, lost
from tests.e2e.forks import Forks
from tests.e2e.place import Box, Place, boxed, chats, placed, quiet

pytestmark = pytest.mark.slow

ROWS = 14
CONCURRENCY = 4
POINTS = (
    "write.before", "write.inside", "write.done", "load.seal", "commit.opened", "commit.recorded",
    "send", "answered", "export.rename", "export.renamed", "close",
)  # fmt: skip
"""What every run passes, in this order; other points have their own tests."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(latency=0.01, latency_jitter=0.5, retry_after_style="none") as opened:
        yield opened


@pytest.fixture(scope="module")
def passes(box: Box, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often an undisturbed run passes each point."""
    folder = tmp_path_factory.mktemp("count")
    with placed(folder, box) as place:
        place.file(chats(ROWS))
        ended = forks.run(place, *words(place), crash=f"count:{folder / 'counts'}")
        assert ended.code == 0, ended.err
        counted: dict[str, int] = json.loads((folder / "counts").read_text())
    return counted


def words(place: Place) -> tuple[str, ...]:
    return place.job("--concurrency", str(CONCURRENCY))


def test_every_point_that_a_run_passes_is_known_here(passes: dict[str, int]) -> None:
    assert set(passes) == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_p2_a_crash_at_this_point_loses_nothing(
    point: str, passes: dict[str, int], box: Box, forks: Forks, tmp_path: Path
) -> None:
    for number in (1, 2):
        crash_and_go_on(f"{point}:{number}", box, forks, tmp_path / str(number), may_end=passes[point] < number)
    for number in range(passes[point], 2, -1):  # the last one: how many there are differs a little from run to run
        if crash_and_go_on(f"{point}:{number}", box, forks, tmp_path / str(number), may_end=True):
            break


def crash_and_go_on(crash: str, box: Box, forks: Forks, folder: Path, *, may_end: bool) -> bool:
    """Crash a run and let another one end it; False if it ended before it came to that point."""
    folder.mkdir()
    before = len(box.calls())
    with placed(folder, box) as place:
        lines = chats(ROWS, prefix=crash)
        place.file(lines)
        code = forks.run(place, *words(place), crash=crash).code
        if may_end and code == 0:
            return False
        assert code == 137
        ended = forks.run(place, *words(place))
        assert ended.code == 0, ended.err
        assert quiet(ended.err)
        calls = box.calls()[before:]
        check_books(place, lines, calls)
        assert lost(place) <= CONCURRENCY + SLACK
        assert len(calls) - ROWS <= lost(place), "a call was repeated that nobody took for lost"
    return True


def test_p3_a_crash_while_taking_over_from_a_crash_three_times(box: Box, forks: Forks, tmp_path: Path) -> None:
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        lines = chats(ROWS, prefix="nested")
        place.file(lines)
        for crash in ("answered:3", "rescue:1", "rescue:1", "rescue:1", "answered:2", "rescue:1"):
            assert forks.run(place, *words(place), crash=crash).code == 137
        ended = forks.run(place, *words(place))
        assert ended.code == 0, ended.err
        calls = box.calls()[before:]
        check_books(place, lines, calls)
        assert len(calls) - ROWS <= lost(place) <= 2 * (CONCURRENCY + SLACK)


@pytest.mark.parametrize(
    "crash", ["spill.written:1", "takein.recorded:1", "write.inside:1", "write.done:1", "spill.taken:1"]
)
def test_p2_a_crash_while_the_spill_is_written_or_taken_in(crash: str, box: Box, forks: Forks, tmp_path: Path) -> None:
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        lines = chats(ROWS, prefix=f"spill-{crash}")
        place.file(lines)
        assert forks.run(place, "load", "job.jsonl", "--db", "q.db").code == 0
        at_once = crash if crash.startswith("spill.written") else ""
        ended = forks.run(place, *words(place), crash=at_once, prelude=FAILING)
        assert ended.code == (137 if at_once else 74), ended.err
        assert (place.folder / "q.db.spill").exists()
        if not at_once:
            assert forks.run(place, *words(place), crash=crash).code == 137
        ended = forks.run(place, *words(place))
        assert ended.code == 0, ended.err
        calls = box.calls()[before:]
        check_books(place, lines, calls)
        assert len(calls) - ROWS <= lost(place)
        if not at_once:
            assert (len(calls), lost(place)) == (ROWS, 0)


FAILING = """
from batchrunner.core.errors import DatabaseError
from batchrunner.store.queue import SqliteQueue
commit, times = SqliteQueue.commit, []
def failing(self, openings, closings, *rest, **more):
    times.append(1)
    if len(times) > 3:
        raise DatabaseError("the disk reported an error (test)")
    return commit(self, openings, closings, *rest, **more)
SqliteQueue.commit = failing
"""
"""From the fourth commit on, the database takes nothing more."""
