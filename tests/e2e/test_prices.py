"""A price that is set from another terminal while a run goes on: real processes, a real mailbox, real money."""

import json

import pytest
from click.testing import CliRunner

from batchrunner.cli import main
from tests.e2e.conftest import Start
from tests.e2e.place import GPT, chats

pytestmark = pytest.mark.slow


def test_a_contract_that_is_set_beside_a_run_prices_what_is_opened_from_then_on(at: Start) -> None:
    place = at(latency=0.2, latency_jitter=0)
    place.file(chats(200, "a", GPT))
    child = place.start(*place.job("--concurrency", "8"))
    place.box.await_calls(16)

    words = ("prices", "set", GPT, "--input", "1", "--output", "2", "--source", "contract 7", "--db", str(place.db))
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 0, said.stderr
    assert "and to the run that is going on" in said.stderr
    place.box.change(latency=0.0)
    ended = child.end()
    assert ended.code == 0, ended.err

    calls = place.rows(
        "SELECT tin, tout, cost, json_extract(card, '$.source') FROM attempts JOIN rates ON rates.id = rate_id"
        " ORDER BY opened"
    )
    own = [source.startswith("contract 7") for *_, source in calls]
    assert own == sorted(own), "first the one price, then the other"
    assert 16 <= own.count(False) < 180
    for (tin, tout, cost, _), contract in zip(calls, own, strict=True):
        assert cost == (tin * 1_000_000 + tout * 2_000_000 if contract else tin * 50_000 + tout * 200_000)
    (row,) = json.loads(place.run("prices", "list", "--model", GPT, "--json", "--db", "q.db").out)["prices"][-1:]
    assert row["own"] is True
