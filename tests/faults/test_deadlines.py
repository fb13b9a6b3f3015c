"""Calls that never end by themselves, in virtual time: minutes of silence as a whole job lives through them."""

from pathlib import Path

import pytest

from batchrunner.core.estimate import deadline
from batchrunner.simulator import Settings
from tests.faults.play import by_text, mixed
from tests.invariants import Scenario, ask, broken
from tests.runner.world import World

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("virtual_time")]
MAX_TOKENS = 64


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_n7_n9_a_call_without_end_is_given_up_at_its_deadline_and_bought_again(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path, Settings(latency=1.0, latency_jitter=0.0), fault_for=by_text())
    path = world.file(mixed([kind], each=3))
    report = await world.work(path)
    assert report.exit_code == 0
    scenario = Scenario(db=tmp_path / "q.db", calls=world.provider.ledger.entries, job=path, folders=[tmp_path], code=0)
    assert broken(scenario) == []
    ends = ask(
        scenario.db,
        "SELECT a.failure, a.billing, a.ended - a.opened FROM attempts AS a JOIN requests AS r ON r.id = a.request_id"
        f" WHERE r.custom_id LIKE '{kind}-%' AND a.outcome = 'failure'",
    )
    assert [(failure, billing) for failure, billing, _ in ends] == [("timeout", "unknown")] * 3
    assert [round(took / 1e6) for _, _, took in ends] == [round(deadline(MAX_TOKENS))] * 3
