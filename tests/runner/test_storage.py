"""When the database takes nothing more: nothing new is bought, and what is paid for is kept. In virtual time."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from batchrunner.api import session
from batchrunner.core.errors import DatabaseError, DiskFullError, ExitCode
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings
from batchrunner.store import disk as disk_module
from batchrunner.store.check import check
from batchrunner.store.queue import SqliteQueue
from batchrunner.store.sqlite import Session as SqliteSession
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

T = TypeVar("T")
FULL = DiskFullError("the disk is full (test)", hint="free some space")
BROKEN = DatabaseError("the disk reported an error (test)")


def from_commit(number: int, error: DatabaseError, monkeypatch: pytest.MonkeyPatch, *, times: int = 10**9) -> None:
    """Let the store fail from this commit on, so many times, before it has written anything."""
    real, seen = SqliteQueue.commit, [0]

    def commit(self: SqliteQueue, *given: Any, **more: Any) -> Any:
        seen[0] += 1
        if number <= seen[0] < number + times:
            raise error
        return real(self, *given, **more)

    monkeypatch.setattr(SqliteQueue, "commit", commit)


@contextmanager
def stopped() -> Iterator[list[DatabaseError]]:
    """What a run says that the disk has ended."""
    caught: list[DatabaseError] = []
    with pytest.RaisesGroup(pytest.RaisesExc(DatabaseError), flatten_subgroups=True) as group:
        yield caught
    caught.extend(group.value.exceptions)  # type: ignore[arg-type]


def beside(world: World) -> list[str]:
    return sorted(path.name for path in world.folder.iterdir() if path.name.startswith("q.db."))


async def test_d1_a_full_disk_stops_claiming_and_the_ballast_takes_what_is_in_the_air(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder)
    path = world.file(world.chats(40))
    from_commit(5, FULL, monkeypatch, times=1)
    freed: list[bool] = []
    real = disk_module.Disk.free_ballast
    monkeypatch.setattr(disk_module.Disk, "free_ballast", lambda self: (freed.append(True), real(self)))
    with stopped() as errors:
        await world.work(path, concurrency=8)
    (error,) = errors
    assert error.exit_code == ExitCode.DATABASE
    assert "every answer that came is in the database" in error.message
    assert "run the same command again" in (error.hint or "")
    assert "free" in (error.hint or "")
    assert freed
    answered = len(world.provider.ledger.entries)
    assert answered < 40
    report = await world.work(path, concurrency=8)
    assert report.exit_code == ExitCode.OK
    assert len(world.provider.ledger.entries) == 40 == world.attempts()
    assert check(folder / "q.db") == []


async def test_d2_what_the_database_refuses_goes_to_the_spill_and_comes_back_with_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder)
    path = world.file(world.chats(40))
    with monkeypatch.context() as patch:
        from_commit(5, BROKEN, patch)
        with stopped() as errors:
            await world.work(path, concurrency=8)
    assert "q.db.spill" in errors[0].message
    assert beside(world) == ["q.db.lock", "q.db.spill"]
    bought = len(world.provider.ledger.entries)
    assert bought <= 8 * 3
    report = await world.work(path, concurrency=8)
    assert report.exit_code == ExitCode.OK
    assert len(world.provider.ledger.entries) == 40 == world.attempts()
    assert len({result.body for result in world.results(path)}) == 40
    assert beside(world) == ["q.db.lock"]
    assert check(folder / "q.db") == []


@pytest.mark.slow
async def test_d1_fifty_faults_at_random_commits_lose_no_paid_answer(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(11)
    for number in range(50):
        world = World(tmp_path_factory.mktemp("fault"), Settings(latency=1.0, latency_jitter=0.9, seed=number))
        path = world.file(world.chats(16))
        with monkeypatch.context() as patch:
            times = dice.choice([1, 2, 10**9])
            from_commit(dice.randint(1, 10), dice.choice([FULL, BROKEN]), patch, times=times)
            with stopped():
                await world.work(path, concurrency=dice.choice([1, 4, 16]))
        report = await world.work(path, concurrency=8)
        assert report.exit_code == ExitCode.OK
        assert len(world.provider.ledger.entries) == 16 == world.attempts(), f"run {number}"


async def test_answers_that_no_disk_takes_are_counted_and_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(folder)
    path = world.file(world.chats(20))
    with monkeypatch.context() as patch:
        from_commit(3, BROKEN, patch)
        patch.setattr("batchrunner.runner.spill._write_whole", full_disk)
        with stopped() as errors:
            await world.work(path, concurrency=4)
    assert "could be written nowhere and are lost" in errors[0].message
    with session(world.loaded()) as held:
        assert held.costs()[0].attempts == len(world.provider.ledger.entries) > held.rescue.lost > 0
        assert held.costs()[0].possibly_billed == held.rescue.hold > 0


def full_disk(*_: object) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("reader", [True, False])
async def test_d23_a_journal_that_a_reader_lets_grow_is_noted_once(
    reader: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchrunner.runner.storage.LARGEST_JOURNAL", 8 << 20)
    world = World(folder)
    path = world.file(world.chats(400))
    notes: list[tuple[str, ...]] = []

    async def read(run: Run) -> None:
        with closing(sqlite3.connect(folder / "q.db", isolation_level=None)) as other:
            if reader:
                other.execute("BEGIN")
                other.execute("SELECT count(*) FROM requests").fetchone()
            while True:
                await anyio.sleep(1.0)
                notes.append(run.snapshot().notes)

    report = await world.work(path, concurrency=8, beside=read)
    assert report.exit_code == ExitCode.OK
    assert len(notes) > 20
    assert notes[0] == ()
    if not reader:
        assert report.problems == () == notes[-1]
        return
    (note,) = report.problems
    assert notes[-1] == (note,)
    assert note.startswith(f"{folder / 'q.db'}-wal has grown to 8 MiB: probably some program keeps a read transaction")
    assert f"fuser -v {folder / 'q.db'}" in note


async def test_d3_a_run_stops_before_the_disk_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(folder, Settings(latency=3.0))
    path = world.file(world.chats(60))

    async def fill(_: Run) -> None:
        await anyio.sleep(4.5)
        monkeypatch.setattr(disk_module, "free_at", lambda _: 63 << 20)

    with stopped() as errors:
        await world.work(path, concurrency=8, beside=fill)
    assert "only 63 MiB are free" in errors[0].message
    assert "free at least 64 MiB" in (errors[0].hint or "")
    assert "every answer that came is in the database" in errors[0].message
    assert world.attempts() == len(world.provider.ledger.entries) == 16
    assert not (folder / "q.db.spill").exists()


async def test_d3_no_room_for_the_ballast_is_said_before_anything_is_bought(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder)
    path = world.file(world.chats(3))
    monkeypatch.setattr(disk_module, "_fill", full_disk)
    with pytest.RaisesGroup(DiskFullError, flatten_subgroups=True):
        await world.work(path)
    assert world.provider.ledger.entries == [] or len(world.provider.ledger.entries) == 0
    assert beside(world) == ["q.db.lock"]


class SlowSync:
    """An offload whose every call that writes takes its time; calls come one after the other."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seconds = seconds
        self._turn = anyio.Lock()
        self._written = False
        real = SqliteSession.write

        @contextmanager
        def write(session: SqliteSession) -> Iterator[Any]:
            self._written = True
            with real(session) as connection:
                yield connection

        monkeypatch.setattr(SqliteSession, "write", write)

    async def run(self, call: Callable[[], T]) -> T:
        async with self._turn:
            self._written = False
            result = call()
            if self._written:
                await anyio.sleep(self._seconds)
            return result

    def close(self) -> None:
        pass


@pytest.mark.slow
async def test_d21_a_disk_that_syncs_in_200_ms_costs_less_than_a_tenth_of_the_pace(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder, Settings(latency=2.0, latency_jitter=0.3))
    world.offload = lambda: SlowSync(0.2, monkeypatch)
    report = await world.work(world.file(world.chats(1_280)), concurrency=64)
    assert report.tally.succeeded == 1_280
    assert (report.ended - report.started) / 1e6 < 1_280 / 64 * 2.0 / 0.9
