"""The corridor from end to end, in virtual time."""

from pathlib import Path

import anyio
import pytest

from batchrunner.core.errors import ExitCode
from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings, parse_faults
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")


async def test_every_row_gets_one_answer_and_every_call_is_an_attempt(folder: Path) -> None:
    world = World(folder)
    path = world.file(world.chats(100))
    report = await world.work(path)
    assert report.exit_code == ExitCode.OK
    assert report.tally.succeeded == 100
    results = world.results(path)
    assert [result.custom_id for result in results] == [f"r-{i}" for i in range(100)]
    assert all(result.text for result in results)
    sent = [entry.client_request_id for entry in world.provider.ledger.entries]
    assert len(sent) == len(set(sent)) == 100 == world.attempts()


async def test_a_second_run_sends_nothing(folder: Path) -> None:
    world = World(folder)
    path = world.file(world.chats(10))
    await world.work(path)
    report = await world.work(path)
    assert report.tally.attempts == 0
    assert len(world.provider.ledger.entries) == 10


@pytest.mark.slow
async def test_faults_of_every_kind_end_in_one_outcome_each(folder: Path) -> None:
    faults = parse_faults(
        "429=0.05,500=0.05,502html=0.03,503=0.05,error200=0.02,truncated_json=0.02,reset_before=0.02,"
        "close_before=0.02,truncate=0.02,reset_mid=0.02,empty200=0.02,no_usage=0.05,billed500=0.02,400=0.02"
    )
    world = World(folder, Settings(latency=0.5, faults=faults))
    path = world.file(world.chats(300))
    report = await world.work(path, concurrency=32)
    results = world.results(path)
    assert len(results) == 300
    assert {result.state for result in results} <= {"succeeded", "failed"}
    assert report.tally.succeeded + report.tally.failed == 300
    assert report.tally.succeeded > 270
    sent = {entry.client_request_id for entry in world.provider.ledger.entries}
    assert len(sent) == len(world.provider.ledger.entries) == world.attempts()
    assert report.exit_code == (ExitCode.SOME_FAILED if report.tally.failed else ExitCode.OK)


async def test_calls_in_the_air_never_exceed_the_concurrency(folder: Path) -> None:
    world = World(folder)
    await world.work(world.file(world.chats(60)), concurrency=7)
    assert world.provider.ledger.highest_concurrency == 7


@pytest.mark.slow
async def test_requests_a_minute_are_kept_in_every_window_and_used_up(folder: Path) -> None:
    world = World(folder, Settings(latency=2.0))
    await world.work(world.file(world.chats(600)), concurrency=64, rpm="600")
    ledger = world.provider.ledger
    assert ledger.worst_excess(10.0, 10.0) <= 1e-6
    times = [entry.time for entry in ledger.entries]
    assert 600 / (max(times) - min(times)) >= 0.95 * 10


@pytest.mark.slow
@pytest.mark.parametrize(("latency", "opening"), [(2.0, 0.0), (0.01, 0.5)])
async def test_requests_a_minute_are_kept_across_restarts(folder: Path, latency: float, opening: float) -> None:
    """However long a start takes: what refills a bucket meanwhile is counted once."""
    world = World(folder, Settings(latency=latency))
    world.opening = opening
    path = world.file(world.chats(300))

    async def stop_soon(run: Run) -> None:
        await anyio.sleep(5)
        run.stop(Interrupt.INT)

    for _ in range(4):
        await world.work(path, beside=stop_soon, concurrency=64, rpm="600")
    assert world.provider.ledger.worst_excess(10.0, 10.0) <= 1e-6


@pytest.mark.slow
async def test_tokens_a_minute_are_exact_where_the_reserve_is_an_upper_bound(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHRUNNER_RESERVE", "upper")
    (folder / "batchrunner.toml").write_text('reserve = "upper"\n')
    world = World(folder, Settings(latency=2.0))
    await world.work(world.file(world.chats(150, max_tokens=200)), concurrency=64, tpm="50k")
    rate = 50_000 / 60
    assert world.provider.ledger.worst_excess(rate, rate, weight="real_tokens") <= 1e-6


@pytest.mark.slow
async def test_tokens_a_minute_are_used_up_once_lengths_are_learned(folder: Path) -> None:
    world = World(folder, Settings(latency=2.0, mean_output_tokens=60, output_spread=0.1))
    await world.work(world.file(world.chats(1500, max_tokens=400)), concurrency=64, tpm="50k")
    entries = list(world.provider.ledger.entries)[200:]
    span = entries[-1].time - entries[0].time
    used = sum(entry.input_tokens + entry.output_tokens for entry in entries) / span
    assert used >= 0.9 * 50_000 / 60


@pytest.mark.slow
async def test_a_slow_lane_does_not_slow_another(folder: Path) -> None:
    slow, fast = "meta-llama/Llama-3.2-3B-Instruct", "openai/gpt-oss-20b"
    (folder / "batchrunner.toml").write_text(f'[providers.together.models."{slow}"]\nrpm = 1\n')
    world = World(folder)
    lines = world.chats(5, model=slow, prefix="slow") + world.chats(200, model=fast, prefix="fast")
    await world.work(world.file(lines), concurrency=8)
    fast_calls = [entry.time for entry in world.provider.ledger.entries if entry.model == fast]
    assert max(fast_calls) - min(fast_calls) <= 200 / 8 * 1.25 + 1
    slow_calls = [entry.time for entry in world.provider.ledger.entries if entry.model == slow]
    assert max(slow_calls) - min(slow_calls) >= 4 * 59


@pytest.mark.parametrize(
    ("style", "wish", "least"),
    [
        ("seconds", 7.0, 7.0),
        ("decimal", 2.5, 2.5),
        ("date", 9.0, 8.0),
        ("ms", 3.0, 3.0),
        pytest.param("absurd", 5.0, 3600.0, marks=pytest.mark.slow),
        ("malformed", 5.0, 0.0),
        ("negative", 5.0, 0.0),
        ("past_date", 5.0, 0.0),
        ("none", 5.0, 0.0),
    ],
)
async def test_h7_no_call_goes_out_inside_a_pause(folder: Path, style: str, wish: float, least: float) -> None:
    settings = Settings(latency=1.0, latency_jitter=0.0, retry_after=wish, retry_after_style=style)  # type: ignore[arg-type]
    world = World(folder, settings, fault_for=lambda number, path, body: "429" if number == 20 else None)
    await world.work(world.file(world.chats(60)), concurrency=1)
    entries = world.provider.ledger.entries
    refused = next(i for i, entry in enumerate(entries) if entry.status == 429)
    pause = entries[refused + 1].time - entries[refused].time
    assert pause >= least
    assert pause <= max(61.0, least * 1.2)
    assert len(world.results(folder / "job.jsonl")) == 60


@pytest.mark.slow
async def test_h16_an_outage_fails_no_row(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, outages=((20.0, 1820.0),)))
    report = await world.work(world.file(world.chats(400)), concurrency=8)
    assert report.tally.failed == 0
    assert report.tally.succeeded == 400
    assert len(world.provider.ledger.entries) < 400 + 250


async def test_the_first_stop_lets_calls_finish_and_starts_none(folder: Path) -> None:
    world = World(folder, Settings(latency=4.0, latency_jitter=0.0))
    path = world.file(world.chats(100))

    async def stop(run: Run) -> None:
        await anyio.sleep(10)
        run.stop(Interrupt.INT)

    report = await world.work(path, beside=stop, concurrency=8)
    assert report.exit_code == ExitCode.INTERRUPTED
    assert report.tally.succeeded == len(world.provider.ledger.entries) == 24
    assert max(entry.time for entry in world.provider.ledger.entries) <= 10
    assert report.left == 76


async def test_the_second_stop_drops_what_is_in_flight_and_leaves_it_queued(folder: Path) -> None:
    world = World(folder, Settings(latency=500.0))
    path = world.file(world.chats(20))
    ended: list[float] = []

    async def stop(run: Run) -> None:
        await anyio.sleep(10)
        run.stop(Interrupt.TERM)
        await anyio.sleep(1)
        run.stop(Interrupt.TERM)

    report = await world.work(path, beside=stop, concurrency=8)
    ended.append(world.clock.monotonic())
    assert ended[0] <= 12
    assert report.exit_code == ExitCode.TERMINATED
    assert report.left == 20
    assert report.tally.errors == {"interrupted": 8}
    assert report.tally.possibly_billed > 0


async def test_the_grace_time_ends_what_does_not_end(folder: Path) -> None:
    world = World(folder, Settings(latency=500.0))

    async def stop(run: Run) -> None:
        await anyio.sleep(1)
        run.stop(Interrupt.INT)

    report = await world.work(world.file(world.chats(20)), beside=stop, concurrency=8)
    assert 60 <= world.clock.monotonic() <= 65
    assert report.left == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "code", "kind"),
    [
        (Settings(latency=1.0, revoke_after=30), ExitCode.AUTH, "auth"),
        (Settings(latency=1.0, credit_calls=30), ExitCode.NO_MONEY, "no_credit"),
        (Settings(latency=1.0, credit_calls=30, flavour="openai"), ExitCode.NO_MONEY, "no_credit"),
    ],
)
async def test_a_refused_key_or_empty_account_stops_the_run_and_fails_no_row(
    folder: Path, settings: Settings, code: ExitCode, kind: str
) -> None:
    world = World(folder, settings)
    path = world.file(world.chats(1000))
    report = await world.work(path, concurrency=16)
    assert report.exit_code == code
    assert [halt.kind for halt in report.halts] == [kind]
    assert report.tally.failed == 0
    assert report.left == 1000 - report.tally.succeeded
    refused = [entry for entry in world.provider.ledger.entries if entry.status in (401, 402, 429)]
    assert len(refused) <= 16 + 2
    world.provider.change(Settings(latency=1.0))
    again = await world.work(path, concurrency=16)
    assert again.exit_code == ExitCode.OK
    assert again.left == 0


async def test_a_missing_model_stops_its_lane_and_the_others_finish(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, missing_models=("ghost/model",)))
    lines = world.chats(40, model="ghost/model", prefix="ghost") + world.chats(40, prefix="real")
    path = world.file(lines)
    report = await world.work(path, concurrency=8)
    assert report.exit_code == ExitCode.UNAVAILABLE
    assert report.tally.failed == 0
    states = [result.state for result in world.results(path)]
    assert states == ["queued"] * 40 + ["succeeded"] * 40


async def test_a_limited_run_takes_the_first_rows_and_the_next_run_the_rest(folder: Path) -> None:
    world = World(folder)
    path = world.file(world.chats(50))
    first = await world.work(path, limit=10)
    assert (first.tally.succeeded, first.left, first.deselected) == (10, 40, 40)
    assert first.exit_code == ExitCode.OK
    assert [result.state for result in world.results(path)] == ["succeeded"] * 10 + ["queued"] * 40
    rest = await world.work(path)
    assert rest.tally.succeeded == 40
    assert len(world.provider.ledger.entries) == 50
