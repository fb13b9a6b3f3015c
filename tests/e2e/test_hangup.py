"""A terminal that closes, pipes that break, a process that is stopped: the run goes on."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from batchrunner.store.check import check
from tests.e2e.conftest import Start
from tests.e2e.place import ROOT, Place, chats, quiet

pytestmark = pytest.mark.slow


def on_a_terminal(place: Place, *words: str) -> tuple["subprocess.Popen[bytes]", int]:
    """Start the program as the leader of a session on a terminal of its own; return the terminal's other end."""
    ours, its = pty.openpty()

    def lead() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests with nohup did not mean the program
        os.setsid()
        os.close(os.open(os.ttyname(its), os.O_RDWR))  # the first terminal a leader opens is its own

    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place.talk),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "TOGETHER_API_KEY": "any-key",
        "TOGETHER_BASE_URL": f"{place.box.url}/v1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "batchrunner", *words],
        cwd=place.folder,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=lead,
    )
    os.close(its)
    return process, ours


@pytest.mark.parametrize("progress", ["live", "plain"])
def test_p7_a_terminal_that_closes_does_not_stop_the_run_and_the_rest_is_in_its_log(at: Start, progress: str) -> None:
    place = at(latency=0.4)
    place.file(chats(24))
    words = list(place.job("--concurrency", "4"))
    words[words.index("none")] = progress
    process, terminal = on_a_terminal(place, *words)
    try:
        place.box.await_calls(8)
        os.close(terminal)
        assert process.wait(40) == 0
    finally:
        if process.poll() is None:
            process.kill()
    assert place.states() == {"succeeded": 24}
    assert len(place.lines()) == 24
    assert len(place.box.calls()) == 24, "nothing was sent twice"
    log = place.folder / "q.db.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text(encoding="utf-8", errors="replace")
    assert "the terminal went away; the run goes on" in text
    assert "24 of 24 succeeded" in text
    assert quiet(text)


def test_p7_a_link_where_the_log_should_be_is_not_followed(at: Start) -> None:
    place = at(latency=0.2)
    place.file(chats(40))
    victim = place.folder / "victim"
    victim.write_text("precious")
    (place.folder / "q.db.log").symlink_to(victim)
    child = place.start(*place.job("--concurrency", "4"))
    place.box.await_calls(4)
    child.signal(signal.SIGHUP)
    assert child.end().code == 0
    assert victim.read_text() == "precious"
    assert place.states() == {"succeeded": 40}


def test_p6_fifty_signals_in_a_second_leave_no_traceback_and_no_half_state(at: Start) -> None:
    place = at(latency=0.05)
    place.file(chats(3000))
    child = place.start(*place.job("--concurrency", "16"))
    place.box.await_calls(100)  # commits follow each other closely now: some signals strike during one
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT)
    began = time.monotonic()
    for sent in range(50):
        if child.process.poll() is None:
            child.signal(numbers[sent % len(numbers)])
        time.sleep(0.02)
    ended = child.end()
    assert time.monotonic() - began < 4.0
    assert ended.code in (130, 143), ended.err
    log = place.folder / "q.db.log"
    assert quiet(ended.err + (log.read_text() if log.exists() else ""))
    assert place.rows("SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]
    assert place.states().keys() <= {"succeeded", "queued"}
    assert check(place.db) == []


def test_p8_a_run_goes_on_when_stdout_and_stderr_break(at: Start) -> None:
    place = at(latency=0.2)
    place.file(chats(60))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place.talk),
        "PYTHONPATH": str(ROOT),
        "TOGETHER_API_KEY": "any-key",
        "TOGETHER_BASE_URL": f"{place.box.url}/v1",
    }
    words = ["run", "job.jsonl", "--db", "q.db", "--yes", "--concurrency", "4", "--progress", "json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "batchrunner", *words],
        cwd=place.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    place.box.await_calls(4)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(40) == 0
    assert place.states() == {"succeeded": 60}


def test_p9_a_run_that_is_stopped_for_seconds_goes_on_without_a_burst(at: Start) -> None:
    place = at(latency=0.3)
    place.file(chats(50))
    child = place.start(*place.job("--concurrency", "4", "--rpm", "600"))
    place.box.await_calls(20)
    child.signal(signal.SIGSTOP)
    time.sleep(5.0)
    child.signal(signal.SIGCONT)
    ended = child.end(60)
    assert ended.code == 0, ended.err
    assert place.states() == {"succeeded": 50}
    assert place.box.worst_excess(10.0, 10.0) <= 1.0, "the bucket burst after the stop"


def test_p4_ctrl_c_says_how_many_calls_are_out_what_they_cost_at_most_and_the_longest(at: Start) -> None:
    place = at(latency=1.5)
    place.file(chats(30))
    child = place.start(*place.job("--concurrency", "4"))
    place.box.await_calls(4)
    time.sleep(0.3)
    child.signal(signal.SIGINT)
    ended = child.end()
    assert ended.code == 130, ended.err
    assert "waiting for 4 calls in flight (at most $" in ended.err
    assert "the longest for " in ended.err


def notices(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_command_is_told_of_the_end_without_a_shell_and_without_a_key(at: Start) -> None:
    place = at(latency=0.0)
    place.file(chats(5))
    script = place.folder / "tell.py"
    script.write_text(
        "import os, sys\n"
        "open('told', 'a').write(sys.stdin.read())\n"
        "open('env', 'w').write(repr(dict(os.environ)) + repr(sys.argv))\n"
    )
    command = f"{sys.executable} tell.py '$(touch pwned)' ';'"
    ended = place.run(*place.job("--notify", command), env={"SOME_OTHER_SECRET": "s3cret"})
    assert ended.code == 0, ended.err
    (told,) = notices(place.folder / "told")
    assert (told["event"], told["exit_code"], told["succeeded"], told["rows_left"]) == ("ended", 0, 5, 0)
    seen = (place.folder / "env").read_text()
    assert "any-key" not in seen
    assert "s3cret" not in seen
    assert "$(touch pwned)" in seen, "the words came as they were"
    assert not (place.folder / "pwned").exists()


def test_an_address_is_posted_to_without_a_key(at: Start) -> None:
    posted: list[tuple[dict[str, str], bytes]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    place = at(latency=0.0)
    place.file(chats(5))
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/hook/a-secret"
        ended = place.run(*place.job("--notify", address))
        shown = place.run("config", "--db", "q.db", env={"BATCHRUNNER_NOTIFY": address})
        server.shutdown()
    assert ended.code == 0, ended.err
    ((headers, body),) = posted
    assert json.loads(body)["exit_code"] == 0
    assert "any-key" not in repr(headers) + body.decode()
    assert "a-secret" not in shown.out + shown.err, "an address may be all that it takes to post there"


def test_a_pause_is_told_and_a_failing_command_fails_nothing(at: Start) -> None:
    place = at(revoke_after=5, latency=0.02)
    place.file(chats(40))
    ended = place.run(*place.job("--concurrency", "4", "--notify", "tee -a told"))
    assert ended.code == 6, ended.err
    paused, end = notices(place.folder / "told")
    assert (paused["event"], paused["what"], paused["cause"], paused["waits"]) == ("paused", "together", "auth", False)
    assert (end["event"], end["exit_code"], end["rows_left"]) == ("ended", 6, 35)
    ended = place.run(*place.job("--concurrency", "4", "--notify", "false"))
    assert ended.code == 6
    assert "note: the notification command false ended with status 1" in ended.err
