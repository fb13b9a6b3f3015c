"""Killed anywhere, a job of repeated lines ends with an answer for each, and no body is bought twice unnoticed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.books import lost
from tests.e2e.forks import Forks
from tests.e2e.place import Box, boxed, chats, placed
from tests.invariants import Scenario, ask, broken

pytestmark = pytest.mark.slow
DIFFERENT, TIMES = 10, 4


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(latency=0.01, latency_jitter=0.5, retry_after_style="none") as opened:
        yield opened


@pytest.mark.parametrize(
    "crash", ["load.seal:1", "write.inside:4", "commit.opened:2", "answered:3", "commit.recorded:2", "export.rename:1"]
)
def test_p2_a_crash_beside_copies_loses_nothing_and_buys_nothing_unnoticed(
    crash: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        bodies = chats(DIFFERENT, prefix=crash)
        lines = [{**line, "custom_id": f"{line['custom_id']}.{n}"} for n in range(TIMES) for line in bodies]
        place.file(lines)
        words = place.job("--concurrency", "4", "--dedupe")
        assert forks.run(place, *words, crash=crash).code == 137
        ended = forks.run(place, *words)
        assert ended.code == 0, ended.err
        calls = box.calls()[before:]
        assert len(calls) - DIFFERENT <= lost(place)
        assert len({call.body_sha256 for call in calls}) == DIFFERENT
        db = place.folder / "q.db"
        assert (
            broken(Scenario(db=db, calls=calls, job=place.folder / "job.jsonl", outputs=[place.folder / "out.jsonl"]))
            == []
        )
        assert ask(
            db, "SELECT count(*), count(copy_of), sum(attempts > 0) FROM requests WHERE state = 'succeeded'"
        ) == [(DIFFERENT * TIMES, DIFFERENT * (TIMES - 1), DIFFERENT)]
