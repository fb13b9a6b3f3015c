"""The ledger: complete, exact, without secrets, and readable after a kill."""

from __future__ import annotations

import hashlib
import json

import pytest

from batchrunner.simulator import Ledger, Provider, Settings, read_ledger


def test_an_entry_holds_what_a_client_has_to_account_for(desk):
    counter = desk(cached_share=0.5)
    headers = {"x-client-request-id": "attempt-7", "x-stainless-retry-count": "2"}
    answer = counter.chat("x" * 400, headers=headers, key="sk-canary-1")
    entry = counter.ledger.entries[-1]
    assert (entry.number, entry.time, entry.path, entry.model) == (1, 100.0, "/v1/chat/completions", "m")
    assert (entry.status, entry.billed, entry.written) == (200, True, True)
    assert entry.usage == json.loads(answer.body)["usage"]
    assert (entry.input_tokens, entry.cached_tokens) == (103, 51)
    assert entry.output_tokens == entry.usage["completion_tokens"]
    assert (entry.client_request_id, entry.retry_count) == ("attempt-7", 2)
    assert entry.key_fingerprint == hashlib.sha256(b"Bearer sk-canary-1").hexdigest()[:12]
    assert b"canary" not in counter.ledger.json_lines()


def test_calls_in_flight_are_counted_until_they_are_finished(desk):
    counter = desk()
    first, second = counter.chat("a", finish=False), counter.chat("b", finish=False)
    assert [entry.in_flight for entry in counter.ledger.entries] == [1, 2]
    counter.provider.finish(first.number, written=False)
    counter.provider.finish(first.number)
    counter.provider.finish(second.number)
    stats = counter.ledger.stats()
    assert (stats["in_flight"], stats["highest_concurrency"]) == (0, 2)
    assert (stats["written"], stats["unwritten"]) == (1, 1)


def test_duplicates_are_bodies_processed_twice(desk):
    counter = desk(keepalive_close=1)
    for text, served in (("a", 0), ("a", 1), ("b", 0), ("b", 0), ("b", 0)):
        counter.chat(text, served=served)
    assert list(counter.ledger.duplicates().values()) == [3]
    assert counter.ledger.stats()["repeated_calls"] == 2


def test_totals_stay_exact_when_old_entries_are_dropped():
    provider = Provider(Settings(), now=lambda: 0.0, wall=lambda: 0.0, ledger=Ledger(keep=3))
    body = b'{"model":"m","prompt":"a"}'
    for _ in range(10):
        provider.finish(provider.handle("POST", "/completions", {"authorization": "Bearer k"}, body).number)
    assert len(provider.ledger.entries) == 3
    assert provider.ledger.stats()["billed"] == 10
    assert provider.ledger.in_flight == 0


def test_the_file_knows_a_call_before_its_answer_leaves(tmp_path):
    path = tmp_path / "ledger.jsonl"
    provider = Provider(Settings(), now=lambda: 1.0, wall=lambda: 2.0, ledger=Ledger(path))
    body = b'{"model":"m","prompt":"a"}'
    answer = provider.handle("POST", "/completions", {"authorization": "Bearer k"}, body)
    assert [(entry.number, entry.billed, entry.written) for entry in read_ledger(path)] == [(1, True, None)]
    provider.finish(answer.number)
    with path.open("ab") as file:
        file.write(b'{"number": 2, "torn')
    assert [(entry.number, entry.written) for entry in read_ledger(path)] == [(1, True)]
    provider.ledger.close()


def test_windows_tell_models_and_weights_apart(desk, clock):
    counter = desk()
    for _ in range(5):
        counter.chat(model="a", max_tokens=10)
        counter.chat(model="b", max_tokens=10)
        clock.time += 1
    ledger = counter.ledger
    assert ledger.worst_excess(1, 1, model="a") == pytest.approx(0)
    assert ledger.worst_excess(1, 1) == pytest.approx(5)
    window = ledger.worst_window(1, 1)
    assert (window.start, window.end, window.amount) == (100.0, 104.0, 10.0)
    tokens = sum(entry.input_tokens + entry.output_tokens for entry in ledger.entries)
    assert ledger.worst_excess(0, 0, weight="real_tokens") == tokens
