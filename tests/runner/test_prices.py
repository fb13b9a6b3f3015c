"""Prices that change: each call is priced by what held when it was opened, however long its run lasts."""

import dataclasses
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchrunner.api import session
from batchrunner.api.audit import audit, shown
from batchrunner.core.pricing import Price
from batchrunner.runner.live import Live
from batchrunner.simulator import Settings
from tests.runner.world import EPOCH, MODEL, World

pytestmark = pytest.mark.usefixtures("virtual_time")

DAY = 86_400_000_000
DATED = """
[[price]]
provider = "together"
names = ["openai/gpt-oss-20b"]
input = "0.10"
output = "0.40"

[[price]]
provider = "together"
names = ["openai/gpt-oss-20b"]
input = "0.20"
output = "0.80"
valid_from = {change}
source = "the new list"
"""
BEFORE, AFTER = (100_000, 400_000), (200_000, 800_000)


def prices(folder: Path, change: str) -> None:
    (folder / "prices.toml").write_text(DATED.format(change=change))
    (folder / "batchrunner.toml").write_text('price_files = ["prices.toml"]\n')


def booked(folder: Path) -> list[tuple[int, int, int, dict[str, Any]]]:
    """When each call was opened, what it used and what it cost, and the card that it was priced by."""
    with closing(sqlite3.connect(folder / "q.db")) as connection:
        rows = connection.execute(
            "SELECT opened, tin, tout, cost, hold, card FROM attempts JOIN rates ON rates.id = rate_id ORDER BY opened"
        ).fetchall()
    for _, _, _, cost, hold, _ in rows:
        assert hold >= cost
    return [(opened, (tin, tout), cost, json.loads(card)) for opened, tin, tout, cost, _, card in rows]


def worth(used: tuple[int, int], price: tuple[int, int]) -> int:
    return used[0] * price[0] + used[1] * price[1]


async def test_a_run_before_and_a_run_after_the_change_are_each_priced_by_their_own_day(folder: Path) -> None:
    change = EPOCH // DAY * DAY + DAY  # the next midnight, UTC
    prices(folder, "2026-11-19")
    world = World(folder, Settings(latency=1.0))
    assert change == 1_795_046_400_000_000, "2026-11-19"
    before, after = world.file(world.chats(5), "a.jsonl"), world.file(world.chats(5, prefix="s"), "b.jsonl")

    await world.work(before)
    world.clock.offset += 86_400.0
    await world.work(after)

    calls = booked(folder)
    assert [opened < change for opened, *_ in calls] == [True] * 5 + [False] * 5
    assert [cost for *_, cost, _ in calls[:5]] == [worth(used, BEFORE) for _, used, _, _ in calls[:5]]
    assert [cost for *_, cost, _ in calls[5:]] == [worth(used, AFTER) for _, used, _, _ in calls[5:]]
    assert {card["source"] for *_, card in calls[5:]} == {"the new list"}
    assert shown(audit(folder / "q.db", world.provider.ledger.entries)) == []


@pytest.mark.slow
@pytest.mark.parametrize("change", ["2026-11-18T11:07:40Z", "2026-11-18T12:07:40+01:00"])
async def test_a_change_in_the_middle_of_a_run_holds_from_its_moment_on(folder: Path, change: str) -> None:
    prices(folder, change)
    world = World(folder, Settings(latency=7.0, latency_jitter=0.5))
    moment = EPOCH + 60_000_000

    await world.work(world.file(world.chats(120)))

    calls = booked(folder)
    assert 40 < sum(opened < moment for opened, *_ in calls) < 100
    for opened, used, cost, _ in calls:
        assert cost == worth(used, BEFORE if opened < moment else AFTER)


async def test_a_price_that_is_set_beside_a_run_holds_for_what_it_opens_from_then_on(folder: Path) -> None:
    prices(folder, "2027-01-01")
    world = World(folder, Settings(latency=1.0, latency_jitter=0))
    set_at: list[int] = []
    own = Price(provider="together", names=(MODEL,), input=7, output=9, source="a contract")

    async def control(live: Live) -> None:
        await anyio.sleep(20)
        await live.offload.run(lambda: live.queue.add_prices([own]))
        await live.reprice()
        set_at.append(world.clock.now())
        await anyio.sleep_forever()

    with session(world.loaded(concurrency=1)) as held:
        job = held.load(str(world.file(world.chats(60)))).job
        planned = held.plan([job], outside=world.outside())
        planned.run = dataclasses.replace(planned.run, control=control)
        await planned.execute()

    calls = booked(folder)
    changed = [cost == worth(used, (7, 9)) for _, used, cost, _ in calls]
    for (opened, *_, card), own_price in zip(calls, changed, strict=True):
        assert own_price == (card["source"] == "a contract")
        assert opened == set_at[0] or own_price == (opened > set_at[0])
    assert 10 < sum(changed) < 50
    assert {card["source"] for *_, card in calls[-5:]} == {"a contract"}
