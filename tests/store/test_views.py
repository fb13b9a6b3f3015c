"""The views for other tools: over any ledger they say what ``costs`` says, and unknown is null in them, never 0."""

import json
import sqlite3
import tempfile
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.test_costs import BOUGHT, CHANGES, facts, ledger

WORDS = {
    "told": "recorded",
    "guessed": "estimated",
    "wasted": "wasted",
    "wasted guess": "wasted",
    "doubtful": "possibly billed",
    "unpriced": "unpriced",
    "refused": "not billed",
}
SUMS = ("recorded", "estimated", "possibly billed", "wasted")


def by_hand(everything, changes):
    """What each day, job and model came to, by what it counts as: only what there was of known cost."""
    found = defaultdict(Counter)
    for bought in everything:
        its = facts(bought, changes, "UTC")
        slice_of = found[its["day"], its["job"], its["model"]]
        slice_of["attempts"] += 1
        slice_of[WORDS[bought.kind]] += 1 if bought.kind in ("unpriced", "refused") else bought.cost
    return found


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(BOUGHT, max_size=12), CHANGES)
def test_each_view_tells_what_was_bought_and_what_is_unknown_is_null(everything, changes):
    expected = by_hand(everything, changes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.db"
        ledger(path, everything, changes)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            daily = [dict(row) for row in connection.execute("SELECT * FROM v_costs_daily")]
            attempts = [dict(row) for row in connection.execute("SELECT * FROM v_attempts")]
            requests = [dict(row) for row in connection.execute("SELECT * FROM v_requests")]

    assert {(row["day"], row["job"], row["model"]) for row in daily} == set(expected)
    for row in daily:
        its = expected[row["day"], row["job"], row["model"]]
        assert (row["attempts"], row["unpriced_attempts"]) == (its["attempts"], its["unpriced"])
        for word in SUMS:
            pico, usd = row[f"{word.replace(' ', '_')}_pico_usd"], row[f"{word.replace(' ', '_')}_usd"]
            assert pico == its.get(word), word
            assert usd is None if pico is None else abs(usd - pico / 10**12) <= 0.0000005
    told = [(row["opened"][:10], row["job"], row["model"], row["counts_as"], row["tags"]) for row in attempts]
    its = [(facts(bought, changes, "UTC"), WORDS[bought.kind]) for bought in everything]
    assert Counter((*key, tags_of(tags)) for *key, tags in told) == Counter(
        (each["day"], each["job"], each["model"], word, tuple(sorted(each["tags"].items()))) for each, word in its
    )
    for word in SUMS:
        column = f"{word.replace(' ', '_')}_pico_usd"
        assert sum(row[column] or 0 for row in requests) == sum(its[word] for its in expected.values())


def tags_of(text):
    return tuple(sorted(json.loads(text).items()))
