"""Limits that nobody set, from end to end in virtual time: learned from answers and refusals, kept, shown."""

from pathlib import Path

import pytest

from batchrunner.simulator import Settings
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

AUTO = {"concurrency": "auto", "rpm": "auto", "tpm": "auto"}


def refused(world: World) -> int:
    return sum(entry.status == 429 for entry in world.provider.ledger.entries)


async def test_the_concurrency_that_nobody_set_grows_from_a_few_calls(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, latency_jitter=0.0))
    await world.work(world.file(world.chats(100)), **AUTO)
    sent = sorted(entry.time for entry in world.provider.ledger.entries)
    first = sent[0]
    assert sum(at < first + 0.9 for at in sent) == 8
    assert sum(first + 0.9 <= at < first + 1.9 for at in sent) == 16
    assert world.run is not None
    (view,) = world.run.snapshot().lanes
    assert view.limits["concurrency"] == (0, 32)
    assert view.who["concurrency"] == "learned"


async def test_a_concurrency_that_was_set_is_there_at_once(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, latency_jitter=0.0))
    await world.work(world.file(world.chats(60)), concurrency=40)
    sent = sorted(entry.time for entry in world.provider.ledger.entries)
    assert sum(at < sent[0] + 0.9 for at in sent) == 40


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["together", "openai"])
async def test_headers_are_followed_from_the_first_answer_on(folder: Path, flavour: str) -> None:
    world = World(folder, Settings(latency=1.0, requests_per_minute=300, flavour=flavour))  # type: ignore[arg-type]
    report = await world.work(world.file(world.chats(80)), **AUTO)
    assert report.tally.succeeded == 80
    assert world.run is not None
    (view,) = world.run.snapshot().lanes
    assert view.limits["rpm"][1] == pytest.approx(0.98 * 300, rel=0.01)
    assert view.who["rpm"] == "provider's header"
    assert refused(world) <= 8, "no more than were in the air before anything was known"


@pytest.mark.slow
async def test_without_headers_the_limit_is_found_and_the_next_run_begins_with_it(folder: Path) -> None:
    settings = Settings(latency=1.0, requests_per_minute=300, limit_headers=False, retry_after_style="none")
    world = World(folder, settings)
    await world.work(world.file(world.chats(300)), **AUTO)
    assert world.run is not None
    (view,) = world.run.snapshot().lanes
    assert view.limits["rpm"][1] == pytest.approx(300, rel=0.2)
    assert view.who["rpm"] == "learned"
    assert 0 < refused(world) <= 0.1 * 300
    before = refused(world)
    world.clock.offset = 600.0
    await world.work(world.file(world.chats(100, prefix="later"), "later.jsonl"), **AUTO)
    assert refused(world) - before <= 2


async def test_a_limit_that_was_set_follows_no_header(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, requests_per_minute=300))
    await world.work(world.file(world.chats(20)), rpm=120.0)
    assert world.run is not None
    (view,) = world.run.snapshot().lanes
    assert (view.limits["rpm"][1], view.who["rpm"]) == (120.0, "you")
