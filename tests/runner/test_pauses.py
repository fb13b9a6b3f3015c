"""Pauses instead of failures, in virtual time: key, credit, quota, model, host; waited for, or left to the next run."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchrunner.api import RunReport, session
from batchrunner.core.attempt import FailureKind
from batchrunner.core.errors import ExitCode
from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings
from tests.runner.world import MODEL, World

pytestmark = pytest.mark.usefixtures("virtual_time")

OTHER = "meta-llama/Llama-3.2-3B-Instruct-Turbo"


def after(seconds: float, act: Callable[[], Any]) -> Callable[[Run], Any]:
    async def beside(_: Run) -> None:
        await anyio.sleep(seconds)
        act()

    return beside


def change(world: World, **patch: Any) -> None:
    world.provider.change(world.provider.settings.patched(patch))


def untouched(report: RunReport) -> None:
    assert report.tally.failed == 0


def calls_between(world: World, start: float, end: float) -> int:
    return sum(start <= entry.time < end for entry in world.provider.ledger.entries)


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "kind"), [("revoke_after", "auth"), ("credit_calls", "no_credit")])
async def test_a_waited_pause_costs_a_probe_at_growing_intervals_and_goes_on_by_itself(
    folder: Path, trouble: str, kind: str
) -> None:
    world = World(folder, Settings(latency=1.0, refusal_latency=0.1, **{trouble: 50}))
    path = world.file(world.chats(100))
    cured = after(1800.0, lambda: change(world, **{trouble: None}))
    report = await world.work(path, beside=cured, concurrency=8, on_pause="wait")
    untouched(report)
    assert report.tally.succeeded == 100
    assert report.exit_code == ExitCode.OK
    (halt,) = report.halts
    assert (halt.kind, halt.ref, halt.ended is not None) == (FailureKind(kind), "together", True)
    refused = [entry for entry in world.provider.ledger.entries if entry.status in (401, 402)]
    assert len(refused) <= 8 + 2 + 5, "after 1, 3, 7, 15 and 30 minutes"
    assert calls_between(world, 60.0, 1800.0) <= 5
    ended = report.ended / 1e6 - report.started / 1e6
    assert ended < 1800 + 900 + 60


@pytest.mark.slow
async def test_the_first_probe_of_a_provider_goes_alone_though_it_has_many_lanes(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, refusal_latency=5.0, revoke_after=0))
    path = world.file([*world.chats(20), *world.chats(20, model=OTHER, prefix="s")])
    await world.work(path, concurrency=8, on_pause="wait", run_for="200s")
    times = [entry.time for entry in world.provider.ledger.entries if entry.time > 60.0]
    assert len(times) == 2, "one row of one lane after a minute, another one two minutes later"


@pytest.mark.slow
async def test_h9_with_exit_the_rows_stay_queued_and_other_runs_go_on(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, refusal_latency=0.1, revoke_after=50))
    path = world.file(world.chats(200))
    report = await world.work(path, concurrency=8)
    untouched(report)
    assert report.exit_code == ExitCode.AUTH
    assert len(world.provider.ledger.entries) <= 50 + 8 + 2
    change(world, revoke_after=None)
    again = await world.work(path, concurrency=8)
    assert again.exit_code == ExitCode.OK
    assert sum(entry.billed for entry in world.provider.ledger.entries) == 200


async def test_h11_a_model_that_vanishes_holds_its_own_rows_and_no_others(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, refusal_latency=0.1))
    path = world.file([*world.chats(100), *world.chats(100, model=OTHER, prefix="s")])
    gone = after(5.0, lambda: change(world, missing_models=(OTHER,)))
    report = await world.work(path, beside=gone, concurrency=8)
    untouched(report)
    assert report.exit_code == ExitCode.UNAVAILABLE
    (halt,) = report.standing
    assert halt.ref == f"together {OTHER}"
    states = [(result.row.model, result.state) for result in world.results(path)]
    assert {state for model, state in states if model == MODEL} == {"succeeded"}
    assert {state for model, state in states if model == OTHER} == {"succeeded", "queued"}


@pytest.mark.slow
async def test_h16_an_outage_past_its_patience_ends_the_run_with_7_and_no_row_failed(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0))
    path = world.file(world.chats(400))
    down = after(10.0, lambda: change(world, faults={"503": 1.0}))
    report = await world.work(path, beside=down, concurrency=8, give_up_after="10m")
    untouched(report)
    assert report.exit_code == ExitCode.UNAVAILABLE
    seconds = (report.ended - report.started) / 1e6
    assert 10 * 60 <= seconds < 10 * 60 + 60
    assert report.left == 400 - report.tally.succeeded
    change(world, faults={})
    assert (await world.work(path, concurrency=8)).exit_code == ExitCode.OK


@pytest.mark.slow
async def test_h17_an_outage_within_its_patience_is_waited_for_and_told(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0))
    path = world.file(world.chats(400))

    async def beside(run: Run) -> None:
        await anyio.sleep(10.0)
        change(world, faults={"503": 1.0})
        await anyio.sleep(600.0)
        (seen,) = run.snapshot().pauses
        assert (seen.cause, seen.waits) == ("overloaded", True)
        change(world, faults={})

    report = await world.work(path, beside=beside, concurrency=8, give_up_after="30m")
    assert report.exit_code == ExitCode.OK
    (halt,) = report.halts
    assert halt.ended is not None
    assert 590e6 < halt.ended - halt.since < 690e6


async def test_with_exit_an_outage_that_lasts_a_minute_ends_the_run(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, faults={"503": 1.0}))
    report = await world.work(world.file(world.chats(100)), concurrency=8, on_pause="exit")
    untouched(report)
    assert report.exit_code == ExitCode.UNAVAILABLE
    assert (report.ended - report.started) / 1e6 < 120


@pytest.mark.slow
async def test_all_lanes_of_a_host_that_no_connection_reaches_share_its_outage(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, outages=((10.0, 900.0),), outage_kind="refused"))
    path = world.file([*world.chats(100), *world.chats(100, model=OTHER, prefix="s")])
    report = await world.work(path, concurrency=8)
    untouched(report)
    assert report.exit_code == ExitCode.OK
    assert [halt.ref for halt in report.halts] == ["together"]
    probes = calls_between(world, 120.0, 900.0)
    assert probes <= (900 - 120) / 12, "one lane probes for both"


@pytest.mark.slow
async def test_a_deadline_ends_the_run_with_8_after_what_is_in_flight(folder: Path) -> None:
    world = World(folder, Settings(latency=2.0))
    path = world.file(world.chats(200))
    report = await world.work(path, concurrency=8, run_for="9s")
    assert report.exit_code == ExitCode.DEADLINE
    assert report.expired
    last = max(entry.time for entry in world.provider.ledger.entries)
    assert last <= 9.0, "a call began after the deadline"
    assert report.tally.errors == {}
    assert (await world.work(path, concurrency=8)).exit_code == ExitCode.OK


async def test_a_deadline_that_comes_after_the_end_changes_nothing(folder: Path) -> None:
    world = World(folder)
    report = await world.work(world.file(world.chats(20)), run_for="1h")
    assert report.exit_code == ExitCode.OK
    assert not report.expired


async def test_a_pause_that_can_not_be_over_before_the_deadline_is_not_waited_for(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, revoke_after=0))
    report = await world.work(world.file(world.chats(20)), on_pause="wait", run_for="50s")
    assert report.exit_code == ExitCode.AUTH
    assert (report.ended - report.started) / 1e6 < 30


@pytest.mark.slow
async def test_a_waited_pause_ends_with_patience_too(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, revoke_after=0))
    report = await world.work(world.file(world.chats(20)), on_pause="wait", give_up_after="20m")
    assert report.exit_code == ExitCode.AUTH
    assert 20 * 60 <= (report.ended - report.started) / 1e6 < 21 * 60
    assert report.left == 20


async def test_an_interrupt_ends_a_pause_at_once(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, revoke_after=0))
    path = world.file(world.chats(20))

    async def beside(run: Run) -> None:
        await anyio.sleep(100.0)
        run.stop(Interrupt.INT)

    report = await world.work(path, beside=beside, on_pause="wait")
    assert report.exit_code == ExitCode.INTERRUPTED
    assert (report.ended - report.started) / 1e6 < 102


async def test_a_row_that_keeps_failing_by_itself_is_given_up_at_its_age(folder: Path) -> None:
    world = World(folder, Settings(latency=10.0, faults={"500": 0.15}, fault_by="body", seed=1))
    path = world.file(world.chats(40))
    report = await world.work(path, concurrency=4, row_timeout="15s", max_tries=100)
    assert report.tally.failed > 0
    tries: dict[str, list[float]] = {}
    for entry in world.provider.ledger.entries:
        tries.setdefault(entry.body_sha256, []).append(entry.time)
    again = [[time - times[0] for time in times[1:]] for times in tries.values() if len(times) > 1]
    assert max(sum(age > 15.0 for age in ages) for ages in again) <= 1


@pytest.mark.slow
async def test_rows_at_fault_that_are_left_over_do_not_keep_a_run_for_ever(folder: Path) -> None:
    world = World(folder, Settings(latency=2.0, faults={"500": 0.5}, fault_by="body", seed=3))
    report = await world.work(world.file(world.chats(60)), concurrency=16)
    assert report.exit_code == ExitCode.SOME_FAILED
    assert (report.left, report.tally.succeeded + report.tally.failed) == (0, 60)
    assert 3_600 < (report.ended - report.started) / 1e6 < 4 * 3_600


@pytest.mark.slow
async def test_rows_do_not_age_in_an_outage(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0))
    path = world.file(world.chats(200))

    async def beside(_: Run) -> None:
        await anyio.sleep(5.0)
        change(world, faults={"503": 1.0})
        await anyio.sleep(900.0)
        change(world, faults={})

    report = await world.work(path, beside=beside, concurrency=8, row_timeout="2m")
    untouched(report)
    assert report.tally.succeeded == 200


def clone_rows(db: Path, rows: int) -> None:
    """Make a job of one row a job of many, in the database itself: a queue of a million in seconds."""
    with closing(sqlite3.connect(db)) as connection, connection:
        for table, key in (("requests", "id"), ("bodies", "request_id")):
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            fresh = {key: "n", "line": "n", "custom_id": "'r-' || n"}
            values = ", ".join(fresh.get(name, name) for name in columns)
            connection.execute(
                f"WITH RECURSIVE more(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < {rows}) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM more, {table} WHERE {key} = 1"
            )
        connection.execute(f"UPDATE counts SET n = {rows} WHERE state = 'queued'")


@pytest.mark.slow
async def test_a_million_queued_rows_cost_concurrency_and_two_more_calls_and_none_fails(folder: Path) -> None:
    concurrency, good = 64, 1000
    world = World(folder, Settings(latency=0.5, refusal_latency=0.5, revoke_after=good))
    path = world.file(world.chats(1))
    with session(world.loaded()) as held:
        held.load(str(path))
    clone_rows(folder / "q.db", 1_000_000)
    revoked = await world.work(path, concurrency=concurrency)
    assert (revoked.exit_code, revoked.tally.failed) == (ExitCode.AUTH, 0)
    assert (revoked.tally.succeeded, revoked.left) == (good, 1_000_000 - good)
    assert revoked.tally.attempts <= good + concurrency + 2

    change(world, revoke_after=None, credit_calls=2 * good)
    empty = await world.work(path, concurrency=concurrency)
    assert (empty.exit_code, empty.tally.failed) == (ExitCode.NO_MONEY, 0)
    assert (empty.tally.succeeded, empty.left) == (good, 1_000_000 - 2 * good)
    assert empty.tally.attempts <= good + concurrency + 2

    change(world, credit_calls=None)
    again = await world.work(path, concurrency=concurrency, limit=500)
    assert (again.exit_code, again.tally.succeeded) == (ExitCode.OK, 500)


@pytest.mark.slow
async def test_h7_a_429_that_asks_for_an_hour_is_a_quota_that_is_waited_for_with_one_row_at_its_end(
    folder: Path,
) -> None:
    world = World(folder, Settings(latency=1.0, retry_after=3600.0))

    async def beside(_: Run) -> None:
        await anyio.sleep(5.0)
        change(world, faults={"429": 1.0})
        await anyio.sleep(1800.0)
        change(world, faults={})

    report = await world.work(world.file(world.chats(100)), beside=beside, concurrency=8)
    untouched(report)
    assert report.exit_code == ExitCode.OK
    (halt,) = report.halts
    assert halt.kind == FailureKind.RATE_LIMITED
    assert calls_between(world, 10.0, 3600.0) == 0
    first = min(entry.time for entry in world.provider.ledger.entries if entry.time > 3600.0)
    assert calls_between(world, first, first + 0.9) == 1, "one row finds out for all"


async def test_a_quota_ends_a_run_that_was_told_to_end(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, retry_after=3600.0, faults={"429": 1.0}))
    report = await world.work(world.file(world.chats(100)), concurrency=8, on_pause="exit")
    untouched(report)
    assert report.exit_code == ExitCode.UNAVAILABLE
    assert len(world.provider.ledger.entries) <= 8 + 2
