"""Caps on money hold: whatever is asked, charged, lost or crashed, nothing is bought that could pass them."""

import os
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchrunner.api import session
from batchrunner.core.budget import Budget, Period, Scope
from batchrunner.core.errors import ConfigurationError, ExitCode
from batchrunner.core.pricing import Price
from batchrunner.runner.commands import Cancel
from batchrunner.runner.live import Live
from batchrunner.runner.performing import at_once, perform
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings
from tests.runner.budgeted import OTHER, PICO, THINKER, BudgetWorld, Priced
from tests.runner.world import EPOCH, MODEL

pytestmark = [pytest.mark.usefixtures("virtual_time"), pytest.mark.slow]

RUNS = int(os.environ.get("BUDGET_RUNS", "40"))
"""Random nights under a cap; the promise was shown with 1,000."""
DAY = 86_400


def everything(cap: int, period: Period = Period.EVER) -> Budget:
    return Budget(Scope.EVERYTHING, "", period, cap)


def plain(folder: Path, **settings: Any) -> BudgetWorld:
    return BudgetWorld(
        folder,
        {MODEL: Priced(1_000_000, 4_000_000), OTHER: Priced(500_000, 500_000)},
        Settings(latency=1.0, **settings),
    )


async def test_a_run_stops_before_its_cap_could_be_passed_says_why_and_goes_on_when_it_is_raised(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(300))
    report = await world.work(path, max_cost="0.005")
    cap = 5 * PICO // 1000
    assert report.exit_code == ExitCode.NO_MONEY
    assert 0 < world.charged() <= cap
    assert cap - world.committed() < world.worst()
    assert report.left == 300 - report.tally.succeeded > 0
    (shortage,) = report.shortages
    assert shortage.committed == shortage.spent == world.charged()
    assert shortage.needed is not None
    assert world.charged() + shortage.needed > cap
    assert "--max-cost" in shortage.message
    again = await world.work(path, max_cost="5")
    assert again.exit_code == ExitCode.OK
    assert again.left == 0


async def test_the_cap_of_a_run_counts_what_that_run_buys_and_not_what_came_before(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(300))
    charged = [0]
    for _ in range(3):
        await world.work(path, max_cost="0.004")
        charged.append(world.charged())
    parts = [after - before for before, after in pairwise(charged)]
    assert all(0.002 * PICO < part <= 0.004 * PICO for part in parts)


async def test_a_stored_budget_counts_every_run_before(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(300))
    cap = 6 * PICO // 1000
    await world.work(path, max_cost="0.004")
    world.budget(everything(cap))
    for _ in range(2):
        report = await world.work(path)
        assert report.exit_code == ExitCode.NO_MONEY
    assert cap - world.worst() < world.charged() <= cap
    world.budget(everything(PICO))
    report = await world.work(path)
    assert (report.exit_code, report.left) == (ExitCode.OK, 0)


async def test_the_budget_of_one_job_leaves_another_alone(folder: Path) -> None:
    world = plain(folder)
    one = world.world.file(world.world.chats(200), "one.jsonl")
    two = world.world.file(world.world.chats(50, prefix="other"), "two.jsonl")
    await world.work(one, limit=1)
    await world.work(two, limit=1)
    world.budget(Budget(Scope.JOB, "1", Period.EVER, 2 * PICO // 1000))
    for path, code in ((one, ExitCode.NO_MONEY), (two, ExitCode.OK)):
        assert (await world.work(path)).exit_code == code
    assert world.committed("job_id = 1") <= 2 * PICO // 1000 < world.committed()
    assert world.ask("SELECT count(*) FROM requests WHERE job_id = 2 AND state <> 'succeeded'") == [(0,)]


async def test_a_tag_of_the_line_stands_above_the_jobs_and_what_is_not_tagged_goes_on_in_other_jobs(
    folder: Path,
) -> None:
    world = plain(folder)
    lines = world.world.chats(60)
    for line in lines[40:]:
        line["metadata"] = {"tags": {"team": "other"}}
    tagged = world.world.file(lines, "tagged.jsonl")
    free = world.world.file(world.world.chats(20, prefix="free"), "free.jsonl")
    with_tag = {"tags": [("team", "search")]}
    await world.work(tagged, limit=1, **with_tag)
    cap = 2 * PICO // 1000
    world.budget(Budget(Scope.TAG, "team=search", Period.EVER, cap))
    report = await world.work(tagged, **with_tag)
    assert report.exit_code == ExitCode.NO_MONEY
    assert world.committed("tag_set_id IS NULL") <= cap
    assert (await world.work(free)).exit_code == ExitCode.OK
    world.budget(Budget(Scope.TAG, "team=search", Period.EVER, PICO))
    world.budget(Budget(Scope.TAG, "team=other", Period.EVER, 0))
    report = await world.work(tagged, **with_tag)
    assert world.ask("SELECT count(*) FROM attempts WHERE tag_set_id IS NOT NULL") == [(0,)]
    assert report.exit_code == ExitCode.NO_MONEY
    assert report.left == 20


async def test_a_cap_for_the_day_begins_anew_at_midnight_utc_while_the_run_waits(folder: Path) -> None:
    world = plain(folder)
    midnight = (EPOCH // 1_000_000 // DAY + 1) * DAY
    world.world.clock.offset = midnight - EPOCH / 1e6 - 60
    path = world.world.file(world.world.chats(25))
    cap = 4 * PICO // 1000
    await world.work(path, limit=1)
    world.budget(everything(cap, Period.DAY))
    report = await world.work(path, on_pause="wait")
    assert (report.exit_code, report.left) == (ExitCode.OK, 0)
    (_, first), (_, second) = world.ask("SELECT opened / 86400000000, sum(cost) FROM attempts GROUP BY 1 ORDER BY 1")
    assert cap - world.worst() < first <= cap
    assert 0 < second <= cap
    assert 0 <= min(e.wall for e in world.world.provider.ledger.entries if e.wall >= midnight) - midnight < 3


async def test_without_waiting_a_used_up_day_ends_the_run(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(150))
    await world.work(path, limit=1)
    world.budget(everything(4 * PICO // 1000, Period.DAY))
    report = await world.work(path)
    assert report.exit_code == ExitCode.NO_MONEY
    assert (report.ended - report.started) / 1e6 < 300


async def test_calls_that_may_have_been_billed_stay_committed_at_their_hold(folder: Path) -> None:
    world = plain(folder)
    world.world.provider.fault_for = lambda number, path, body: "500"
    path = world.world.file(world.world.chats(100))
    cap = 5 * PICO // 1000
    report = await world.work(path, max_cost="0.005")
    assert report.exit_code == ExitCode.NO_MONEY
    assert report.tally.possibly_billed == world.committed() <= cap
    assert cap - world.committed() < world.worst()


async def test_a_model_without_a_price_is_refused_before_anything_is_sent(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(5, model="nobody/knows-it"))
    with pytest.raises(ConfigurationError, match="no price") as refused:
        await world.work(path, max_cost="1")
    assert "--assume-price" in (refused.value.hint or "")
    assert not world.world.provider.ledger.entries


async def test_an_assumed_price_lets_it_run_and_what_it_costs_is_estimated(folder: Path) -> None:
    world = plain(folder)
    world.prices["nobody/knows-it"] = Priced(500_000, 2_000_000)
    path = world.world.file(world.world.chats(100, model="nobody/knows-it"))
    report = await world.work(path, max_cost="0.002", assume_price="0.50/2")
    assert report.exit_code == ExitCode.NO_MONEY
    assert report.tally.recorded == 0
    assert report.tally.estimated == world.charged() <= 2 * PICO // 1000
    assert world.ask("SELECT DISTINCT usage_from FROM attempts") == [("estimated",)]


async def test_a_request_without_a_bound_needs_its_models_context_or_an_assumption(folder: Path) -> None:
    world = plain(folder)
    lines = world.world.chats(60)
    for line in lines:
        del line["body"]["max_tokens"]
    path = world.world.file(lines)
    with pytest.raises(ConfigurationError, match="no bound") as refused:
        await world.work(path, max_cost="1")
    assert "--assume-output" in (refused.value.hint or "")
    assert not world.world.provider.ledger.entries
    report = await world.work(path, max_cost="0.008", assume_output="1k")
    assert report.exit_code == ExitCode.NO_MONEY
    assert world.charged() <= 8 * PICO // 1000
    (folder / "batchrunner.toml").write_text(f'[providers.together.models."{MODEL}"]\ncontext = 500\n')
    report = await world.work(path, max_cost="0.1")
    assert (report.exit_code, report.left) == (ExitCode.OK, 0)


async def test_pictures_that_are_paid_for_by_size_have_a_worst_case_and_stay_within_a_cap(folder: Path) -> None:
    world = plain(folder)
    body = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "a fox", "width": 1024, "height": 1024, "steps": 4}
    path = world.world.file(
        [{"custom_id": f"p{n}", "url": "/v1/images/generations", "body": {**body, "seed": n}} for n in range(8)]
    )
    report = await world.work(path, max_cost="0.012")
    assert (report.exit_code, report.tally.succeeded) == (ExitCode.NO_MONEY, 4), "at $0.0027 a megapixel, rounded up"
    assert world.committed() <= 12 * PICO // 1000


async def test_what_was_bought_goes_on_to_its_end_although_nothing_more_may_be_bought(folder: Path) -> None:
    world = plain(folder, video_seconds=60.0)
    video = {"custom_id": "v", "url": "/v2/videos", "body": {"model": "minimax/hailuo-02", "prompt": "a fox runs"}}
    path = world.world.file([video, *world.world.chats(5)])
    await world.work(path, limit=1, run_for="5s")
    assert world.ask("SELECT state FROM requests WHERE custom_id = 'v'") == [("queued",)]
    world.budget(everything(1))
    report = await world.work(path)
    assert report.exit_code == ExitCode.NO_MONEY
    assert world.ask("SELECT state FROM requests WHERE custom_id = 'v'") == [("succeeded",)]
    assert world.ask("SELECT count(*) FROM attempts") == [(1,)]
    assert report.left == 5


async def test_a_cap_that_is_set_beside_a_run_holds_and_once_raised_the_run_goes_on(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(200))
    cap, seen = 10 * PICO // 1000, []

    async def beside(run: Run) -> None:
        await anyio.sleep(3.3)
        run.parts.queue.keep_budget(everything(cap), 0)
        await run._corridor.recount()
        await anyio.sleep(300)
        seen.extend((world.committed(), len(world.world.provider.ledger.entries), run.snapshot().budgets[0].used_up))
        run.parts.queue.keep_budget(everything(PICO), 0)
        await run._corridor.recount()

    report = await world.world.work(path, beside=beside, **world.flags(on_pause="wait"))
    committed, calls, used_up = seen
    assert cap - world.worst() < committed <= cap
    assert used_up
    assert 0 < calls < 200
    assert (report.exit_code, report.left) == (ExitCode.OK, 0)


async def test_the_cap_of_a_run_can_be_changed_beside_it_and_what_it_bought_so_far_counts(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(200))
    raised, lowered, seen = PICO, 18 * PICO // 1000, []

    async def beside(run: Run) -> None:
        live = await alive(run)
        await anyio.sleep(3.3)
        await live.recap(raised)
        seen.append(run.snapshot().budgets[0])
        await anyio.sleep(3.3)
        await live.recap(lowered)
        seen.append(run.snapshot().budgets[0])

    report = await world.world.work(path, beside=beside, **world.flags(max_cost="0.005"))
    first, second = seen
    assert (first.cap, second.cap) == (raised, lowered)
    assert 5 * PICO // 1000 < second.spent < lowered, "the first cap is passed, and what was bought under it counts"
    assert report.exit_code == ExitCode.NO_MONEY
    assert lowered - world.worst() < world.committed() <= lowered

    async def without(run: Run) -> None:
        live = await alive(run)
        with pytest.raises(ConfigurationError, match="no --max-cost"):
            await live.recap(raised)
        seen.append("refused")

    assert (await world.world.work(path, beside=without, **world.flags())).exit_code == ExitCode.OK
    assert seen[-1] == "refused"


async def test_a_run_that_waits_for_a_budget_ends_when_the_job_that_waits_is_cancelled(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(200))
    await world.work(path, limit=1)
    world.budget(Budget(Scope.JOB, "1", Period.EVER, 5 * PICO // 1000))
    seen: list[Any] = []

    async def beside(run: Run) -> None:
        live = await alive(run)
        await anyio.sleep(60)
        for _ in range(3):
            await live.refresh()  # as after any command that is about something else
            await anyio.sleep(2)
        assert run.snapshot().bottleneck == "budget"
        seen.extend(world.ask("SELECT count(*) FROM pauses WHERE ended IS NULL"))
        seen.extend(world.ask("SELECT count(*) FROM pauses WHERE reason = 'budget'"))
        await live.forget(1)
        at_once(perform(run.parts.queue, Cancel(job=1), live.clock.now()))
        await live.refresh()

    with anyio.fail_after(3_600):
        report = await world.world.work(path, beside=beside, **world.flags(on_pause="wait"))
    assert seen == [(1,), (1,)], "it is told once that the job is held back"
    assert (report.exit_code, report.left, report.shortages) == (ExitCode.OK, 0, ())


async def test_a_job_that_is_held_back_for_want_of_a_price_goes_on_when_one_is_set_beside_the_run(folder: Path) -> None:
    world = plain(folder)
    unpriced = Price(provider="together", names=("acme/new",), input=1, output=1)
    files = [
        world.world.file(world.world.chats(60), "a.jsonl"),
        world.world.file(world.world.chats(30, prefix="n", model="acme/new"), "b.jsonl"),
    ]
    seen: list[Any] = []

    async def beside(run: Run) -> None:
        live = await alive(run)
        await anyio.sleep(10)
        run.parts.queue.keep_budget(everything(PICO), 0)
        await live.recount()
        await anyio.sleep(20)
        seen.extend(world.ask("SELECT count(*) FROM pauses WHERE ended IS NULL AND reason = 'budget'"))
        run.parts.queue.add_prices([unpriced])
        await live.reprice()

    with session(world.world.loaded(**world.flags(concurrency=2))) as held:
        planned = held.plan([held.load(str(path)).job for path in files], outside=world.world.outside())
        async with anyio.create_task_group() as group:
            group.start_soon(beside, planned.run)
            report = await planned.execute()
            group.cancel_scope.cancel()

    assert seen == [(1,)], "its price was not known, and the budget counts it"
    assert (report.exit_code, report.left, report.tally.succeeded) == (ExitCode.OK, 0, 90)


async def alive(run: Run) -> Live:
    """Return what commands reach a run by, once it is at work."""
    found, there = list[Live](), anyio.Event()

    async def control(live: Live) -> None:
        found.append(live)
        there.set()

    run.control = control
    await there.wait()
    return found[0]


async def test_a_level_that_is_reached_is_told_and_of_what_is_used_up_no_level_beside(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(100))
    assert (await world.work(path, limit=20)).problems == ()
    world.budget(everything(world.charged() * 5 // 4)._replace(warn=(50, 80, 95)))
    report = await world.work(path, limit=1)
    assert [note.split(" used up")[0] for note in report.problems] == ["budget all: 80 % is"]
    report = await world.work(path)
    assert (report.exit_code, report.problems) == (ExitCode.NO_MONEY, ())


async def test_the_status_of_a_job_says_what_stopped_it(folder: Path) -> None:
    world = plain(folder)
    path = world.world.file(world.world.chats(100))
    await world.work(path, max_cost="0.004")
    ((scope, ref, reason, evidence),) = world.ask("SELECT scope, ref, reason, evidence FROM pauses WHERE ended IS NULL")
    assert (scope, ref, reason) == ("job", "1", "budget")
    assert "of $0.0040 committed" in evidence


async def crashing(world: BudgetWorld, path: Path, seconds: float | None, **flags: Any) -> ExitCode | None:
    """Run; after so many seconds the run is torn away as a kill does it, and whatever was in the air is lost."""
    with anyio.move_on_after(seconds) if seconds is not None else anyio.CancelScope():
        return (await world.work(path, **flags)).exit_code
    return None


def priced(dice: random.Random) -> Priced:
    """A card at random: half are plain; else with tiers around the lengths of these prompts, dearer or cheaper."""

    def plain_or(price: int) -> int | None:
        return dice.choice([None, 0, price // 2, 3 * price])

    def some(more: bool) -> Priced:
        given, made = dice.randint(1, 5_000_000), dice.randint(1, 20_000_000)
        return Priced(given, made, plain_or(given), plain_or(made)) if more else Priced(given, made)

    if dice.random() < 0.5:
        return some(more=False)
    one = some(more=True)
    one.above = tuple((tokens, some(more=True)) for tokens in sorted(dice.sample(range(1, 16), dice.randint(0, 4))))
    one.above = tuple((tokens, filled(more, one)) for tokens, more in one.above)
    one.off = dice.choice([0, 125_000, 333_333, 999_999])
    return one


def filled(tier: Priced, base: Priced) -> Priced:
    """What a tier does not name costs as it does without the tier."""
    cached = base.cached if tier.cached is None else tier.cached
    return Priced(tier.given, tier.made, cached, base.thought if tier.thought is None else tier.thought)


def scenario(folder: Path, seed: int) -> tuple[BudgetWorld, random.Random, Path, int]:
    dice = random.Random(seed)
    prices = {name: priced(dice) for name in (MODEL, OTHER, THINKER)}
    settings = Settings(
        seed=seed,
        latency=dice.choice([0.05, 0.5, 2.0]),
        latency_jitter=dice.random(),
        mean_output_tokens=dice.choice([5.0, 60.0, 300.0]),
        requests_per_minute=dice.choice([None, None, 600.0]),
        cached_share=dice.choice([0.0, 0.5, 1.0]),
    )
    faults = dice.choice([0.0, 0.0, 0.1, 0.4])
    kinds = ["500", "503", "429", "reset_mid", "billed500"]
    if all(price.cached is None and price.thought is None for price in prices.values()):
        kinds.append("no_usage")  # else what is estimated for it may be less than what the provider charges

    def fault_for(number: int, path: str, body: bytes) -> str | None:
        return dice.choice(kinds) if dice.random() < faults else None

    world = BudgetWorld(folder, prices, settings, fault_for)
    world.world.clock.offset = 3_650.0 * DAY  # a rescue goes by the machine's clock: what it queues has to be due
    lines = []
    for name in prices:
        bounds = [dice.choice([1, 16, 64, 400]) for _ in range(dice.randint(1, 40))]
        for place, bound in enumerate(bounds):
            lines += world.world.chats(1, model=name, max_tokens=bound, prefix=f"{len(name)}-{place}")
    dice.shuffle(lines)
    path = world.world.file(lines)
    holds = [price.worst(4 * 40, 64) for price in prices.values()]
    cap = dice.randint(0, 30 * max(holds))
    return world, dice, path, cap


@pytest.mark.parametrize("seed", range(RUNS))
async def test_h23_no_cap_is_ever_passed_and_less_than_one_request_is_left_unused(folder: Path, seed: int) -> None:
    world, dice, path, cap = scenario(folder, seed)
    kept = dice.random() < 0.5
    period = dice.choice([Period.EVER, Period.MONTH])
    flags: dict[str, Any] = {"concurrency": dice.choice([1, 2, 5, 16, 64]), "give_up_after": "2m"}
    if dice.random() < 0.3:
        flags["raise_cap"] = "2x"
    if kept:
        with_rows = await world.work(path, limit=1, max_cost="0")
        assert with_rows.tally.attempts == 0 or world.charged() == 0
        world.budget(everything(cap, period))
    else:
        flags["max_cost"] = f"{cap / PICO:.12f}"
    before = 0
    for seconds in [*(dice.uniform(0.0, 30.0) for _ in range(dice.choice([0, 0, 1, 3]))), None]:
        began = world.charged()
        counted_from = world.ask("SELECT ifnull(max(id), 0) FROM attempts")[0][0] if (folder / "q.db").exists() else 0
        code = await crashing(world, path, seconds, **flags)
        mine = "1" if kept else f"id > {counted_from}"
        assert world.committed(mine) <= cap
        assert world.charged() - (0 if kept else began) <= cap, "what the provider charges is within the cap"
        if code == ExitCode.NO_MONEY:
            assert cap - world.committed(mine) < world.next_hold()
        before = began
    assert before <= world.charged()
    if world.ask("SELECT count(*) FROM attempts WHERE billing = 'unknown' OR usage_from = 'estimated'") == [(0,)]:
        assert world.charged() == world.committed(), "nothing is unknown: it is the same to the last pico-dollar"


async def test_what_was_opened_before_a_price_rose_at_midnight_is_priced_by_its_own_day(folder: Path) -> None:
    world = plain(folder, tokens_per_second=None)
    midnight = (EPOCH // 1_000_000 // DAY + 1) * DAY
    world.world.clock.offset = midnight - EPOCH / 1e6 - 2.5
    dearer = f'[[price]]\nprovider = "together"\nnames = ["{MODEL}"]\ninput = "100"\noutput = "400"\nsource = "test"\n'
    prices = (folder / "prices.toml").read_text()
    (folder / "prices.toml").write_text(f"{prices}\n{dearer}valid_from = 2026-11-19\n")
    await world.work(world.world.file(world.world.chats(40)), max_cost="1")
    assert world.ask("SELECT count(*) FROM attempts WHERE cost > hold") == [(0,)]
    assert world.ask("SELECT count(DISTINCT rate_id) FROM attempts") == [(2,)]
