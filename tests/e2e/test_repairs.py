"""Answers that are not what was asked for, over a real socket: what is shown of them, and kills in mid-repair."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchrunner.api.audit import audit, shown
from batchrunner.simulator import Entry
from tests.e2e.bills import pico
from tests.e2e.books import lost
from tests.e2e.forks import Forks
from tests.e2e.place import Box, Place, boxed, chat, placed, quiet

pytestmark = pytest.mark.slow

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
FORM = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
FAULTS: dict[str, tuple[str | None, str | None]] = {
    "valid": (None, None),
    "repaired": ("off_schema", None),
    "never": ("not_json", "off_schema"),
    "cut": ("cut_off", "cut_off"),
    "plain": (None, None),
}
"""How a row's first answer goes wrong, and how those to its repairs do."""
ATTEMPTS = {"valid": 1, "repaired": 2, "never": 3, "cut": 1, "plain": 1}
FLAGS = {
    "valid": [], "repaired": [], "never": ['schema: $: "age" is a required property'], "cut": ["cut_off"], "plain": [],
}  # fmt: skip


def fault_for(_number: int, _path: str, body: bytes) -> str | None:
    """A row is known by the question that its body begins with, a repair by the answer that stands in it."""
    question, *more = json.loads(body)["messages"]
    return FAULTS[question["content"].split()[0]][bool(more)]


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(fault_for) as opened:
        yield opened


def lines(mark: str, *names: str) -> list[dict[str, Any]]:
    made = [chat(name, f"{name} of {mark}", max_tokens=4000) for name in names]
    for line in made:
        if line["custom_id"] != "plain":
            line["body"]["response_format"] = FORM
    return made


def by_row(place: Place, calls: list[Entry]) -> dict[str, int]:
    """What the provider billed for each line, in pico-dollars."""
    query = "SELECT a.id, r.custom_id FROM attempts AS a JOIN requests AS r ON r.id = a.request_id"
    row_of = dict(place.rows(query))
    bill: defaultdict[str, int] = defaultdict(int)
    for call in calls:
        bill[row_of[int(call.client_request_id or 0)]] += call.charge or 0
    return dict(bill)


def test_attempts_cost_and_the_check_that_failed_are_shown_of_every_kind_of_answer(
    box: Box, forks: Forks, tmp_path: Path
) -> None:
    pytest.importorskip("jsonschema_rs", reason="the extra `schema` is not installed")
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        place.file(lines("here", *FAULTS))
        ended = forks.run(place, *place.job("--repair", "2"))
        assert (ended.code, quiet(ended.err)) == (0, True), ended.err
        assert "5 requests succeeded (2 flagged), 3 asked again, 0 failed" in ended.err
        calls = box.calls()[before:]
        found = {line["custom_id"]: line for line in place.lines()}
        ours = {name: line["batchrunner"] for name, line in found.items()}
        assert {name: row["attempts"] for name, row in ours.items()} == ATTEMPTS
        assert {name: row["flags"] for name, row in ours.items()} == FLAGS
        assert all(found[name]["error"] is None for name in FAULTS)
        bill = by_row(place, calls)
        assert {name: pico(row["cost_usd"]) for name, row in ours.items()} == bill
        assert bill["never"] > bill["repaired"] > bill["valid"] > 0
        assert json.loads(found["repaired"]["response"]["body"]["choices"][0]["message"]["content"])["age"] is not None

        flagged = forks.run(place, "results", "job", "--flagged", "--db", "q.db")
        kept = [json.loads(line) for line in flagged.out.splitlines()]
        assert {line["custom_id"]: line["batchrunner"]["flags"] for line in kept} == {
            name: FLAGS[name] for name in ("never", "cut")
        }
        costs = json.loads(forks.run(place, "costs", "--json", "--db", "q.db").out)["total"]
        assert costs["calls"] == sum(ATTEMPTS.values())
        assert pico(costs["usd"]["recorded"]) + pico(costs["usd"]["wasted"]) == sum(bill.values())
        assert pico(costs["usd"]["wasted"]) > 0
        told = forks.run(place, "status", "job", "--db", "q.db")
        words = [line.split() for line in told.out.splitlines()]
        assert ["flagged", "2"] in words
        assert [line[:2] for line in words if line[:1] == ["cost"]] == [["cost", "recorded"], ["cost", "wasted"]]
        assert "results job --flagged" in told.err
        assert shown(audit(place.db, calls)) == []


@pytest.mark.parametrize("crash", ["commit.recorded:1", "write.done:4", "send:2", "answered:2", "commit.recorded:2"])
@pytest.mark.parametrize("name", ["repaired", "never"])
def test_p2_a_kill_in_mid_repair_goes_on_with_the_repair_and_pays_for_nothing_unseen(
    name: str, crash: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    pytest.importorskip("jsonschema_rs", reason="the extra `schema` is not installed")
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        place.file(lines(f"{crash} {name}", name))
        assert forks.run(place, *place.job("--repair", "2"), crash=crash).code == 137
        ended = forks.run(place, *place.job("--repair", "2"))
        assert (ended.code, quiet(ended.err)) == (0, True), ended.err
        calls = box.calls()[before:]
        assert len(calls) <= ATTEMPTS[name] + lost(place), "a purchase was repeated that nobody took for lost"
        assert lost(place) <= 1
        assert shown(audit(place.db, calls)) == []
        (line,) = place.lines()
        ours = line["batchrunner"]
        settled = {number for (number,) in place.rows("SELECT id FROM attempts WHERE outcome = 'reply'")}
        asked = place.rows("SELECT count(*) FROM attempts WHERE patch LIKE 'repair:%' AND outcome = 'reply'")[0][0]
        assert asked == ATTEMPTS[name] - 1, "as often as without a kill"
        assert len(settled) + lost(place) == ours["attempts"]
        assert (line["error"], ours["flags"]) == (None, FLAGS[name])
        assert (
            pico(ours["cost_usd"])
            == by_row(place, [call for call in calls if int(call.client_request_id or 0) in settled])[name]
        )
        costs = json.loads(forks.run(place, "costs", "--json", "--db", "q.db").out)["total"]["usd"]
        assert (pico(costs["possibly_billed"]) > 0) == (lost(place) == 1)
