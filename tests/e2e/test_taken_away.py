"""The database is deleted, moved or replaced at random moments of a run, and put back after it."""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchrunner.store.database import open_store
from tests.e2e.books import check_books, lost
from tests.e2e.forks import Forks
from tests.e2e.place import Box, Place, boxed, chats, placed, quiet, until

pytestmark = pytest.mark.slow

ROWS = 32
CONCURRENCY = 6
RUNS = int(os.environ.get("TAKEN_AWAY_RUNS", "3"))
"""Runs whose database is taken away. A longer series begins with the shorter one."""
SEED = int(os.environ.get("TAKEN_AWAY_SEED", "9"))
FILES = ("q.db", "q.db-wal", "q.db-shm")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(latency=0.15, latency_jitter=0.9, retry_after_style="none") as opened:
        yield opened


def deleted(place: Place, dice: random.Random) -> None:
    """Some of its files, at least one, in any order."""
    for name in dice.sample(FILES, dice.randint(1, 3)):
        (place.folder / name).unlink(missing_ok=True)


def moved(place: Place, dice: random.Random) -> None:
    """Alone, or with what belongs to it; to another folder or another name."""
    away = place.folder / "away"
    away.mkdir()
    for name in FILES if dice.random() < 0.5 else FILES[:1]:
        (place.folder / name).rename(away / name)


def replaced(place: Place, dice: random.Random) -> None:
    """By an older copy of itself, by another queue, or by an empty file: what a restore or another job may do."""
    kind = dice.choice(["older", "other", "empty"])
    new = place.folder / "new.db"
    if kind == "older":
        shutil.copyfile(place.talk / "before.db", new)
    elif kind == "other":
        open_store(new).close()
    else:
        new.touch()
    new.rename(place.db)


WAYS: list[Callable[[Place, random.Random], None]] = [deleted, moved, replaced]


def keep(place: Place) -> None:
    """Give the files a second name each, as an undelete would find them."""
    (place.talk / "kept").mkdir()
    for name in FILES:
        if (place.folder / name).exists():
            os.link(place.folder / name, place.talk / "kept" / name)


def put_back(place: Place) -> None:
    """Put back what was there, under one name each; shared memory is made anew."""
    shutil.rmtree(place.folder / "away", ignore_errors=True)
    for name in FILES:
        (place.folder / name).unlink(missing_ok=True)
    for name in FILES[:2]:
        if (place.talk / "kept" / name).exists():
            (place.talk / "kept" / name).rename(place.folder / name)
    shutil.rmtree(place.talk / "kept")


@pytest.mark.timeout(120 + 10 * RUNS)
def test_d9_a_database_taken_away_at_random_moments_loses_no_paid_answer(
    box: Box, forks: Forks, tmp_path: Path
) -> None:
    for number in range(RUNS):
        dice = random.Random(f"{SEED} {number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        with placed(folder, box) as place:
            take_away(place, WAYS[number % len(WAYS)], dice, forks)


def take_away(place: Place, way: Callable[[Place, random.Random], None], dice: random.Random, forks: Forks) -> None:
    box, lines = place.box, chats(ROWS, prefix="away")
    place.file(lines)
    assert forks.run(place, "load", "job.jsonl", "--db", "q.db").code == 0
    shutil.copyfile(place.db, place.talk / "before.db")
    before = len(box.calls())
    words = place.job("--concurrency", str(CONCURRENCY))
    forks.start(place, *words)
    moment = before + dice.randint(1, ROWS - 2 * CONCURRENCY)
    until(lambda: len(box.calls()) >= moment)
    time.sleep(dice.uniform(0.0, 0.1))
    keep(place)
    began = time.time()
    way(place, dice)
    ended = forks.end()

    said = f"{way.__name__} at call {moment - before}: exit {ended.code}\n{ended.err}"
    assert ended.code == 74, said
    assert quiet(ended.err), said
    assert "deleted, moved or replaced" in ended.err, said
    late = [call for call in box.calls()[before:] if call.wall > began + 1.0]
    assert late == [], f"calls were made more than a second later: {said}"
    put_back(place)
    again = forks.run(place, *words)
    assert again.code == 0, said + again.err
    calls = box.calls()[before:]
    check_books(place, lines, calls)
    assert (len(calls), lost(place)) == (ROWS, 0), f"a paid answer was lost, or bought again: {said}"
