"""While a run goes on it tells what it will have cost at its end, from what its answers cost so far."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from batchrunner.api import Snapshot, session
from batchrunner.cli.facts import run_facts
from batchrunner.cli.live import last_line, panel
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")
SMALL = "openai/gpt-oss-20b"
LARGE = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


async def pictures(world: World, path: Path, every: float) -> list[Snapshot]:
    """Run a file with an estimate of it, and look at it on the way; the last picture is that of its end."""
    found: list[Snapshot] = []

    async def watch(run: Run) -> None:
        while True:
            await anyio.sleep(every)
            found.append(run.snapshot())

    with session(world.loaded()) as held:
        job = held.load(str(path)).job
        planned = held.plan([job], estimate=held.estimate([job]), outside=world.outside())
        async with anyio.create_task_group() as group:
            group.start_soon(watch, planned.run)
            await planned.execute()
            group.cancel_scope.cancel()
        return [*found, planned.run.snapshot()]


@pytest.mark.slow
async def test_a_run_tells_early_what_it_will_have_cost_although_its_dear_rows_come_last(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, mean_output_tokens=60, faults={"500": 0.1}))
    rows = world.chats(150, model=SMALL, prefix="s") + world.chats(150, model=LARGE, prefix="l")
    for i, row in enumerate(rows):
        row["body"]["messages"][0]["content"] = f"{i} " + "word " * (i // 2)
    seen = await pictures(world, world.file(rows), 1.0)

    end = seen[-1]
    assert (end.done, end.projected) == (300, end.recorded + end.estimated + end.wasted), "no guess is left at the end"
    early = next(picture for picture in seen if picture.done >= 75)
    assert early.projected == pytest.approx(end.projected, rel=0.05)
    by_the_row = (early.recorded + early.wasted) * 300 / early.done
    assert by_the_row < 0.9 * end.projected, "or this would show nothing"
    assert early.expected == end.expected < 0.9 * end.projected, "nor if the estimate before had known it"


async def test_what_it_will_have_cost_is_in_every_view(folder: Path) -> None:
    world = World(folder)
    picture = (await pictures(world, world.file(world.chats(40)), 1.5))[0]
    assert 0 < picture.done < 40
    assert f"{picture.recorded / 1e12:.4f} of about ${picture.projected / 1e12:.4f}, " in last_line(picture)
    named = replace(picture, lanes=tuple(replace(lane, model=LARGE) for lane in picture.lanes))
    for width in (120, 80, 60):
        console = Console(width=width, file=StringIO())
        console.print(panel(named, width))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, shown.splitlines())) <= width
        assert f"of about ${picture.projected / 1e12:.4f}" in shown
        (lane,) = (line for line in shown.splitlines() if "no limit" in line)
        assert "concurrency" in lane, "the names of models are cut, and not what they wait for"
        assert "urbo " in lane
    usd = run_facts(picture)["usd"]
    assert float(usd["projected"]) == pytest.approx(picture.projected / 1e12)
    assert float(usd["expected"]) == pytest.approx(picture.expected / 1e12)


async def test_rows_without_a_bound_that_are_done_are_expected_no_more(folder: Path) -> None:
    world = World(folder)
    rows = world.chats(100)
    for row in rows[:50]:
        del row["body"]["max_tokens"]
    seen = await pictures(world, world.file(rows), 1.0)
    late = next(picture for picture in seen if picture.done >= 75)
    assert late.projected == pytest.approx(seen[-1].projected, rel=0.25)


async def test_a_run_that_nobody_estimated_tells_no_end(folder: Path) -> None:
    world = World(folder)
    await world.work(world.file(world.chats(20)))
    assert world.run is not None
    picture = world.run.snapshot()
    assert (picture.recorded > 0, picture.projected, picture.expected) == (True, None, None)
    assert "about" not in last_line(picture)
