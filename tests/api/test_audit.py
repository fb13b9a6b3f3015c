"""The auditor: quiet where both sets of books agree, and loud about every way in which they may not."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import msgspec
import pytest
import trio.testing

from batchrunner.api import session
from batchrunner.api.audit import audit, shown
from batchrunner.api.books import answers_in, results_apart
from batchrunner.simulator import Entry, Settings, parse_faults
from tests.invariants import Scenario, broken
from tests.runner.world import World

FAULTS = parse_faults("429=0.05,500=0.05,reset_before=0.05,truncate=0.05,no_usage=0.05")


class Place:
    """A finished job and its provider's ledger, both still to be spoiled."""

    def __init__(self, db: Path, calls: Sequence[Entry]) -> None:
        self.db, self.calls = db, list(calls)

    def change(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.db)) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount, statement
            connection.commit()

    def swap(self, number: int, **fields: object) -> None:
        self.calls[number] = msgspec.structs.replace(self.calls[number], **fields)

    def good(self) -> int:
        """The index of a call that was answered well."""
        return next(n for n, call in enumerate(self.calls) if call.fault is None and call.billed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    async def run() -> World:
        world = World(tmp_path_factory.mktemp("audit"), Settings(latency=1.0, faults=FAULTS))
        await world.work(world.file(world.chats(60)))
        return world

    return anyio.run(run, backend="trio", backend_options={"clock": trio.testing.MockClock(autojump_threshold=0)})


@pytest.fixture
def place(finished: World, tmp_path: Path) -> Place:
    with (
        closing(sqlite3.connect(finished.folder / "q.db")) as source,
        closing(sqlite3.connect(tmp_path / "q.db")) as to,
    ):
        source.backup(to)
    return Place(tmp_path / "q.db", finished.provider.ledger.entries)


def breaches(place: Place) -> list[str]:
    return shown(audit(place.db, place.calls))


def test_books_that_agree_agree_and_say_what_was_compared(place: Place) -> None:
    assert breaches(place) == []
    words = {claim.name: claim.words for claim in audit(place.db, place.calls)}
    assert words["I1"] == "60 rows: 60 succeeded"
    assert f"{len(place.calls):,} calls received" in words["I4"]


ONE_ANSWERED = "(SELECT min(request_id) FROM responses)"
SPOILED: dict[str, tuple[Callable[[Place], None], str]] = {
    "a row that still runs": (
        lambda it: it.change(f"UPDATE requests SET state = 'running' WHERE id = {ONE_ANSWERED}"),
        "I1: row 'r-0' is running",
    ),
    "a line that was lost": (lambda it: it.change("UPDATE jobs SET lines = lines + 1"), "I1: job 'job' has 60 rows"),
    "an attempt left open": (
        lambda it: it.change("UPDATE attempts SET ended = NULL WHERE id = 1"),
        "I1: attempt 1 of row",
    ),
    "an answer that is gone": (
        lambda it: it.change(f"DELETE FROM responses WHERE request_id = {ONE_ANSWERED}"),
        "I3: row 'r-0' is succeeded without an answer",
    ),
    "answers that changed places": (
        lambda it: it.change(
            f"UPDATE responses SET body = (SELECT body FROM responses ORDER BY request_id DESC LIMIT 1)"
            f" WHERE request_id = {ONE_ANSWERED}"
        ),
        "I3: row 'r-0' holds the answer to another call",
    ),
    "a call of nobody": (
        lambda it: it.swap(it.good(), client_request_id="999999"),
        "is in no ledger of ours",
    ),
    "an attempt sent twice": (lambda it: it.calls.append(it.calls[0]), "was sent 2 times"),
    "a call that never arrived": (lambda it: it.calls.pop(it.good()) and None, "never arrived, and may be on the bill"),
    "another row's body": (lambda it: it.swap(it.good(), body_sha256="0" * 64), "carried another row's body"),
    "an answer that was never sent": (lambda it: it.swap(it.good(), written=False), "and we hold its answer"),
    "a bill that we deny": (
        lambda it: it.change(
            "UPDATE attempts SET billing = 'not_billed' WHERE billing = 'unknown' AND failure = 'connection'"
        ),
        "was billed, and we say that it was not",
    ),
    "a token too many": (
        lambda it: it.change("UPDATE attempts SET tout = tout + 1 WHERE usage_from = 'provider'"),
        "on the provider's bill",
    ),
    "a price that is not the card's": (
        lambda it: it.change("UPDATE attempts SET cost = cost + 1 WHERE usage_from = 'provider'"),
        "pico-dollars here",
    ),
    "a fear that was too small": (
        lambda it: it.change("UPDATE attempts SET hold = 1 WHERE billing = 'unknown'"),
        "were feared",
    ),
    "no fear at all where there was reason to": (
        lambda it: it.change("UPDATE attempts SET hold = NULL WHERE billing = 'unknown'"),
        "was not written down, and could be known",
    ),
    "a cost that is unknown and shown as none": (
        lambda it: it.change(
            "UPDATE attempts SET cost = NULL WHERE id = (SELECT min(id) FROM attempts WHERE usage_from = 'provider')"
        ),
        "are shown as unpriced",
    ),
    "an innocent that was given up": (
        lambda it: it.change(f"UPDATE requests SET state = 'failed', failure = 'bad_reply' WHERE id = {ONE_ANSWERED}"),
        "the provider had answered it well",
    ),
    "an innocent in quarantine": (
        lambda it: it.change(f"UPDATE requests SET state = 'quarantined' WHERE id = {ONE_ANSWERED}"),
        "tries: row 'r-0' is quarantined",
    ),
    "a sum that does not add up": (lambda it: it.change("UPDATE totals SET cost = cost + 1"), "I7: totals holds"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_whatever_disagrees_is_told(place: Place, how: str) -> None:
    spoil, words = SPOILED[how]
    spoil(place)
    assert any(words in breach for breach in breaches(place)), breaches(place)


async def unbounded(folder: Path, rows: int) -> World:
    """Every first call breaks off after it was sent, and nothing in it says what its answer may come to."""
    seen: set[bytes] = set()

    def breaks_off(_number: int, _path: str, body: bytes) -> str | None:
        first = body not in seen
        seen.add(body)
        return "truncate" if first else None

    world = World(folder, Settings(latency=1.0), fault_for=breaks_off)
    lines = world.chats(rows)
    for line in lines:
        del line["body"]["max_tokens"]
    await world.work(world.file(lines))
    return world


@pytest.mark.usefixtures("virtual_time")
async def test_a_call_without_a_bound_that_may_be_billed_is_shown_as_unpriced_and_never_as_nothing(
    tmp_path: Path,
) -> None:
    world = await unbounded(tmp_path, 5)
    with session(world.loaded()) as held:
        (told,) = held.costs()
    assert (told.attempts, told.unpriced, told.possibly_billed) == (10, 5, 0)
    assert told.recorded > 0
    place = Place(tmp_path / "q.db", world.provider.ledger.entries)
    assert sum(call.billed for call in place.calls) == 10
    assert breaches(place) == [], "that nobody could know it is no breach"
    place.change("UPDATE totals SET unpriced = 0 WHERE billing = 'unknown'")
    assert "money: 5 attempts cost an unknown sum, and 0 are shown as unpriced" in breaches(place)


def test_results_are_held_against_the_database(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    lines = [f'{{"custom_id":"r-{n}"}}\n' for n in range(60)]
    out.write_text("".join(lines))
    assert list(results_apart(place.db, out)) == []
    out.write_text("".join([*lines[2:], lines[5], '{"custom_id":"x"}\n']))
    assert list(results_apart(place.db, out)) == [
        "row 'r-0' is in no results file",
        "row 'r-1' is in no results file",
        "row 'x' is in the results, and has none",
        "row 'r-5' is in the results 2 times",
    ]


def test_the_onlookers_checker_would_notice(place: Place, tmp_path: Path) -> None:
    fine = Scenario(db=place.db, calls=place.calls)
    assert broken(fine) == []
    seen = {"r-1": b"another answer", "gone": b"{}"}
    assert [line[:3] for line in broken(replace(fine, acknowledged=seen))] == ["I2:", "I2:"]
    assert [line[:3] for line in broken(replace(fine, stopped=place.calls[0].wall))] == ["I5:"]
    (tmp_path / "log").write_bytes(b"the key is sk-0123456789abcdef")
    leaky = replace(fine, folders=[tmp_path], key="sk-0123456789abcdef")
    assert broken(leaky) == [f"I6: the key is in {tmp_path / 'log'}"]
    assert [line[:3] for line in broken(replace(fine, peak_bytes=1 << 30))] == ["I8:"]
    model = place.calls[0].model
    assert [line[:3] for line in broken(replace(fine, limits={model: (0.01, 1.0)}))] == ["I9:"]
    assert [line[:4] for line in broken(replace(fine, code=3, err="some failed"))] == ["I10:"]
    assert broken(replace(fine, code=0, expected=[0])) == []


def test_answers_are_read_byte_for_byte(place: Place) -> None:
    assert len(answers_in(place.db)) == 60
    assert all(body.startswith(b"{") for body in answers_in(place.db).values())
