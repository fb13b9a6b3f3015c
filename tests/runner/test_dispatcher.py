"""Attempts are opened ahead of their room in the air, within what a crash may cost, and sent only while they may be."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from batchrunner.core.errors import ExitCode
from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

T = TypeVar("T")


class SlowDisk:
    """An offload whose every call takes its time, one after the other; it notes the most attempts that were open."""

    def __init__(self, db: Path, seconds: float) -> None:
        self._db = db
        self._seconds = seconds
        self._turn = anyio.Lock()
        self.most_open = 0

    async def run(self, call: Callable[[], T]) -> T:
        async with self._turn:
            await anyio.sleep(self._seconds)
            result = call()
            with closing(sqlite3.connect(self._db)) as connection:
                (opened,) = connection.execute("SELECT count(*) FROM attempts WHERE ended IS NULL").fetchone()
            self.most_open = max(self.most_open, opened)
            return result

    def close(self) -> None:
        pass


def slow(world: World, seconds: float) -> SlowDisk:
    disk = SlowDisk(world.folder / "q.db", seconds)
    world.offload = lambda: disk
    return disk


@pytest.mark.slow
async def test_commits_that_take_time_leave_no_room_in_the_air_unused(folder: Path) -> None:
    world = World(folder, Settings(latency=0.05, latency_jitter=0.2))
    slow(world, 0.01)
    lines = [*world.chats(600), *world.chats(600, model="Qwen/Qwen2.5-7B-Instruct-Turbo", prefix="other")]
    report = await world.work(world.file(lines), concurrency=24)
    assert report.tally.succeeded == 1200
    assert world.provider.ledger.highest_concurrency == 24
    ideal = 1200 / 24 * 0.05
    assert (report.ended - report.started) / 1e6 < 1.15 * ideal


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "rows"), [(0.002, 2000), (0.03, 2000), (0.5, 600)])
async def test_open_attempts_never_exceed_the_concurrency_and_the_slack(
    folder: Path, seconds: float, rows: int
) -> None:
    world = World(folder, Settings(latency=0.05, latency_jitter=0.5))
    disk = slow(world, seconds)
    await world.work(world.file(world.chats(rows)), concurrency=100)
    assert world.provider.ledger.highest_concurrency <= 100
    assert 100 < disk.most_open <= 100 + 64


@pytest.mark.slow
async def test_at_the_pace_of_long_answers_nothing_is_opened_ahead(folder: Path) -> None:
    world = World(folder, Settings(latency=20.0, latency_jitter=0.9))
    disk = slow(world, 0.005)
    await world.work(world.file(world.chats(200)), concurrency=20)
    assert disk.most_open <= 20


@pytest.mark.slow
async def test_what_is_open_when_a_run_is_stopped_is_not_sent_and_stays_queued(folder: Path) -> None:
    world = World(folder, Settings(latency=0.05, latency_jitter=0.5))
    slow(world, 0.02)
    path = world.file(world.chats(2000))

    async def stop(run: Run) -> None:
        await anyio.sleep(0.5)
        run.stop(Interrupt.INT)

    report = await world.work(path, beside=stop, concurrency=20)
    assert report.exit_code == ExitCode.INTERRUPTED
    assert max(entry.time for entry in world.provider.ledger.entries) <= 0.5
    first = report.tally.succeeded
    assert report.tally.attempts == first == len(world.provider.ledger.entries) == world.attempts()
    assert report.left == 2000 - first
    report = await world.work(path, concurrency=20)
    assert report.exit_code == ExitCode.OK
    sent = [entry.client_request_id for entry in world.provider.ledger.entries]
    assert len(sent) == len(set(sent)) == 2000


@pytest.mark.slow
async def test_nothing_is_sent_to_a_provider_that_refused_the_key_meanwhile(folder: Path) -> None:
    world = World(folder, Settings(latency=0.05, latency_jitter=0.5, revoke_after=300))
    slow(world, 0.02)
    report = await world.work(world.file(world.chats(2000)), concurrency=20)
    assert report.exit_code == ExitCode.AUTH
    refused = [entry for entry in world.provider.ledger.entries if entry.status == 401]
    assert 2 <= len(refused) <= 22
    assert report.tally.errors == {"auth": len(refused)}
    assert report.tally.failed == 0
    assert world.attempts() == len(world.provider.ledger.entries)
    assert report.left == 2000 - report.tally.succeeded


@pytest.mark.slow
async def test_nothing_is_sent_inside_a_pause_that_began_while_it_was_opened(folder: Path) -> None:
    settings = Settings(latency=0.05, latency_jitter=0.5, refusal_latency=0.01, retry_after=7.0)
    world = World(folder, settings, fault_for=lambda number, path, body: "429" if number == 300 else None)
    slow(world, 0.02)
    report = await world.work(world.file(world.chats(800)), concurrency=40)
    assert report.tally.succeeded == 800
    (refused,) = (entry.time for entry in world.provider.ledger.entries if entry.status == 429)
    assert not [e for e in world.provider.ledger.entries if refused + 0.0101 < e.time < refused + 7.01]
    assert world.attempts() == len(world.provider.ledger.entries) == 801
