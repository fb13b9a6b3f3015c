"""The disk reports an error at any one of a run's calls, or from that one on: SQLite's own method of testing."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.books import check_books, lost
from tests.e2e.failing_disk import CALLS, COMPILER, FailingDisk, built
from tests.e2e.forks import Forks
from tests.e2e.place import Box, Place, boxed, chats, placed, quiet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="the failing disk is built with a C compiler"),
]

ROWS = 6
CONCURRENCY = 3
RUNS = int(os.environ.get("DISK_ERROR_RUNS", "1"))
"""Calls of a kind that fail, spread evenly over all of a run's; with 1000, which are more than it makes, each one."""
SCOPE = {"once": "", "database": "q.db", "everything": ""}
HOW = {"once": 0.5, "database": 0.2, "everything": 0.8}
"""At one call on any file; or at every one from then on, on the database's files or on all of the folder. And where in
its share of the run the call lies, so that a few tests meet many moments."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(latency=0.01, latency_jitter=0.5, retry_after_style="none") as opened:
        yield opened


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(preload=built(tmp_path_factory.mktemp("library")))
    yield made
    made.close()


def words(place: Place) -> tuple[str, ...]:
    return place.job("--concurrency", str(CONCURRENCY))


def spread(most: int, how: str) -> list[int]:
    """Which of so many calls fail, one after the other; they begin with 1."""
    wanted = min(most, RUNS)
    return [1 + int((number + HOW[how]) * most / wanted) for number in range(wanted)]


@pytest.fixture(scope="module")
def counted(box: Box, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], int]:
    """Return how many such calls a run makes on a sound disk."""

    @functools.cache
    def count(call: str, name: str) -> int:
        with placed(tmp_path_factory.mktemp("sound"), box) as place:
            place.file(chats(ROWS, prefix="io"))
            disk = FailingDisk(place.talk, place.folder / name, call)
            ended = forks.run(place, *words(place), prelude=disk.prelude())
            assert ended.code == 0, ended.err
            return disk.count().seen

    return lambda call, how: count(call, SCOPE[how])


@pytest.mark.timeout(120 + 3 * RUNS)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("call", CALLS)
def test_d20_an_error_at_any_call_loses_no_paid_answer(
    call: str, how: str, counted: Callable[[str, str], int], box: Box, forks: Forks, tmp_path: Path
) -> None:
    most = counted(call, how)
    assert most > 1
    failed = sum(failing_at(number, call, how, box, forks, tmp_path) for number in spread(most, how))
    print(f"{call}, {how}: {most} calls, {failed} runs with an error")
    assert failed >= min(most, RUNS) * 0.8, "other runs make fewer calls than the one that was counted"


def failing_at(number: int, call: str, how: str, box: Box, forks: Forks, tmp_path: Path) -> bool:
    """Run with an error at this call, and again without one. Return whether there was an error."""
    folder = tmp_path / str(number)
    folder.mkdir()
    before = len(box.calls())
    with placed(folder, box) as place:
        lines = chats(ROWS, prefix="io")
        place.file(lines)
        disk = FailingDisk(place.talk, place.folder / SCOPE[how], call)
        ended = forks.run(place, *words(place), prelude=disk.prelude(number, sticky=how != "once"))
        said = f"{call} {number}, {how}: exit {ended.code}\n{ended.err}"
        assert ended.code in (0, 74), said
        assert quiet(ended.err), said
        assert ended.code == 0 or disk.count().failed, said
        again = forks.run(place, *words(place))
        assert again.code == 0, said + again.err
        calls = box.calls()[before:]
        check_books(place, lines, calls)
        bought_again = len(calls) - ROWS
        assert bought_again <= (lost(place) if how == "everything" else 0), said
        return disk.count().failed > 0
