"""Endpoints with a cost unit of their own, from the job file to the bill, against the provider's own arithmetic."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchrunner.api import session
from batchrunner.api.audit import audit, shown
from batchrunner.simulator import Settings
from batchrunner.simulator.bill import Units, bill
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")
RANKER = "Salesforce/Llama-Rank-V1"
BY_SEARCH = f'[[price]]\nprovider = "together"\nnames = ["{RANKER}"]\nsearch = "0.002"\n'


def rankings(rows: int) -> list[Mapping[str, Any]]:
    return [
        {"custom_id": f"s-{i}", "body": {"model": RANKER, "query": f"question {i}", "documents": ["one", "two " * i]}}
        for i in range(1, rows + 1)
    ]


async def worked(folder: Path, *, prices: str = "", **settings: Any) -> tuple[World, dict[str, Any]]:
    """Run chats and rankings to their end; return the world and the costs by endpoint."""
    world = World(folder, Settings(latency=1.0, **settings))
    (folder / "prices.toml").write_text(prices)
    (folder / "batchrunner.toml").write_text('price_files = ["prices.toml"]\n')
    await world.work(world.file([*world.chats(10), *rankings(5)]))
    with session(world.loaded()) as held:
        return world, {row.key[0]: row for row in held.costs(("endpoint",))}


async def test_the_bill_by_endpoint_is_the_providers_own(folder: Path) -> None:
    world, costs = await worked(folder)
    assert {path: row.recorded for path, row in costs.items()} == bill(world.provider.ledger.entries)
    assert (costs["/v1/rerank"].searches, costs["/v1/chat/completions"].searches) == (5, 0)
    assert shown(audit(folder / "q.db", world.provider.ledger.entries)) == []


async def test_a_model_that_is_sold_by_the_search_is_billed_by_the_search(folder: Path) -> None:
    _, costs = await worked(folder, prices=BY_SEARCH)
    assert costs["/v1/rerank"].recorded == 5 * 2_000_000_000
    with closing(sqlite3.connect(folder / "q.db")) as connection:
        held = connection.execute("SELECT DISTINCT hold, cost FROM attempts WHERE endpoint = '/v1/rerank'").fetchall()
    assert held == [(2_000_000_000, 2_000_000_000)]


async def test_a_search_without_usage_still_costs_its_search(folder: Path) -> None:
    _, costs = await worked(folder, prices=BY_SEARCH, faults={"no_usage": 1.0})
    assert (costs["/v1/rerank"].recorded, costs["/v1/rerank"].estimated) == (0, 5 * 2_000_000_000)
    assert costs["/v1/rerank"].searches == 5


async def test_results_tell_the_units_of_each_row(folder: Path) -> None:
    world, _ = await worked(folder)
    used = [result.row.usage for result in world.results(folder / "job.jsonl")]
    assert [usage.searches for usage in used] == [0] * 10 + [1] * 5


async def test_books_that_count_other_units_than_the_provider_are_told(folder: Path) -> None:
    world, _ = await worked(folder)
    calls = [
        msgspec.structs.replace(call, units=Units(searches=3)) if call.path == "/v1/rerank" else call
        for call in world.provider.ledger.entries
    ]
    breaches = shown(audit(folder / "q.db", calls))
    assert len(breaches) == 5
    assert "searches 1 here, 3 on the provider's bill" in breaches[0]
