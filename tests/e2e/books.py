"""What must be true of a place when a job has come to its end, whatever happened on the way."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from batchrunner.simulator import Entry
from batchrunner.store.check import check
from tests.e2e.place import Place

SLACK = 64
"""Open attempts beyond the concurrency that a crash may leave."""


def check_books(place: Place, lines: Sequence[dict[str, Any]], calls: Sequence[Entry], *, refused: int = 0) -> None:
    """Every line has one outcome, its own; both ledgers hold the same calls; the file is sound; nothing lies about."""
    assert check(place.db) == []
    wanted = {"succeeded": len(lines) - refused, "failed": refused}
    assert place.states() == {state: number for state, number in wanted.items() if number}
    bodies = {line["custom_id"]: json.dumps(line["body"]).encode() for line in lines}
    good = place.lines("out.jsonl")
    assert len(good) == len(lines) - refused
    for line in good:
        mark = f"fp_{hashlib.sha256(bodies[line['custom_id']]).hexdigest()[:12]}"
        assert line["response"]["body"]["system_fingerprint"] == mark, "an answer on the wrong row"
    ours = dict(place.rows("SELECT id, outcome FROM attempts"))
    theirs = [int(call.client_request_id or 0) for call in calls]
    assert max(Counter(theirs).values()) == 1, "an attempt was sent twice"
    assert set(theirs) <= ours.keys(), "a call was made without an attempt on the disk"
    assert {ours[number] for number in ours.keys() - set(theirs)} <= {"lost"}
    assert place.rows("SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    left = {path.name for path in place.folder.iterdir() if path.name.startswith("q.db")}
    assert left - {"q.db-wal", "q.db-shm"} == {"q.db", "q.db.lock"}  # those two are this reader's own


def lost(place: Place) -> int:
    return int(place.rows("SELECT count(*) FROM attempts WHERE outcome = 'lost'")[0][0])
