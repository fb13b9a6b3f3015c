"""Ten thousand calls over a wire that strays or races, and bombs by the dozen: the whole program, on real sockets."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.place import Child, Ended, Place, boxed, chats, placed
from tests.faults.play import RACED
from tests.invariants import Scenario, ask, broken

pytestmark = pytest.mark.slow

MANY = 10_000
HIGH_WATER = re.compile(r"VmHWM:\s+(\d+) kB")
WIDE = ("--concurrency", "64")


def ended_with_peak(child: Child) -> tuple[Ended, int]:
    """How a child ended, and the most memory (bytes) it ever held.

    Not by ``ru_maxrss``: that begins with what the parent held at the fork.
    """
    peak = 0
    status = Path(f"/proc/{child.pid}/status")
    while child.process.poll() is None:
        found = HIGH_WATER.search(status.read_text())
        peak = int(found[1]) * 1024 if found else peak
        time.sleep(0.01)
    return child.end(), peak


def breaches(
    place: Place,
    ended: Ended,
    expected: int = 0,
    peak: int | None = None,
    outputs: Sequence[str] = ("out.jsonl", "out.errors.jsonl"),
) -> list[str]:
    return broken(
        Scenario(
            db=place.db,
            calls=place.box.calls(),
            job=place.folder / "job.jsonl",
            outputs=[place.folder / name for name in outputs],
            folders=[place.folder, place.talk],
            key=place.key,
            code=ended.code,
            expected=[expected],
            err=ended.err,
            peak_bytes=peak,
        )
    )


def test_n16_ten_thousand_calls_with_one_stray_answer_in_a_hundred_mix_up_no_row(at: Start) -> None:
    place = at(key="sk-any-key-for-strays", faults={"stray": 0.01}, mean_output_tokens=12.0)
    place.file(chats(MANY, max_tokens=16))
    ended = place.run(*place.job(*WIDE))
    strays = sum(call.fault == "stray" for call in place.box.calls())
    assert strays >= MANY / 200
    assert len(place.box.calls()) == MANY, "no call was bought twice"
    assert breaches(place, ended) == []


def test_n18_ten_thousand_calls_with_five_races_in_a_hundred_fail_no_row(at: Start) -> None:
    place = at(key="sk-any-key-for-races", faults={"keepalive_race": 0.05}, mean_output_tokens=12.0)
    place.file(chats(MANY, max_tokens=16))
    ended = place.run(*place.job(*WIDE))
    races = sum(call.fault == "keepalive_race" for call in place.box.calls())
    assert races >= MANY / 40
    assert breaches(place, ended) == []
    failures = set(ask(place.db, "SELECT DISTINCT failure, billing FROM attempts WHERE outcome = 'failure'"))
    assert ("stale_connection", "not_billed") in failures
    assert failures <= RACED


@pytest.mark.parametrize("kind", ["bomb", "bomb_twice"])
def test_n22_sixty_four_bombs_at_once_stay_under_200_mebibytes(tmp_path: Path, kind: str) -> None:
    def first_64(number: int, _path: str, _body: bytes) -> str | None:
        return kind if number <= 64 else None

    with (
        boxed(first_64, latency=0.3, latency_jitter=0.0) as box,
        placed(tmp_path, box, "sk-any-key-for-bombs") as place,
    ):
        place.file(chats(80))
        # So many retries are budgeted, one a second: their pace is not what is asked here.
        ended, peak = ended_with_peak(place.start(*place.job(*WIDE, "--for", "2s")))
        bombs = [call for call in box.calls() if call.fault == kind]
        assert len(bombs) == 64
        assert max(call.in_flight for call in bombs) == 64, "they came one by one"
        assert breaches(place, ended, 8, peak, outputs=()) == []
