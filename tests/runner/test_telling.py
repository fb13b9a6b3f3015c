"""Telling a person: what is rung, in order; what goes wrong is noted and fails nothing. And the tail, and sleep."""

import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from batchrunner.core.errors import DatabaseError
from batchrunner.runner import command
from batchrunner.runner.command import CommandNotifier
from batchrunner.runner.notices import end_facts, fault_facts
from batchrunner.runner.notify import Bell
from batchrunner.runner.run import Run
from batchrunner.runner.suspension import Suspension
from batchrunner.simulator import Settings
from tests.runner.world import World


class Heard:
    """Remembers what it was told; says that something went wrong where it should."""

    def __init__(self, problem: str | None = None, seconds: float = 0.0) -> None:
        self.events: list[str] = []
        self._problem = problem
        self._seconds = seconds

    async def tell(self, notice: bytes) -> str | None:
        await anyio.sleep(self._seconds)
        self.events.append(msgspec.json.decode(notice)["event"])
        return self._problem


@pytest.mark.usefixtures("virtual_time")
async def test_notices_are_told_in_order_and_a_problem_is_noted_once() -> None:
    heard = Heard("it is deaf")
    bell = Bell(heard)
    for event in ("paused", "resumed", "ended"):
        bell.ring(event, {})
    await bell.finish()
    assert heard.events == ["paused", "resumed", "ended"]
    assert bell.problems == ["it is deaf"]


@pytest.mark.usefixtures("virtual_time")
async def test_what_the_end_of_the_run_cut_off_is_told_again_after_it() -> None:
    heard = Heard(seconds=2.0)
    bell = Bell(heard)
    bell.ring("paused", {})
    with anyio.move_on_after(1.0):
        await bell.run()
    bell.ring("ended", {})
    await bell.finish()
    assert heard.events == ["paused", "ended"]


@pytest.mark.usefixtures("virtual_time")
async def test_the_end_tells_how_many_calls_cost_an_unknown_sum(tmp_path: Path) -> None:
    world = World(tmp_path)
    report = await world.work(world.file(world.chats(3, model="nobody/knows-its-price")))
    facts = end_facts(report)
    assert (facts["unpriced_calls"], set(facts["cost"].values())) == (3, {"$0.00"})


@pytest.mark.usefixtures("virtual_time")
async def test_d25_a_fault_of_a_database_whose_path_is_no_text_is_told_too() -> None:
    heard = Heard()
    bell = Bell(heard)
    bell.ring("ended", fault_facts(DatabaseError("/x\udcff.db: the disk reported an error", hint="look at /x\udcff")))
    await bell.finish()
    assert heard.events == ["ended"]


@pytest.mark.usefixtures("virtual_time")
async def test_a_person_who_can_not_be_told_keeps_the_run_for_less_than_a_minute() -> None:
    bell = Bell(Heard(seconds=3600.0))
    bell.ring("ended", {})
    start = anyio.current_time()
    await bell.finish()
    assert anyio.current_time() - start < 60
    assert bell.problems == ["not everything could be told in time"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"{sys.executable} -c pass", None),
        (f"{sys.executable} -c 'raise SystemExit(3)'", "ended with status 3"),
        ("no-such-command-anywhere", "could not be started"),
    ],
)
async def test_a_command_tells_by_its_status_how_it_went(line: str, problem: str | None) -> None:
    said = await CommandNotifier(line, {"PATH": "/usr/bin:/bin"}).tell(b"{}")
    assert said is None if problem is None else problem in str(said)


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_command_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SECONDS", 0.4)
    script = tmp_path / "hang.sh"
    script.write_text("#!/bin/sh\nsleep 1\ntouch alive\n")
    script.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    said = await CommandNotifier(f"/bin/sh -c '{script}; true'", {"PATH": "/usr/bin:/bin"}).tell(b"{}")
    assert "took longer than" in str(said)
    await anyio.sleep(1.0)
    assert not (tmp_path / "alive").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("virtual_time")
async def test_the_tail_says_what_is_out_how_long_and_what_it_costs_at_most(folder: Path) -> None:
    world = World(folder, Settings(latency=800.0, latency_jitter=0))
    tails = []

    async def beside(run: Run) -> None:
        await anyio.sleep(30.0)
        tails.append(run.snapshot().tail)

    await world.work(world.file(world.chats(2, max_tokens=20_000)), beside=beside)
    (tail,) = tails
    assert (tail.out, tail.old, tail.unpriced) == (2, 0, 0)
    assert 28 < tail.longest < 32
    assert tail.hold > 0


@pytest.mark.slow
@pytest.mark.usefixtures("virtual_time")
async def test_rows_that_are_out_for_more_than_ten_minutes_are_old(folder: Path) -> None:
    world = World(folder, Settings(latency=700.0, latency_jitter=0))
    report = await world.work(world.file(world.chats(3, max_tokens=20_000)))
    assert report.tail.old == 3
    assert 690 < report.tail.longest < 710


@pytest.mark.usefixtures("virtual_time")
async def test_t1_calls_that_were_out_when_the_machine_slept_are_sent_again_and_no_row_fails(folder: Path) -> None:
    world = World(folder, Settings(latency=30.0))
    asleep = [0.0]

    async def beside(run: Run) -> None:
        await anyio.sleep(5.0)
        asleep[0] = 27_000.0

    report = await world.work(world.file(world.chats(8)), beside=beside, suspended=lambda: asleep[0])
    assert report.tally.failed == 0
    assert report.tally.succeeded == 8
    assert report.tally.errors == {"interrupted": 8}
    assert report.slept == 27_000.0
    assert (report.ended - report.started) / 1e6 < 60, "they did not wait for answers that could not come"


def test_a_nap_is_no_sleep() -> None:
    clock = [100.0]
    suspension = Suspension(lambda: clock[0])
    clock[0] += 3.0
    assert suspension.slept() == 0.0
    clock[0] += 60.0
    assert suspension.slept() == 60.0
    assert suspension.slept() == 0.0
    assert suspension.total == 60.0
