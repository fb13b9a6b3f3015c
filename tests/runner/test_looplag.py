"""The meter of the event loop's lateness: right where it matters, and no bigger after a night than after a minute."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchrunner
from batchrunner.cli.live import last_line
from batchrunner.runner.looplag import LoopLag
from batchrunner.runner.snapshot import Snapshot
from tests.canary import CANARY_KEY
from tests.e2e.place import boxed, chats
from tests.runner.world import World

BLOCKED = 2.5
"""Seconds for which a callback holds up the loop: more than the two that are not mentioned."""


def measured(late: list[float]) -> LoopLag:
    meter = LoopLag()
    for seconds in late:
        meter.add(seconds)
    return meter


def test_nothing_seen_is_no_lag() -> None:
    assert (LoopLag().taken().p50, LoopLag().taken().p99, LoopLag().taken().most, LoopLag().taken().looks) == (
        0,
        0,
        0,
        0,
    )


def test_one_long_stop_is_the_most_and_leaves_the_percentiles_alone() -> None:
    seen = measured([0.001] * 999 + [30.0]).taken()
    assert seen.most == 30.0
    assert seen.p99 == pytest.approx(0.001, rel=0.25)
    assert seen.looks == 1000


@given(st.lists(st.floats(min_value=-0.01, max_value=400), min_size=1, max_size=300), st.sampled_from([0.5, 0.99]))
def test_a_percentile_is_never_below_the_truth_and_at_most_a_quarter_above(late: list[float], share: float) -> None:
    seen = measured(late).taken()
    place = max(0, -int(-share * len(late) // 1) - 1)
    truth = max(0.0, sorted(late)[place])
    told = seen.p50 if share == 0.5 else seen.p99
    assert truth <= told + 1e-9
    assert told <= max(0.0005, truth * 1.25) + 1e-9


async def test_a_run_in_virtual_time_is_never_late(folder: Path, virtual_time: None) -> None:
    world = World(folder)
    path = world.file(world.chats(20))
    await world.work(path)
    assert world.run is not None
    lag = world.run.snapshot().lag
    assert lag.looks > 4
    assert lag.most < 1e-6


@pytest.mark.slow
def test_p13_a_blocked_loop_is_measured_and_told_and_the_database_stays_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", CANARY_KEY)
    pictures: list[Snapshot] = []

    def callback(picture: Snapshot) -> None:
        pictures.append(picture)
        if len(pictures) == 2:
            time.sleep(BLOCKED)

    job = tmp_path / "job.jsonl"
    job.write_text("".join(json.dumps(line) + "\n" for line in chats(40)))
    with (
        boxed(latency=0.5) as box,
        batchrunner.open_blocking(tmp_path / "q.db", base_url=f"{box.url}/v1", concurrency=8) as queue,
    ):
        report = queue.run(queue.load(job), progress=callback)
    assert (report.tally.succeeded, report.tally.failed, report.left) == (40, 0, 0)
    assert pictures[-1].lag.most >= BLOCKED - 0.3
    assert pictures[-1].lag.p50 < BLOCKED / 2
    assert "stood still" in last_line(pictures[-1])
    assert "stood still" not in last_line(pictures[0])
