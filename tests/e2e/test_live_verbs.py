"""Verbs from another terminal on a run that is going on: real processes, a real socket, a real mailbox."""

import json
import signal
import time
from typing import Any

import pytest
from click.testing import CliRunner

from batchrunner.api import door
from batchrunner.cli import main
from batchrunner.store.check import check
from tests.e2e.conftest import Start
from tests.e2e.place import GPT, SMALL, Child, Place, chats, quiet, until

pytestmark = pytest.mark.slow

DB = ("--db", "q.db")


def running(place: Place, rows: int = 400, *more: str, calls: int = 8) -> Child:
    """A run that is going on, seen by its first calls."""
    place.file(chats(rows))
    child = place.start(*place.job("--concurrency", "8", *more))
    place.box.await_calls(calls)
    return child


def verb(place: Place, *words: str, code: int = 0) -> Any:
    """What a verb answers; asked from this process, which is another one than the runner's, and starts sooner."""
    ended = CliRunner().invoke(main, [*words, "--db", str(place.db), "--json"])
    assert ended.exit_code == code, ended.stderr
    assert quiet(ended.stderr)
    return json.loads(ended.stdout) if ended.stdout else ended.stderr


def inbox(place: Place) -> list[str]:
    folder = place.db.with_name("q.db.inbox")
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_pause_stops_calls_within_a_second_and_resume_goes_on(at: Start) -> None:
    place = at(latency=0.2, latency_jitter=0)
    child = running(place)
    paused = verb(place, "pause", "job", "--reason", "the source is wrong")
    assert [(each["scope"], each["evidence"]) for each in paused["paused"]] == [("job", "the source is wrong")]
    time.sleep(0.4)
    arrived = place.box.arrived
    time.sleep(1.0)
    assert place.box.arrived == arrived, "calls were begun after the pause"
    assert child.process.poll() is None, "the run did not wait for the person"
    said = str(verb(place, "status", "job"))
    assert "paused by hand" in said
    assert "the source is wrong" in said

    assert verb(place, "resume", "job")["live"] is True
    place.box.change(latency=0.0)
    ended = child.end()
    assert ended.code == 0, ended.err
    assert place.states() == {"succeeded": 400}
    assert len(place.box.calls()) == 400, "a row was sent twice"
    assert inbox(place) == []


def test_retag_beside_a_live_run_changes_whose_its_costs_are_and_no_book(at: Start) -> None:
    place = at(latency=0.05, latency_jitter=0)
    child = running(place, 100)
    assert verb(place, "retag", "job", "--tag", "team=ads")["job"]["tags"] == {"team": "ads"}
    assert child.process.poll() is None, "the run was over before it was asked"
    ended = child.end()
    assert ended.code == 0, ended.err
    (row,) = verb(place, "costs", "--by", "tag:team")["rows"]
    assert (row["tag:team"], row["succeeded"]) == ("ads", 100)
    assert check(place.db) == []


def test_a_paused_model_waits_while_others_go_on(at: Start) -> None:
    place = at(latency=0.2, latency_jitter=0)
    place.file([*chats(150, "a"), *chats(150, "b", SMALL)])
    child = place.start(*place.job("--concurrency", "8"))
    place.box.await_calls(8)
    verb(place, "pause", "--model", SMALL)
    place.box.change(latency=0.0)
    until(
        lambda: (
            place.rows("SELECT count(*) FROM requests WHERE state = 'succeeded' AND custom_id LIKE 'a-%'") == [(150,)]
        )
    )
    until(lambda: place.rows("SELECT count(*) FROM requests WHERE state = 'running'") == [(0,)])
    assert place.states()["queued"] > 50
    assert child.process.poll() is None
    verb(place, "resume")
    assert child.end().code == 0
    assert place.states() == {"succeeded": 300}


def test_a_pause_outlives_the_run_and_the_next_run_says_so(at: Start) -> None:
    place = at(latency=0.0)
    place.file(chats(5))
    verb(place, "load", str(place.folder / "job.jsonl"))
    verb(place, "pause", "job", "--reason", "not before Monday")
    ended = place.run(*place.job())
    assert ended.code == 0, ended.err
    assert "paused by hand since" in ended.err
    assert "not before Monday" in ended.err
    assert "resume 1" in ended.err
    assert "5 requests held back by hand" in ended.err
    assert "go on with" not in ended.err, "the same command would do nothing again"
    assert place.box.calls() == []
    verb(place, "resume", "job")
    assert place.run(*place.job()).code == 0
    assert place.states() == {"succeeded": 5}


def test_cancel_gives_up_what_is_queued_keeps_what_is_in_flight_and_can_be_taken_back(at: Start) -> None:
    place = at(latency=0.3, latency_jitter=0)
    child = running(place)
    cancelled = verb(place, "cancel", "job")
    ended = child.end()
    assert ended.code == 0, ended.err
    states = place.states()
    calls = len(place.box.calls())
    assert set(states) == {"succeeded", "cancelled"}
    assert states["succeeded"] == calls < 100
    assert cancelled["cancelled"] <= states["cancelled"] <= cancelled["cancelled"] + 72
    assert all(call.written for call in place.box.calls())

    refused = place.run(*place.job())
    assert refused.code == 2, refused.err
    assert "was cancelled" in refused.err
    assert "retry job --cancelled" in refused.err
    place.box.change(latency=0.0)
    assert verb(place, "retry", "job", "--cancelled")["queued"] == states["cancelled"]
    assert place.run(*place.job()).code == 0
    assert place.states() == {"succeeded": 400}
    assert len(place.box.calls()) == 400


def test_tune_takes_effect_on_a_live_run(at: Start) -> None:
    place = at(latency=0.25, latency_jitter=0)
    place.file(chats(600))
    child = place.start(*place.job("--concurrency", "2"))
    place.box.await_calls(4)
    tuned = verb(place, "tune", "--concurrency", "40", "--model", GPT)
    assert tuned["lanes"] == [f"together {GPT}"]
    assert tuned["concurrency_over_all"] == 40

    def in_air() -> int:
        return place.rows("SELECT count(*) FROM requests WHERE state = 'running'")[0][0]

    until(lambda: in_air() >= 40)
    verb(place, "tune", "--concurrency", "1")
    until(lambda: in_air() <= 1)
    before = place.box.arrived
    time.sleep(0.9)
    assert place.box.arrived - before <= 5, "one call at a time of 0.25 s is four a second"
    verb(place, "tune", "--concurrency", "40", "--rpm", "120")
    time.sleep(0.4)
    before = place.box.arrived
    time.sleep(1.2)
    assert place.box.arrived - before <= 5, "120 requests a minute are two a second"
    place.box.change(latency=0.0)
    verb(place, "tune", "--rpm", "60k")
    assert child.end().code == 0
    assert place.states() == {"succeeded": 600}


def test_load_and_retry_reach_a_run_that_drains_the_whole_queue(at: Start) -> None:
    place = at(latency=0.4, latency_jitter=0, poison="question 7 of other")
    place.file(chats(400))
    place.run("load", "job.jsonl", *DB)
    child = place.start("run", *DB, "--yes", "--progress", "none", "--concurrency", "8")
    place.box.await_calls(8)
    late = str(place.file([*chats(30, "late"), *chats(30, "other", SMALL)], "late.jsonl"))
    loaded = verb(place, "load", late)
    assert (loaded["added"], loaded["live"], loaded["job"]["path"]) == (60, True, str(place.folder / "late.jsonl"))
    assert verb(place, "load", late)["added"] == 0, "the same file is the same job"
    until(lambda: place.states().get("failed") == 1)
    place.box.change(poison="")
    assert verb(place, "retry", "late")["queued"] == 1
    place.box.change(latency=0.0)
    assert child.end().code == 0
    assert place.states() == {"succeeded": 460}


def test_a_bad_file_is_refused_by_a_live_run_as_it_would_be_without_one(at: Start) -> None:
    place = at(latency=0.2, latency_jitter=0)
    (place.folder / "bad.jsonl").write_text('{"custom_id":"a","body":{"model":"m","messages":[]}}\n{"custom_id":\n')
    without = place.run("load", "bad.jsonl", "--db", "other.db")
    child = running(place, 200)
    live = place.run("load", "bad.jsonl", *DB)
    assert (live.code, without.code) == (5, 5), live.err
    assert live.err.replace(str(place.folder) + "/", "") == without.err.replace(str(place.folder) + "/", "")
    for own in ("q.db", "q.db-wal", "q.db-shm"):
        assert "is the database" in verb(place, "load", str(place.folder / own), code=2)
    assert "--wait" in verb(place, "load", "-", code=2)
    place.box.change(latency=0.0)
    assert child.end().code == 0
    assert place.states() == {"succeeded": 200}


def test_what_a_killed_runner_left_in_its_mailbox_is_cleaned_and_the_verb_does_it_itself(at: Start) -> None:
    place = at(latency=0.2, latency_jitter=0)
    child = running(place, 60)
    folder = place.db.with_name("q.db.inbox")
    child.signal(signal.SIGSTOP)
    asking = place.start("pause", "job", *DB, "--json")
    until(lambda: any(name.endswith(".command") for name in inbox(place)))
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    child.kill()
    assert asking.end().code == 0, "the verb found the database free"
    assert place.rows("SELECT scope, ref, ended FROM pauses WHERE reason = 'paused by hand'") == [("job", "1", None)]
    verb(place, "resume", "job")
    assert not folder.exists(), "who holds the database sweeps up behind the dead"
    folder.mkdir(mode=0o700)
    (folder / "0-dead.taken").write_text("{}")
    (folder / "0-dead.answer").write_text("{}")
    (folder / "0-dead.command").write_text('{"type":"cancel","job":1}')
    ended = place.run(*place.job())
    assert ended.code == 0, ended.err
    assert place.states() == {"succeeded": 60}, "a dead sender's command was done"
    assert not folder.exists()


def test_a_run_that_does_not_answer_is_named_and_nothing_is_changed(at: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "TAKE_WITHIN", 0.5)
    place = at(latency=0.2, latency_jitter=0)
    child = running(place, 60)
    child.signal(signal.SIGSTOP)
    said = verb(place, "cancel", "job", code=75)
    assert inbox(place) == []
    child.signal(signal.SIGCONT)
    assert f"pid {child.pid}" in said
    assert "nothing was changed" in said
    assert child.end().code == 0
    assert place.states() == {"succeeded": 60}


def test_ctrl_c_during_a_load_ends_the_run_and_the_load_is_done_by_its_sender(at: Start) -> None:
    place = at(latency=0.2, latency_jitter=0)
    big = place.file(chats(40_000, "big"), "big.jsonl")
    child = running(place, 400)
    loading = place.start("load", str(big), *DB, "--json")
    until(lambda: place.rows("SELECT count(*) FROM jobs WHERE state = 'loading'") == [(1,)])
    child.signal(signal.SIGINT)
    ended = child.end()
    assert ended.code == 130, ended.err
    assert quiet(ended.err)
    loaded = loading.end()
    assert loaded.code == 0, loaded.err
    assert json.loads(loaded.out)["added"] == 40_000
    assert place.rows("SELECT state, count(*) FROM jobs GROUP BY state") == [("open", 2)]


def test_a_job_cancelled_at_full_speed_ends_as_cleanly_as_a_slow_one(at: Start) -> None:
    place = at(latency=0.0)
    child = running(place, 8_000)
    verb(place, "cancel", "job")
    ended = child.end()
    assert ended.code == 0, ended.err
    assert quiet(ended.err)
    states = place.states()
    assert set(states) == {"succeeded", "cancelled"}
    assert states["succeeded"] == len(place.box.calls())


def test_a_cap_that_is_set_beside_a_run_ends_it_by_the_tags_of_now_and_a_higher_one_lets_the_next_go_on(
    at: Start,
) -> None:
    place = at(latency=0.2, latency_jitter=0)
    place.file(chats(400))
    child = place.start(*place.job("--concurrency", "8", "--max-cost", "50"))
    place.box.await_calls(8)
    said = CliRunner().invoke(main, ["budget", "set", "0.000001", "--tag", "team=ads", "--db", str(place.db)])
    assert said.exit_code == 0, said.stderr
    assert verb(place, "tune", "--max-cost", "20")["limits"]["max_cost"] == "20"
    place.box.await_calls(place.box.arrived + 8)  # nothing has this tag yet
    verb(place, "retag", "job", "--tag", "team=ads")
    arrived = place.box.arrived
    ended = child.end()
    assert ended.code == 4, ended.err
    assert "stopped by budget tag team=ads: " in ended.err
    assert place.box.arrived <= arrived + 8, "more was bought than was open already"
    assert place.states()["queued"] > 300
    assert CliRunner().invoke(main, ["budget", "set", "5", "--tag", "team=ads", "--db", str(place.db)]).exit_code == 0
    place.box.change(latency=0.0)
    again = place.run(*place.job("--concurrency", "8"))
    assert again.code == 0, again.err
    assert place.states() == {"succeeded": 400}
