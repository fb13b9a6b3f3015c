"""The fault plan: seeded, repeatable, billed by the rule, and readable from one line of text."""

from __future__ import annotations

import json

import pytest

from batchrunner.simulator import KINDS, parse_faults

UNBILLED_NAMES = {"502html", "400transient", "error200", "redirect"}
BILLED = {kind for kind in KINDS if not kind[:3].isdigit()} - UNBILLED_NAMES
"""Refusals cost nothing; all else was done, and the race on a fresh connection is none: a good call."""


def test_a_line_of_text_becomes_rates():
    assert parse_faults("429=0.05, 500=2%,reset_before=0.01,") == {"429": 0.05, "500": 0.02, "reset_before": 0.01}
    assert parse_faults("") == {}


@pytest.mark.parametrize(
    "text", ["429", "what=0.1", "429=x", "429=1.5", "429=nan", "429=0.6,500=0.6", "429=0.1,429=0.1"]
)
def test_a_line_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match="fault"):
        parse_faults(text)


@pytest.mark.parametrize("by", ["attempt", "body", "number"])
def test_the_same_seed_gives_the_same_faults_and_the_rates_hold(desk, by):
    def run(seed):
        counter = desk(seed=seed, fault_by=by, faults={"500": 0.2, "429": 0.1})
        return [counter.chat(str(number)).status for number in range(600)]

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    assert 80 < first.count(500) < 160
    assert 35 < first.count(429) < 85


def test_by_body_a_fault_stays_and_by_attempt_it_passes(desk):
    for by, outcomes in (("body", 1), ("attempt", 2)):
        counter = desk(fault_by=by, faults={"500": 0.5})
        assert len({counter.chat("same").status for _ in range(40)}) == outcomes


def test_by_attempt_the_order_of_arrival_does_not_matter(desk):
    names = [str(number) for number in range(50)]
    forth, back = desk(faults={"500": 0.5}), desk(faults={"500": 0.5})
    one = {name: forth.chat(name).status for name in names}
    other = {name: back.chat(name).status for name in reversed(names)}
    assert one == other


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_billed_by_the_rule(desk, kind):
    counter = desk(faults={kind: 1.0})
    answer = counter.chat()
    entry = counter.ledger.entries[-1]
    assert entry.billed == (kind in BILLED)
    assert entry.processed
    assert bool(entry.output_tokens) == entry.billed
    if kind[:3].isdigit():
        assert answer.status == int(kind[:3])
        assert answer.fault is None


def test_bodies_that_are_no_good_are_no_good_in_the_named_way(desk):
    def body(kind):
        answer = desk(faults={kind: 1.0}).chat()
        assert answer.status == 200
        return answer.body

    assert body("empty200") == b""
    assert body("html200").startswith(b"<html>")
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
        json.loads(body("truncated_json"))
    assert "error" in json.loads(body("error200"))
    assert json.loads(body("no_choices"))["choices"] == []
    assert "usage" not in json.loads(body("no_usage"))
    assert json.loads(body("null_usage"))["usage"] is None
    assert b"<html>" in desk(faults={"502html": 1.0}).chat().body


def test_a_call_billed_and_then_failed_is_in_the_ledger_with_its_tokens(desk):
    counter = desk(faults={"billed500": 1.0})
    answer = counter.chat()
    entry = counter.ledger.entries[-1]
    assert answer.status == 500
    assert entry.billed
    assert entry.usage is None
    assert counter.ledger.stats()["output_tokens"] == entry.output_tokens > 0


def test_a_race_happens_only_on_a_connection_used_before(desk):
    counter = desk(faults={"keepalive_race": 1.0})
    assert counter.chat().status == 200
    answer = counter.chat(served=1)
    assert (answer.status, answer.fault) == (0, "close_before")
    entry = counter.ledger.entries[-1]
    assert (entry.fault, entry.processed, entry.billed) == ("keepalive_race", False, False)
    assert desk(keepalive_close=3).chat(served=2).status == 200
    assert desk(keepalive_close=3).chat(served=3).fault == "close_before"


def test_a_hook_names_the_fault_of_single_calls(desk):
    counter = desk(fault_for=lambda number, path, body: "503" if b"bad" in body else None)
    assert [counter.chat(text).status for text in ("good", "bad", "good")] == [200, 503, 200]
    with pytest.raises(ValueError, match="unknown fault"):
        desk(fault_for=lambda *_: "what").chat()


def test_latency_jitters_by_the_call_and_grows_with_the_answer(desk):
    counter = desk(latency=1.0, tokens_per_second=10, output_spread=0, refusal_latency=0.25)
    delays = [counter.chat(str(number), max_tokens=20).delay for number in range(100)]
    assert all(2.75 <= delay <= 3.25 for delay in delays)
    assert len(set(delays)) > 90
    assert counter.chat(key=None).delay == 0.25
