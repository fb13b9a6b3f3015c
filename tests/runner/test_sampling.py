"""``estimate --sample`` for real, in made-up time: what 50 rows tell of thousands holds, and nothing is paid twice."""

import os
import random
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from batchrunner.api import Outlook, session
from batchrunner.config import Loaded
from batchrunner.core.job import Job
from batchrunner.simulator import Settings
from batchrunner.wiring import price_book
from tests.runner.world import EPOCH, MODEL, World

pytestmark = [pytest.mark.usefixtures("virtual_time"), pytest.mark.slow]

SEEDS = int(os.environ.get("SAMPLE_SEEDS", "8"))
"""How many samples are drawn; 100, of 5,000 rows, for the figure of the docs."""
ROWS = 5_000 if SEEDS >= 100 else 1_500
BOUND = 1_024


def questions(rows: int) -> list[dict[str, Any]]:
    """Prompts of very different lengths; the provider draws the lengths of its answers on a log-normal curve."""
    dice = random.Random(7)
    return [
        {
            "custom_id": f"q-{i}",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": f"{i} " + "word " * round(dice.lognormvariate(4, 0.8))}],
                "max_tokens": BOUND,
            },
        }
        for i in range(rows)
    ]


def host() -> Settings:
    return Settings(latency=1.0, mean_output_tokens=120, output_spread=1.0, echo=False)


def bill(world: World, loaded: Loaded) -> int:
    """What the provider's own ledger comes to, in pico-dollars."""
    card = price_book(loaded.settings).card("together", MODEL, EPOCH)
    assert card is not None
    return sum(
        call.input_tokens * card.input + call.output_tokens * card.output for call in world.provider.ledger.entries
    )


async def estimated(world: World, rows: int, *, seed: str | None = None, **flags: Any) -> Outlook:
    """Run some rows of the first job at random, and return what they tell."""
    with session(world.loaded(**flags)) as held:
        job: Job = held.jobs()[0]
        drawing = held.draw(job, rows, seed=seed)
        planned = held.plan([job], drawing.selection, estimate=drawing.estimate, outside=world.outside())
        report = await planned.execute()
        found = held.outlook_by(job, drawing, report.started)
    assert found is not None
    return found


async def test_the_interval_of_50_rows_holds_what_all_cost_and_the_rest_alone_is_paid_later(folder: Path) -> None:
    world = World(folder, host())
    path = world.file(questions(ROWS))
    with session(world.loaded()) as held:
        held.load(str(path))
    found = []
    for seed in range(SEEDS):
        copy = folder / f"{seed}.db"
        shutil.copy(folder / "q.db", copy)
        other = World(folder, host())
        found.append(await estimated(other, 50, seed=str(seed), db=str(copy)))
        assert len(other.provider.ledger.entries) == 50
        copy.unlink()

    sample = await estimated(world, 50)
    report = await world.work(path)

    assert (report.tally.attempts, len(world.provider.ledger.entries)) == (ROWS - 50, ROWS), "no row was paid twice"
    truth, made = bill(world, world.loaded()), sum(call.output_tokens for call in world.provider.ledger.entries)
    costs = [each.estimate.cost for each in (*found, sample)]
    assert all(low < likely < (high or 0) for low, likely, high in costs)
    assert median((high or 0) - low for low, _, high in costs) < 0.8 * truth, "intervals that say something"
    held_cost = sum(each.estimate.low <= truth <= (each.estimate.high or 0) for each in found)
    held_output = sum(each.estimate.output.low <= made <= (each.estimate.output.high or 0) for each in found)
    print(f"the truth was held in {held_cost} (cost) and {held_output} (output tokens) of {SEEDS} samples")
    assert held_cost >= 0.85 * SEEDS - (SEEDS < 100)
    assert held_output >= 0.85 * SEEDS - (SEEDS < 100)
