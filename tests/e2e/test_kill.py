"""A whole job through one kill -9 after another: what the two ledgers, the queue and the output say of it.

After every kill, and at the end, the one checker of the invariants looks at all of it (I1 to I10). One story is lived
once for all tests of this file. The runner is killed at random moments of its work, and sometimes before its first call
(while it loads, or takes over from the dead), until the job ends by itself.
"""

import hashlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from batchrunner.simulator import Entry
from batchrunner.store.check import check
from tests.canary import CANARY_KEY
from tests.e2e.place import EMBED, GPT, LLAMA, SMALL, Child, Ended, Place, boxed, chat, embedding, placed, quiet, until
from tests.invariants import Scenario, broken

pytestmark = pytest.mark.slow

SEED = 20_261
ROWS = 440
CONCURRENCY = 16
SLACK = 64
"""Open attempts beyond the calls in the air that a crash may leave."""
KILLS = 20
EARLY = 4
"""Of the first starts, those that are killed before or at their first call."""
POISON = "poisoned-row"
DIED = re.compile(r"the last run died with ([0-9]+) calls? open: possibly billed")
FAULTS = {"500": 0.01, "reset_mid": 0.01, "429": 0.01}


@dataclass
class Story:
    """What was seen from outside while it happened."""

    place: Place
    lines: list[dict[str, Any]]
    kills: int = 0
    seen: dict[str, bytes] = field(default_factory=dict)
    """Answers by custom id, as soon as any reader could see them."""
    lost: list[str] = field(default_factory=list)
    """Answers that were seen and then not there any more, or other ones."""
    breaches: list[str] = field(default_factory=list)
    """What the checker found after each kill."""
    checks: int = 0
    ended: Ended | None = None
    calls: list[Entry] = field(default_factory=list)
    seconds: float = 0.0

    def look(self) -> None:
        """Note every answer that is there, and every one that is not there any more."""
        if not self.place.db.exists() or not self.place.rows("SELECT 1 FROM sqlite_schema WHERE name = 'responses'"):
            return
        now = {
            key: bytes(body)
            for key, body in self.place.rows(
                "SELECT r.custom_id, p.body FROM requests AS r JOIN responses AS p ON p.request_id = r.id"
                " WHERE r.state = 'succeeded'"
            )
        }
        self.lost += [f"row {key} after kill {self.kills}" for key in self.seen if now.get(key) != self.seen[key]]
        self.seen |= now

    def judge(self, ended: Ended | None = None) -> None:
        """Hold all that is there against the invariants: after a kill, or after a run's own end."""
        if not self.place.db.exists() or not self.place.rows("SELECT 1 FROM sqlite_schema WHERE name = 'jobs'"):
            return
        self.checks += 1
        found = broken(self.scenario(ended))
        self.breaches += [f"after kill {self.kills}: {line}" for line in found]

    def scenario(self, ended: Ended | None) -> Scenario:
        """What is left: of a runner that died (its calls are open, and perhaps not all lines loaded), or that ended."""
        place, loaded = self.place, self.place.rows("SELECT 1 FROM jobs WHERE state = 'open'")
        given: dict[str, Any] = {"db": place.db, "calls": place.box.calls(), "acknowledged": self.seen}
        given |= {"job": place.folder / "job.jsonl"} if loaded else {}
        if ended is None:
            return Scenario(running=True, **given)
        outputs = [place.folder / name for name in ("out.jsonl", "out.errors.jsonl")]
        words = {"code": ended.code, "expected": [3], "err": ended.err}
        return Scenario(outputs=outputs, folders=[place.folder, place.talk], key=place.key, **words, **given)


def mixed() -> list[dict[str, Any]]:
    """Three chat models and embeddings in turn; one row in forty is refused for what is in it."""
    rows = []
    for i in range(ROWS):
        text = f"question {i}{' ' + POISON if i % 40 == 7 else ''}"
        models = (GPT, LLAMA, SMALL)
        rows.append(embedding(f"e-{i}", text) if i % 4 == 3 else chat(f"c-{i}", text, models[i % 4], 48))
    return rows


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("kill")
    settings: dict[str, Any] = {
        "latency": 0.4, "latency_jitter": 0.7, "poison": POISON, "faults": FAULTS, "retry_after_style": "none",
        "embedding_dimensions": 8, "seed": SEED,
    }  # fmt: skip
    with boxed(ledger=folder / "calls.jsonl", **settings) as box, placed(folder, box, CANARY_KEY) as place:
        told = Story(place, mixed())
        place.file(told.lines)
        live(told)
        yield told


def live(story: Story) -> None:
    dice, began = random.Random(SEED), time.monotonic()
    while story.kills < 200:
        child = story.place.start(*words(story.place))
        if killed(story, child, dice):
            story.kills += 1
            story.look()
            story.judge()
            continue
        story.ended = child.end()
        break
    story.look()
    story.judge(story.ended)
    story.calls, story.seconds = story.place.box.calls(), time.monotonic() - began


def words(place: Place) -> tuple[str, ...]:
    return place.job("--concurrency", str(CONCURRENCY))


def killed(story: Story, child: Child, dice: random.Random) -> bool:
    """Kill a runner at a random moment; False if it ended before that."""
    if story.kills < EARLY:
        time.sleep(dice.uniform(0.2, 1.2))
    else:
        before = story.place.box.arrived
        until(lambda: story.place.box.arrived > before or child.process.poll() is not None)
        time.sleep(dice.uniform(0.05, 1.5))
    story.look()
    return child.kill()


def attempts(story: Story) -> dict[int, tuple[Any, ...]]:
    """Our ledger: request, runner, outcome, failure, billing, status, opened by attempt."""
    query = "SELECT id, request_id, runner_id, outcome, failure, billing, status FROM attempts"
    return {row[0]: row[1:] for row in story.place.rows(query)}


def test_the_job_came_to_its_end_over_many_kills(story: Story) -> None:
    assert story.ended is not None
    assert story.ended.code == 3, story.ended.err
    assert story.kills >= KILLS
    assert story.seconds < 110
    assert all(quiet(child.said) for child in story.place.children)


def test_p1_twenty_kills_at_random_points_break_none_of_the_invariants(story: Story) -> None:
    assert story.breaches == []
    assert story.checks >= KILLS - EARLY


def test_no_row_is_quarantined_for_having_been_in_the_air_when_a_runner_died(story: Story) -> None:
    assert story.place.rows("SELECT custom_id FROM requests WHERE state = 'quarantined'") == []


def test_nothing_that_was_acknowledged_was_lost(story: Story) -> None:
    assert story.lost == []
    assert len(story.seen) == ROWS - ROWS // 40


def test_every_line_has_exactly_one_outcome_in_input_order(story: Story) -> None:
    good, bad = story.place.lines("out.jsonl"), story.place.lines("out.errors.jsonl")
    order = {line["custom_id"]: place for place, line in enumerate(story.lines)}
    for found in (good, bad):
        places = [order[line["custom_id"]] for line in found]
        assert places == sorted(places)
    assert sorted([line["custom_id"] for line in good + bad], key=order.__getitem__) == list(order)
    poisoned = {line["custom_id"] for line in story.lines if POISON in json.dumps(line)}
    assert {line["custom_id"] for line in bad} == poisoned
    assert {line["error"]["code"] for line in bad} == {"invalid_request"}
    assert all(line["error"] is None and line["response"]["status_code"] == 200 for line in good)


def test_every_answer_belongs_to_its_line(story: Story) -> None:
    bodies = {line["custom_id"]: json.dumps(line["body"]).encode() for line in story.lines}
    answers = [line for line in story.place.lines() if line["batchrunner"]["endpoint"] == "/v1/chat/completions"]
    assert len(answers) > ROWS / 2
    for line in answers:
        body = bodies[line["custom_id"]]
        assert line["response"]["body"]["system_fingerprint"] == f"fp_{hashlib.sha256(body).hexdigest()[:12]}"
    sent = dict(story.place.rows("SELECT a.id, b.data FROM attempts AS a JOIN bodies AS b USING (request_id)"))
    for call in story.calls:
        assert hashlib.sha256(sent[int(call.client_request_id or 0)]).hexdigest() == call.body_sha256


def test_both_ledgers_hold_the_same_calls(story: Story) -> None:
    ours, theirs = attempts(story), [int(call.client_request_id or 0) for call in story.calls]
    assert len(set(theirs)) == len(theirs), "an attempt was sent twice"
    assert set(theirs) <= ours.keys(), "a call was made without an attempt on the disk"
    for missing in ours.keys() - set(theirs):
        _, _, outcome, failure, billing, _ = ours[missing]
        assert outcome == "lost" or (failure, billing) == ("connection", "not_billed"), "never arrived, yet it ended"
    for call in story.calls:
        _, _, outcome, failure, billing, status = ours[int(call.client_request_id or 0)]
        if outcome == "reply":
            assert (call.status, call.written, call.billed) == (200, True, True)
        if status is not None:
            assert status == call.status
        if call.billed:
            assert billing in ("billed", "unknown"), f"{failure} was billed, and we say that it was not"


def test_a_kill_loses_and_repeats_no_more_than_was_in_the_air(story: Story) -> None:
    bound = CONCURRENCY + SLACK
    ours = attempts(story)
    lost = Counter(runner for _, runner, outcome, *_ in ours.values() if outcome == "lost")
    assert lost, "no kill struck a call in the air: the test tests nothing"
    assert max(lost.values()) <= bound
    assert len(lost) <= story.kills
    arrived = {int(call.client_request_id or 0) for call in story.calls}
    repeated: Counter[int] = Counter()
    last: dict[int, int] = {}
    for number in sorted(arrived):
        request = ours[number][0]
        before = last.get(request)
        if before is not None and ours[before][2] == "lost":
            repeated[ours[before][1]] += 1
        last[request] = number
    assert max(repeated.values()) <= bound
    bought_again = sum(Counter(call.body_sha256 for call in story.calls if call.billed).values()) - ROWS
    closed_again = sum(1 for _, _, outcome, failure, billing, _ in ours.values() if outcome == "failure")
    assert bought_again <= sum(lost.values()) + closed_again


def test_the_database_is_sound_and_its_counts_add_up(story: Story) -> None:
    assert story.place.rows("PRAGMA integrity_check") == [("ok",)]
    assert story.place.rows("PRAGMA foreign_key_check") == []
    assert check(story.place.db) == []
    assert story.place.states() == {"succeeded": ROWS - ROWS // 40, "failed": ROWS // 40}
    assert story.place.rows("SELECT state, sum(n) FROM counts GROUP BY state HAVING sum(n) > 0 ORDER BY state") == [
        ("failed", ROWS // 40),
        ("succeeded", ROWS - ROWS // 40),
    ]
    assert story.place.rows("SELECT count(*) FROM jobs") == [(1,)], "a half-loaded job was left"
    assert story.place.rows("SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    (summed,) = story.place.rows("SELECT sum(n) FROM totals")
    assert summed == (len(attempts(story)),)
    assert story.place.rows("SELECT count(*) FROM requests WHERE attempts < 1") == [(0,)]


def test_the_dead_are_told_of_and_what_they_left_open_is_priced(story: Story) -> None:
    told = [int(number) for child in story.place.children for number in DIED.findall(child.said)]
    lost = Counter(runner for _, runner, outcome, *_ in attempts(story).values() if outcome == "lost")
    # Each runner tells of the one before it; one that was killed on its first steps may have had no time to.
    assert len(lost) - EARLY <= len(told) <= len(lost)
    assert not Counter(told) - Counter(lost.values()), "another number was told than was lost"
    assert story.place.rows("SELECT count(*) FROM attempts WHERE outcome = 'lost' AND hold IS NULL") == [(0,)]
    priced = story.place.rows("SELECT sum(hold) FROM attempts WHERE billing = 'unknown'")
    assert priced == story.place.rows("SELECT sum(hold) FROM totals WHERE billing = 'unknown'")
    assert priced[0][0] > 0
    assert {model for (model,) in story.place.rows("SELECT model FROM models")} == {GPT, LLAMA, SMALL, EMBED}


def test_a_second_run_sends_nothing_and_writes_the_same_bytes(story: Story) -> None:
    outputs = [story.place.folder / name for name in ("out.jsonl", "out.errors.jsonl")]
    before = [path.read_bytes() for path in outputs]
    again = story.place.run(*words(story.place))

    assert again.code == 3, again.err
    assert "nothing is left to do" in again.err
    assert len(story.place.box.calls()) == len(story.calls)
    assert [path.read_bytes() for path in outputs] == before
