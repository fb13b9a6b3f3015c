"""The program is killed between purchase, poll and download: nothing is bought twice, and no file is missing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchrunner.api.audit import audit, shown
from batchrunner.simulator import Entry
from batchrunner.simulator.files import behind
from tests.e2e.books import lost
from tests.e2e.forks import Forks
from tests.e2e.place import Box, Place, boxed, placed, quiet

pytestmark = pytest.mark.slow

FLUX = "black-forest-labs/FLUX.1-schnell"
OF_FILES = (
    "commit.continued", "continued", "fetch", "fetched", "artifact.written", "artifact.kept", "commit.settled",
)  # fmt: skip
"""Points that two pictures pass once their answers have come."""
OF_POLLS = ("commit.continued", "poll", "polled", "fetched")
"""Points that a video passes."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(video_seconds=0.5) as opened:
        yield opened


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


def picture(mark: str) -> dict[str, Any]:
    body = {"model": FLUX, "prompt": f"a fox at {mark}", "n": 2, "width": 128, "height": 64}
    return {"custom_id": mark, "url": "/v1/images/generations", "body": body}


def video(mark: str) -> dict[str, Any]:
    body = {"model": "minimax/hailuo-02", "prompt": f"a fox at {mark}"}
    return {"custom_id": mark, "url": "/v2/videos", "body": body}


def looks(box: Box, before: int) -> list[Entry]:
    return [entry for entry in list(box._provider.ledger.entries)[before:] if entry.method == "GET"]


def check_files(place: Place, served: list[Entry], number: int) -> None:
    """Every result names files that are there, beside the results, and hold what the provider served."""
    wanted = {found.body for found in (behind(entry.path) for entry in served) if found is not None}
    held = []
    for line in place.lines():
        for file in line["batchrunner"]["artifacts"]:
            data = (place.folder / file["path"]).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (file["sha256"], file["size"])
            held.append(data)
    assert len(held) == number
    assert set(held) == wanted
    assert list((place.folder / "q.db.artifacts").glob(".*")) == []


def crash_and_go_on(
    lines: list[dict[str, Any]], crash: str, box: Box, forks: Forks, folder: Path, *, files: int, may_end: bool = False
) -> tuple[int, int]:
    """Crash a run, let another one end it; return the purchases and how many attempts were lost.

    ``may_end``: it may never come to that point, as several rows share a commit.
    """
    folder.mkdir()
    before, first = len(box.calls()), len(box._provider.ledger.entries)
    with placed(folder, box) as place:
        place.file(lines)
        ended = forks.run(place, *place.job(), crash=crash)
        assert ended.code in ((0, 137) if may_end else (137,)), ended.err
        ended = forks.run(place, *place.job())
        assert ended.code == 0, ended.err
        assert quiet(ended.err)
        calls, served = box.calls()[before:], looks(box, first)
        assert len(calls) <= len(lines) + lost(place), "a purchase was repeated that nobody took for lost"
        assert place.rows("SELECT count(*) FROM continuations") == [(0,)]
        assert shown(audit(place.db, calls)) == []
        assert all(entry.key_fingerprint is None for entry in served if "/files/" in entry.path)
        check_files(place, [entry for entry in served if entry.written], files)
        return len(calls), lost(place)


@pytest.mark.parametrize("point", OF_FILES)
def test_p2_a_kill_between_answer_and_download_buys_nothing_again(
    point: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    one = crash_and_go_on([picture(point)], f"{point}:1", box, forks, tmp_path / "one", files=2)
    # Inside the very commit of the continuation nothing is written yet: that is a lost attempt, and counted.
    assert one == ((2, 1) if point == "commit.continued" else (1, 0))
    two = [picture(f"{point} {number}") for number in (1, 2)]
    calls, gone = crash_and_go_on(two, f"{point}:2", box, forks, tmp_path / "two", files=4, may_end=True)
    assert calls == 2 + gone
    assert gone <= 1


@pytest.mark.parametrize("point", OF_POLLS)
def test_p2_a_kill_between_create_and_poll_asks_for_the_same_job(
    point: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    bought = crash_and_go_on([video(point)], f"{point}:1", box, forks, tmp_path / "one", files=1)
    assert bought == ((2, 1) if point == "commit.continued" else (1, 0))


@pytest.mark.parametrize(("point", "calls"), [("answered", 2), ("send", 1)])
def test_p2_a_kill_before_the_answer_was_written_is_a_lost_attempt_that_is_counted(
    point: str, calls: int, box: Box, forks: Forks, tmp_path: Path
) -> None:
    bought = crash_and_go_on([picture(f"before {point}")], f"{point}:1", box, forks, tmp_path / "one", files=2)
    assert bought == (calls, 1)


def test_p3_a_kill_at_one_step_after_the_other_and_still_one_purchase(box: Box, forks: Forks, tmp_path: Path) -> None:
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        place.file([picture("again and again")])
        for crash in ("continued:1", "fetch:1", "fetched:1", "artifact.written:1", "artifact.kept:1", "fetched:1"):
            assert forks.run(place, *place.job(), crash=crash).code == 137
        ended = forks.run(place, *place.job())
        assert ended.code == 0, ended.err
        assert (len(box.calls()) - before, lost(place)) == (1, 0)
        assert place.rows("SELECT attempts, crashes FROM requests") == [(1, 0)]
        assert shown(audit(place.db, box.calls()[before:])) == []
