"""``embed`` as people use it: real processes, kills on the way, poison among the texts, a source that grows."""

import json
import random
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from batchrunner.simulator.vectors import vector_of
from batchrunner.store.check import check
from tests.e2e.forks import Forks
from tests.e2e.place import EMBED, Box, Place, boxed, placed, quiet, until
from tests.invariants import Scenario, broken

pytestmark = pytest.mark.slow

DIM = 8
CONCURRENCY = 4
SLACK = 64
KILLS = 5


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    settings: dict[str, Any] = {"latency": 0.12, "latency_jitter": 0.5, "poison": "POISON", "embedding_dimensions": DIM}
    with boxed(retry_after_style="none", **settings) as opened:
        yield opened


def words(*more: str) -> tuple[str, ...]:
    asked = ("--model", EMBED, "--id", "id", "--keep", "n", "--pack", "20", "--concurrency", str(CONCURRENCY))
    return ("embed", "docs.jsonl", "-o", "out.jsonl", "--db", "q.db", "--yes", "--progress", "none", *asked, *more)


def docs(number: int, prefix: str) -> list[dict[str, Any]]:
    """A fifth of them say what another one says."""
    return [{"id": f"d{n}", "text": f"{prefix} {n % (number * 4 // 5)}", "n": n} for n in range(number)]


def bits(vector: list[float]) -> bytes:
    return struct.pack(f"<{DIM}f", *vector)


def expect(place: Place, lines: list[dict[str, Any]]) -> None:
    """Each text has its own vector or is named as failed, once, in the order of the source."""
    good = [line for line in lines if "POISON" not in line["text"]]
    found = place.lines("out.jsonl")
    assert [(line["id"], line["n"]) for line in found] == [(line["id"], line["n"]) for line in good]
    for line, given in zip(found, good, strict=True):
        assert bits(line["embedding"]) == bits(vector_of(EMBED, given["text"], DIM))
    bad = [(line["id"], line["error"]["kind"]) for line in place.lines("out.errors.jsonl")]
    assert bad == [(line["id"], "invalid_request") for line in lines if "POISON" in line["text"]]


def test_p2_five_kills_on_the_way_lose_and_double_no_vector_and_every_repeated_call_is_counted(
    box: Box, tmp_path: Path
) -> None:
    before, dice, kills = len(box.calls()), random.Random(5), 0
    with placed(tmp_path, box) as place:
        lines = docs(4_000, "story")
        for n in (11, 12, 700, 1_500, 1_999):
            lines[n]["text"] = f"POISON {n}"
        place.file(lines, "docs.jsonl")
        while True:
            child, arrived = place.start(*words()), box.arrived
            if kills < KILLS:
                until(lambda arrived=arrived, child=child: box.arrived > arrived or child.process.poll() is not None)
                time.sleep(dice.uniform(0.1, 0.6))
                kills += child.kill()
                calls = box.calls()[before:]
                assert broken(Scenario(db=place.db, calls=calls, running=True)) == []
                continue
            ended = child.end()
            break
        assert (ended.code, kills) == (3, KILLS), ended.err
        assert quiet(ended.err)
        expect(place, lines)
        calls = box.calls()[before:]
        assert broken(Scenario(db=place.db, calls=calls, code=3, expected=[3], err=ended.err)) == []
        lost = place.rows("SELECT count(*) FROM attempts WHERE outcome = 'lost'")[0][0]
        assert lost <= KILLS * (CONCURRENCY + SLACK)
        assert lost > 0
        packs = place.rows("SELECT count(*) FROM requests")[0][0]
        refused = sum(call.status == 400 for call in calls)
        answered = sum(call.status == 200 and call.written for call in calls)
        assert answered <= packs + lost, "what was repeated is counted"
        assert refused <= 5 * 5 + 5 + lost
        assert "halved in search of texts at fault" in "".join(child.said for child in place.children)


@pytest.mark.parametrize(
    "crash",
    ["corpus.chunk:1", "corpus.seal:1", "corpus.sealed:1", "commit.recorded:4", "write.inside:9", "export.rename:1"],
)
def test_p2_a_crash_while_a_corpus_is_loaded_sent_or_written_leaves_nothing_twice(
    crash: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        lines = docs(240, crash)
        lines[30]["text"] = "POISON"
        place.file(lines, "docs.jsonl")
        assert forks.run(place, *words(), crash=crash).code == 137
        ended = forks.run(place, *words())
        assert ended.code == 3, ended.err
        expect(place, lines)
        assert check(place.db) == []
        assert broken(Scenario(db=place.db, calls=box.calls()[before:])) == []


def test_a_second_run_sends_what_was_added_and_what_was_changed_and_nothing_else(
    box: Box, forks: Forks, tmp_path: Path
) -> None:
    with placed(tmp_path, box) as place:
        lines = docs(1_000, "first")
        place.file(lines, "docs.jsonl")
        assert forks.run(place, *words()).code == 0
        for n in range(0, 1_000, 100):
            lines[n] = lines[n] | {"text": f"changed {n}"}
        lines += [{"id": f"new{n}", "text": f"new {n}", "n": n} for n in range(100)]
        place.file(lines, "docs.jsonl")
        ended = forks.run(place, *words("--prune"))
        assert ended.code == 0, ended.err
        assert "1,100 texts, 110 to send in 6 requests" in ended.err
        expect(place, lines)
        bodies = [json.loads(row[0])["input"] for row in place.rows("SELECT data FROM bodies ORDER BY request_id")]
        assert max(Counter(text for texts in bodies for text in texts).values()) == 1, "no text was queued twice"
        assert forks.run(place, *words()).code == 0
        assert check(place.db) == []


def test_vectors_that_were_written_may_be_dropped_and_nothing_can_be_made_of_none(
    box: Box, forks: Forks, tmp_path: Path
) -> None:
    with placed(tmp_path, box) as place:
        lines = docs(100, "drop")
        place.file(lines, "docs.jsonl")
        ended = forks.run(place, *words("--keep-vectors", "no"))
        assert ended.code == 0, ended.err
        expect(place, lines)
        assert place.rows("SELECT count(*) FROM vectors") == [(0,)]
        assert check(place.db) == []
        again = forks.run(place, *words())
        assert (again.code, "were dropped" in again.err) == (2, True)
        results = forks.run(place, "results", "out", "-o", "more.jsonl", "--db", "q.db")
        assert (results.code, "were dropped" in results.err) == (2, True)
        expect(place, lines)


@pytest.mark.parametrize(
    "crash", ["export.rename:1", "export.renamed:1", "corpus.leave:1", "corpus.left:1", "export.renamed:2"]
)
def test_p2_a_crash_while_vectors_leave_the_database_loses_and_doubles_none(
    crash: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        lines = docs(200, crash)
        lines[30]["text"] = "POISON"
        place.file(lines, "docs.jsonl")
        asked = [*words("--keep-vectors", "no")]
        asked[asked.index("out.jsonl")] = "out.parquet"
        assert forks.run(place, *asked, crash=crash).code == 137
        assert check(place.db) == []
        ended = forks.run(place, *asked)
        # Whatever is written and dropped can't be written again: it says so where nothing was left to do.
        assert ended.code == 3 or (ended.code, "were dropped" in ended.err) == (2, True), ended.err
        table = pq.read_table(place.folder / "out-00000.parquet")
        assert table["id"].to_pylist() == [line["id"] for line in lines if line["text"] != "POISON"]
        assert [line["id"] for line in place.lines("out.errors.jsonl")] == ["d30"]
        assert place.rows("SELECT count(*) FROM vectors") == [(0,)]
        assert check(place.db) == []
        assert broken(Scenario(db=place.db, calls=box.calls()[before:])) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"text": "no id"}', 'there is no column "id"'),
        ('{"id": "a"}', 'there is no column "text"'),
        ('{"id": "a", "text": "again", "n": 2}', 'the name "a" was used at docs.jsonl:1 already'),
        ('{"id": "a", "text": 5}', 'the column "text" holds no text, but a number'),
        ("{", "docs.jsonl:2:2"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_nothing_is_sent(
    line: str, why: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    arrived = box.arrived
    with placed(tmp_path, box) as place:
        (place.folder / "docs.jsonl").write_text('{"id": "a", "text": "b", "n": 1}\n' + line + "\n")
        ended = forks.run(place, *words())
        assert ended.code == 5
        assert "docs.jsonl:2:" in ended.err
        assert why in ended.err
        assert (box.arrived, place.rows("SELECT count(*) FROM jobs")) == (arrived, [(0,)])
