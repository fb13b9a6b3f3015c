"""Lines with the same body are sent once, from the job file to the results, and the books agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchrunner.api import session
from batchrunner.api.audit import audit, shown
from batchrunner.core.errors import InputError
from batchrunner.simulator import Settings
from tests.invariants import Scenario, broken
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")


def repeated(world: World, different: int, times: int) -> list[dict[str, Any]]:
    """Each chat ``times`` times, under names of their own and with the metadata of their own."""
    return [
        {**line, "custom_id": f"{line['custom_id']}.{n}", "metadata": {"round": n}}
        for n in range(times)
        for line in world.chats(different)
    ]


async def test_a_body_is_sent_once_and_every_line_has_its_answer(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, faults={"429": 0.2, "500": 0.2}))
    path = world.file(repeated(world, 10, 5))
    report = await world.work(path, dedupe=True)
    assert (report.left, report.tally.failed) == (0, 0)
    served = [call for call in world.provider.ledger.entries if call.status == 200]
    assert len({call.body_sha256 for call in served}) == 10
    with session(world.loaded(dedupe=True)) as held:
        job = held.load(str(path)).job
        held.export(job, str(folder / "out.jsonl"))
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [line["custom_id"] for line in repeated(world, 10, 5)]
    for line in lines[10:]:
        original = next(one for one in lines if one["custom_id"] == line["batchrunner"]["copy_of"])
        assert line["response"]["body"] == original["response"]["body"]
        facts = line["batchrunner"]
        assert (facts["attempts"], facts["usage"], facts["cost_usd"]) == (0, None, "0")
        assert facts["extras"] == {"metadata": {"round": int(line["custom_id"][-1])}}
    assert all("copy_of" not in line["batchrunner"] for line in lines[:10])
    entries = world.provider.ledger.entries
    assert broken(Scenario(db=folder / "q.db", calls=entries, job=path, outputs=[folder / "out.jsonl"])) == []


async def test_a_limit_is_one_of_calls(folder: Path) -> None:
    world = World(folder)
    path = world.file(repeated(world, 4, 3))
    await world.work(path, dedupe=True, limit=2)
    assert len(world.provider.ledger.entries) == 2
    with session(world.loaded(dedupe=True)) as held:
        job = held.load(str(path)).job
        assert held.status(str(job.id)).counts.succeeded == 6
    await world.work(path, dedupe=True)
    assert len(world.provider.ledger.entries) == 4
    assert shown(audit(folder / "q.db", world.provider.ledger.entries)) == []


async def test_copies_fail_with_what_they_are_copies_of(folder: Path) -> None:
    world = World(folder, fault_for=lambda *_: "400")
    path = world.file(repeated(world, 1, 3))
    report = await world.work(path, dedupe=True)
    assert report.tally.failed == 1
    assert len(world.provider.ledger.entries) == 1
    assert shown(audit(folder / "q.db", world.provider.ledger.entries)) == []


async def test_with_and_without_it_are_two_jobs_and_that_is_said(folder: Path) -> None:
    world = World(folder)
    path = str(world.file(repeated(world, 2, 2)))
    with session(world.loaded()) as held:
        held.load(path)
    with session(world.loaded(dedupe=True)) as held, pytest.raises(InputError, match="dedupe False, now True"):
        held.load(path)


async def test_a_load_tells_how_many_lines_repeat_an_earlier_one_and_lines_can_be_added(folder: Path) -> None:
    world = World(folder)
    path = world.file(repeated(world, 5, 3))
    with session(world.loaded(dedupe=True)) as held:
        assert held.load(str(path)).copies == 10
        world.file([*repeated(world, 5, 3), *({**line, "custom_id": "new"} for line in world.chats(1))])
        added = held.load(str(path), add=True)
        assert (added.added, added.job.lines) == (1, 16)
        assert held.estimate([added.job]).requests == 5
