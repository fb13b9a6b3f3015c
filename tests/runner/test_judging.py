"""Answers that are not what was asked for: flagged, asked again on request, each attempt in the ledger."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from batchrunner.api import session
from batchrunner.api.audit import audit
from batchrunner.core.errors import ExitCode
from batchrunner.core.flags import word_of
from batchrunner.runner.judging import Judging
from batchrunner.runner.report import RunReport
from batchrunner.simulator import Settings
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
JSON = {"type": "json_object"}


class Faulty:
    """Spoils the first calls of every row, in order; a row is known by the question that its body begins with."""

    def __init__(self, *faults: str | None) -> None:
        self._faults = faults
        self._seen: Counter[str] = Counter()
        self.bodies: list[bytes] = []

    def __call__(self, number: int, path: str, body: bytes) -> str | None:
        self.bodies.append(body)
        row = json.loads(body)["messages"][0]["content"]
        self._seen[row] += 1
        place = self._seen[row] - 1
        return self._faults[place] if place < len(self._faults) else None


def lines(world: World, rows: int, **body: object) -> list[dict[str, object]]:
    made = world.chats(rows, max_tokens=4000)
    for line in made:
        line["body"].update(body)
    return made


def costs(world: World):
    with session(world.loaded()) as held:
        return held.costs()[0]


def all_attempts(world: World):
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(world.folder / "q.db")) as connection:
        return connection.execute(
            "SELECT n, outcome, use, billing, flags, patch, hex(sent_digest), cost FROM attempts ORDER BY id"
        ).fetchall()


def sound(world: World) -> bool:
    claims = audit(world.folder / "q.db", world.provider.ledger.entries)
    assert [breach for claim in claims for breach in claim.broken] == []
    return True


def told_as_booked(report: RunReport, world: World) -> bool:
    """What a run says at its end of money is what the books say, where all that there is was bought in it."""
    tally, booked = report.tally, costs(world)
    said = (tally.recorded, tally.estimated, tally.possibly_billed, tally.wasted)
    assert said == (booked.recorded, booked.estimated, booked.possibly_billed, booked.wasted)
    return True


async def test_a_valid_answer_is_asked_for_once(folder: Path) -> None:
    world = World(folder)
    path = world.file(lines(world, 5, response_format=JSON))
    report = await world.work(path, repair=2)
    assert (report.tally.attempts, report.tally.flagged) == (5, 0)
    assert all(result.flags == () for result in world.results(path))


async def test_an_invalid_answer_is_asked_again_with_what_was_wrong_and_each_attempt_is_paid_for(folder: Path) -> None:
    faulty = Faulty("not_json")
    world = World(folder, fault_for=faulty)
    path = world.file(lines(world, 3, response_format=JSON))
    report = await world.work(path, repair=2)
    assert (report.tally.attempts, report.tally.succeeded, report.tally.flagged) == (6, 3, 0)
    assert report.tally.asked_again == 3
    assert report.exit_code == ExitCode.OK
    results = world.results(path)
    assert [(result.state, result.row.attempts, result.flags) for result in results] == [("succeeded", 2, ())] * 3
    asked = [json.loads(body) for body in faulty.bodies if len(json.loads(body)["messages"]) > 1]
    assert [message["role"] for message in asked[0]["messages"]] == ["user", "assistant", "user"]
    assert asked[0]["messages"][1]["content"] == "Certainly! Here you are."
    assert "not JSON" in asked[0]["messages"][2]["content"]
    found = costs(world)
    assert found.attempts == 6
    assert found.recorded > 0
    assert found.wasted > 0
    assert sum(result.cost for result in results) == found.recorded + found.wasted
    first, again = (
        [row for row in all_attempts(world) if row[0] == 1],
        [row for row in all_attempts(world) if row[0] == 2],
    )
    assert {row[1:4] for row in first} == {("reply", "wasted", "billed")}
    assert all("not_json" in row[4] for row in first)
    assert {(*row[1:4], row[4], row[5]) for row in again} == {("reply", "used", "billed", None, "repair:1")}
    sent = {hashlib.sha256(body).hexdigest()[:32].upper() for body in faulty.bodies}
    assert {row[6] for row in all_attempts(world)} == sent
    assert sound(world)


async def test_an_answer_that_is_never_right_ends_as_a_flagged_success(folder: Path) -> None:
    world = World(folder, fault_for=Faulty("not_json", "blank", "not_json", "not_json"))
    path = world.file(lines(world, 2, response_format=JSON))
    report = await world.work(path, repair=2)
    assert (report.tally.attempts, report.tally.succeeded, report.tally.flagged) == (6, 2, 2)
    assert report.exit_code == ExitCode.OK
    for result in world.results(path):
        assert result.state == "succeeded"
        assert [word_of(flag) for flag in result.flags] == ["not_json"]
        assert result.row.attempts == 3
    with session(world.loaded()) as held:
        assert held.status("1").counts.flagged == 2
    assert sound(world)


async def test_without_repair_nothing_is_asked_again(folder: Path) -> None:
    world = World(folder, fault_for=Faulty("not_json"))
    path = world.file(lines(world, 2, response_format=JSON))
    report = await world.work(path)
    assert (report.tally.attempts, report.tally.flagged) == (2, 2)


async def test_an_answer_that_was_cut_off_is_flagged_and_never_resent(folder: Path) -> None:
    world = World(folder, fault_for=Faulty("cut_off", "cut_off"))
    path = world.file(lines(world, 2, response_format=JSON))
    report = await world.work(path, repair=3)
    assert report.tally.attempts == 2
    assert [result.flags for result in world.results(path)] == [("cut_off",)] * 2


async def test_a_raised_cap_asks_once_more_for_a_longer_answer(folder: Path) -> None:
    faulty = Faulty("cut_off", "cut_off")
    world = World(folder, fault_for=faulty)
    path = world.file(world.chats(2, max_tokens=1000))
    report = await world.work(path, raise_cap="1.5x", repair=3)
    assert (report.tally.attempts, report.tally.flagged) == (4, 2)
    assert sorted(json.loads(body)["max_tokens"] for body in faulty.bodies) == [1000, 1000, 1500, 1500]
    assert sound(world)


async def test_a_row_that_fails_for_good_while_it_is_repaired_keeps_the_answer_it_had(folder: Path) -> None:
    world = World(folder, fault_for=Faulty("not_json", "400"))
    path = world.file(lines(world, 3, response_format=JSON))
    report = await world.work(path, repair=2)
    assert (report.tally.succeeded, report.tally.failed, report.tally.flagged) == (3, 0, 3)
    for result in world.results(path):
        assert result.text == "Certainly! Here you are."
        assert word_of(result.flags[0]) == "not_json"
    assert costs(world).wasted == 0
    assert told_as_booked(report, world)
    assert report.tally.recorded > 0
    assert {row[1:4] for row in all_attempts(world)} == {
        ("reply", "used", "billed"),
        ("failure", "wasted", "not_billed"),
    }
    assert sound(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        ("not_json", "not_json", "400"),
        ("not_json",),
        ("not_json", "not_json"),
        ("no_usage", "400"),
        ("not_json", "500"),
    ],
)
async def test_the_run_tells_of_answers_that_were_put_by_what_the_books_tell(folder: Path, faults: list[str]) -> None:
    world = World(folder, fault_for=Faulty(*faults))
    report = await world.work(world.file(lines(world, 3, response_format=JSON)), repair=2)
    assert report.tally.asked_again == 3 * sum(fault == "not_json" for fault in faults)
    assert told_as_booked(report, world)
    assert report.tally.put_by == {}


async def test_a_kill_between_answer_and_repair_goes_on_with_the_repair(folder: Path) -> None:
    faulty = Faulty("not_json")
    world = World(folder, fault_for=faulty)
    path = world.file(lines(world, 4, response_format=JSON))

    async def stop(run) -> None:
        import anyio

        from batchrunner.runner.report import Interrupt

        await anyio.sleep(1.2)
        run.stop(Interrupt.INT)

    first = await world.work(path, repair=1, beside=stop, concurrency=2)
    assert first.tally.asked_again > 0
    assert first.left > 0
    second = await world.work(path, repair=1)
    assert first.tally.attempts + second.tally.attempts == 8
    assert all(result.flags == () for result in world.results(path))
    assert sound(world)


async def test_flagged_answers_are_tried_again_by_hand_and_stay_paid_for(folder: Path) -> None:
    world = World(folder, fault_for=Faulty("not_json", "not_json"))
    path = world.file([*lines(world, 3, response_format=JSON), *world.chats(2, prefix="plain", max_tokens=4000)])
    await world.work(path, repair=1)
    before = costs(world)
    with session(world.loaded()) as held:
        job = held.job("1")
        store = held._store  # its own clock is not the world's
        assert store.retry(job.id, flagged=True, custom_ids=["r-1"], now=1) == 1
        assert store.retry(job.id, flagged=True, now=1) == 2
        assert store.retry(job.id, flagged=True, now=1) == 0
        assert held.status(job).counts.flagged == 0
    assert costs(world).wasted == before.wasted + before.recorded - _plain(world)
    report = await world.work(path)
    assert report.tally.attempts == 3
    assert [result.flags for result in world.results(path)] == [()] * 5
    assert sound(world)


def _plain(world: World) -> int:
    return sum(row.cost or 0 for row in _rows(world) if row.custom_id.startswith("plain"))


def _rows(world: World):
    with session(world.loaded()) as held:
        return [result.row for result in held.results(held.job("1"))]


async def test_a_streamed_answer_is_judged_and_repaired_as_any_other(folder: Path) -> None:
    faulty = Faulty("not_json")
    world = World(folder, fault_for=faulty)
    path = world.file(lines(world, 3, response_format=JSON, stream=True))
    report = await world.work(path, repair=2)
    assert (report.tally.attempts, report.tally.succeeded, report.tally.flagged) == (6, 3, 0)
    assert all(json.loads(body)["stream"] for body in faulty.bodies)
    assert sound(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "attempts", "flags"),
    [
        (("not_json",), 2, ()),
        (("off_schema", "not_json"), 2, ("not_json",)),
        (("cut_off",), 1, ("cut_off",)),
        (("blank",), 2, ()),
    ],
)
async def test_a_response_is_judged_by_its_own_form(
    folder: Path, faults: tuple[str, ...], attempts: int, flags: tuple[str, ...]
) -> None:
    left, bodies = list(faults), []

    def fault_for(_: int, __: str, body: bytes) -> str | None:
        bodies.append(json.loads(body))
        return left.pop(0) if left else None

    world = World(folder, Settings(flavour="openai"), fault_for=fault_for)
    form = {"type": "json_schema", "name": "p", "schema": SCHEMA}
    body = {"model": "gpt-4o-mini", "input": "how old?", "text": {"format": form}}
    path = world.file([{"custom_id": "r", "url": "/v1/responses", "body": body}])
    report = await world.work(path, repair=1, provider="openai")
    assert (report.tally.attempts, report.tally.succeeded, report.tally.flagged) == (attempts, 1, len(flags))
    with session(world.loaded(provider="openai")) as held:
        (result,) = held.results(held.job("1"))
    assert tuple(map(word_of, result.flags)) == flags
    if attempts == 2:
        assert [item["role"] for item in bodies[1]["input"]] == ["user", "assistant", "user"]
    assert sound(world)


async def test_schemas_are_checked_with_the_extra_and_repaired(folder: Path) -> None:
    pytest.importorskip("jsonschema_rs", reason="the extra `schema` is not installed")
    wanted = {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}
    world = World(folder, Settings(latency=0.1), fault_for=Faulty("off_schema", "off_schema"))
    path = world.file(lines(world, 2, response_format=wanted))
    report = await world.work(path, repair=1)
    assert (report.tally.attempts, report.tally.flagged) == (4, 2)
    assert world.results(path)[0].flags == ('schema: $: "age" is a required property',)


async def test_without_the_extra_schemas_are_not_checked_and_the_end_says_so(folder: Path, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    wanted = {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}
    world = World(folder, fault_for=Faulty("off_schema"))
    path = world.file(lines(world, 2, response_format=wanted))
    report = await world.work(path, repair=1)
    assert (report.tally.attempts, report.tally.flagged) == (2, 0)
    (problem,) = report.problems
    assert "batchrunner[schema]" in problem


def test_an_ordinary_answer_is_passed_over_without_a_look() -> None:
    from batchrunner.core.attempt import Reply
    from batchrunner.core.request import Opened

    judging = Judging()
    assert not judging.concerns(Opened(1, b'{"model":"m"}'), Reply(200, b"{}", None))
    assert judging.concerns(Opened(1, b'{"model":"m"}'), Reply(200, b"{}", None, flags=("empty",)))
