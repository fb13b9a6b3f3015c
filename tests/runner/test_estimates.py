"""Estimates of a second job are corrected by what the answers to the first one used, model by model."""

from pathlib import Path

import pytest

from batchrunner.api import session
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")
OTHER = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


async def test_answers_of_a_model_correct_the_next_estimate_for_it_and_for_no_other(folder: Path) -> None:
    world = World(folder)
    await world.work(world.file(world.chats(40)))
    real = sum(call.input_tokens for call in world.provider.ledger.entries)
    next_job = world.file([*world.chats(40, prefix="s"), *world.chats(40, prefix="t", model=OTHER)], "next.jsonl")
    with session(world.loaded()) as held:
        found = held.estimate([held.load(str(next_job)).job])
    with session(world.loaded(db=str(folder / "new.db"))) as held:
        guessed = held.estimate([held.load(str(next_job)).job])
    assert found.calibrated == ("openai/gpt-oss-20b",)
    assert guessed.calibrated == ()
    assert guessed.input_tokens != 2 * real  # or this would show nothing
    corrected = found.input_tokens - guessed.input_tokens / 2
    assert corrected == pytest.approx(real, rel=0.02)
