"""A bad key, an empty account, a model that is gone: the job waits, no row fails, and it goes on afterwards."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.place import GPT, LLAMA, SMALL, Ended, Place, chats, quiet

pytestmark = pytest.mark.slow

CONCURRENCY = 8


def stopped(place: Place, code: int, reason: str) -> Ended:
    """Run a job that a halt ends, and look at what all halts have in common."""
    ended = place.run(*place.job("--concurrency", str(CONCURRENCY)))
    assert ended.code == code, ended.err
    assert quiet(ended.err)
    told = re.findall(r"^stopped .*$", ended.err, re.MULTILINE)
    assert len(told) == 1, ended.err
    assert reason in told[0]
    assert re.search(r"^stopped .*\n  try: \S", ended.err, re.MULTILINE), "it says what to do"
    assert "go on with: batchrunner run job.jsonl" in ended.err
    states = place.states()
    assert states.keys() <= {"succeeded", "queued"}, "a row failed for what is not its fault"
    assert not (place.folder / "out.errors.jsonl").exists() or place.lines("out.errors.jsonl") == []
    assert place.rows("SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    assert len(place.lines()) == states.get("succeeded", 0)
    return ended


def goes_on(place: Place, rows: int) -> None:
    """The same command again does the rest, and nothing twice."""
    before = len(place.lines())
    billed = sum(call.billed for call in place.box.calls())
    assert billed == before
    ended = place.run(*place.job("--concurrency", str(CONCURRENCY)))
    assert ended.code == 0, ended.err
    assert place.states() == {"succeeded": rows}
    assert len(place.lines()) == rows
    assert sum(call.billed for call in place.box.calls()) == rows


def test_a_wrong_key_stops_the_job_after_a_handful_of_calls(at: Start) -> None:
    place = at(api_key="the-right-key", latency=0.05, refusal_latency=0.05)
    place.file(chats(60))
    stopped(place, 6, "HTTP 401: Invalid API key provided.")
    assert len(place.box.calls()) <= CONCURRENCY + 2
    assert place.states() == {"queued": 60}

    place.key = "the-right-key"
    goes_on(place, 60)


def test_h9_a_key_that_is_revoked_in_mid_run_loses_no_answer(at: Start) -> None:
    place = at(revoke_after=25, latency=0.05, refusal_latency=0.05)
    place.file(chats(60))
    stopped(place, 6, "HTTP 401")
    assert place.states() == {"succeeded": 25, "queued": 35}
    assert len(place.box.calls()) <= 25 + CONCURRENCY + 2

    place.box.change(revoke_after=None)
    goes_on(place, 60)


def test_h8_an_empty_account_stops_the_job(at: Start) -> None:
    place = at(credit_calls=25, latency=0.05, refusal_latency=0.05)
    place.file(chats(60))
    stopped(place, 4, "HTTP 402: Credit limit exceeded")
    assert place.states() == {"succeeded": 25, "queued": 35}
    assert len(place.box.calls()) <= 25 + CONCURRENCY + 2

    place.box.change(credit_calls=None)
    goes_on(place, 60)


def test_h11_a_missing_model_stops_its_own_lane_only(at: Start) -> None:
    place = at(missing_models=(LLAMA,), latency=0.05)
    place.file([*chats(20, "a", GPT), *chats(20, "b", LLAMA), *chats(20, "c", SMALL)])
    ended = stopped(place, 7, "HTTP 404: Unable to access model meta-llama/Llama-3.3-70B-Instruct-Turbo")
    assert f"stopped together {LLAMA}" in ended.err
    done = {line["custom_id"] for line in place.lines()}
    assert done == {f"{prefix}-{i}" for prefix in "ac" for i in range(20)}
    assert sum(call.model == "" for call in place.box.calls()) <= CONCURRENCY + 2, "calls to the missing model"

    place.box.change(missing_models=())
    goes_on(place, 60)


def test_one_glitch_stops_nothing(at: Start) -> None:
    place = at(fault_for=lambda number, *_: "401" if number in (5, 20) else None, latency=0.02)
    place.file(chats(40))
    ended = place.run(*place.job("--concurrency", "1"))
    assert ended.code == 0, ended.err
    assert place.states() == {"succeeded": 40}


def test_without_a_key_nothing_is_sent_and_the_variable_is_named(at: Start, tmp_path: Path) -> None:
    place = at()
    place.file(chats(3))
    without: dict[str, Any] = {"TOGETHER_API_KEY": ""}
    ended = place.run(*place.job(), env=without)
    assert ended.code == 2, ended.err
    assert "TOGETHER_API_KEY" in ended.err
    assert quiet(ended.err)
    assert place.box.calls() == []
