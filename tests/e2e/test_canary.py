"""The key is nowhere: not in a file, not in what is said, not in the process table, whatever goes wrong.

The canary is in the environment of every process here. The provider plays its meanest part: it refuses the key and
repeats it in the refusal.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.canary import CANARY_KEY
from tests.e2e.conftest import Start
from tests.e2e.place import Place, chats, embedding, until

pytestmark = pytest.mark.slow

SHAPELESS = "canaryaZ3kQ9xW7pLm2VbN8cRt5YhJ1d"
"""A key that no pattern knows: only who holds it can tell it from a word."""


def needles(key: str) -> tuple[bytes, ...]:
    """The key as it is, as wide characters, and the better part of it."""
    return key.encode(), key.encode("utf-16-le"), key[3:-4].encode()


def holders(place: Place) -> list[str]:
    """Every file that the program wrote, or that its words went to, which holds the key."""
    paths = [path for folder in (place.folder, place.talk) for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "q.db" for path in paths)
    return [str(path) for path in paths if any(needle in path.read_bytes() for needle in needles(place.key))]


def in_process_table(key: str = CANARY_KEY) -> list[str]:
    """The command lines on this machine that hold the key."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
        if any(needle in line for needle in needles(key)):
            found.append(str(path))
    return found


def test_s14_a_run_with_faults_keeps_the_key_to_itself(at: Start) -> None:
    place = at(
        key=CANARY_KEY,
        faults={"401": 0.008, "403": 0.02, "500": 0.05, "502html": 0.05, "reset_mid": 0.05, "truncated_json": 0.05},
        latency=0.05,
        seed=5,
    )
    place.file([*chats(120), embedding("e", "text")])
    child = place.start(*place.job("--concurrency", "8", "--debug", "-vv"))
    place.box.await_calls(20)
    assert in_process_table() == []
    assert holders(place) == [], "while it runs: the write-ahead log and its index too"
    assert {path.name for path in place.folder.iterdir()} >= {"q.db", "q.db-wal", "q.db-shm", "q.db.lock"}
    ended = child.end()
    assert ended.code in (0, 3), ended.err
    for words in (("status",), ("errors", "job"), ("config",), ("doctor",)):
        place.run(*words, "--db", "q.db", "--debug")
    assert {call.fault for call in place.box.calls()} > {"401", "500", "reset_mid"}
    assert holders(place) == []


def test_s14_a_killed_run_leaves_no_key_behind(at: Start) -> None:
    place = at(key=CANARY_KEY, latency=1.0)
    place.file(chats(20))
    child = place.start(*place.job("--debug"))
    place.box.await_calls(10)
    child.kill()
    assert holders(place) == []


def test_s15_a_refused_key_is_not_shown(at: Start) -> None:
    place = at(key=CANARY_KEY, api_key="another-key-altogether")
    place.file(chats(20))
    ended = place.run(*place.job("--debug", "-vv"))
    assert ended.code == 6, ended.err
    assert holders(place) == []


@contextmanager
def echoing(status: int) -> Iterator[str]:
    """A server that answers everything with a refusal which repeats the key in every way that was seen in the wild."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            said = self.headers["authorization"]
            key = said.removeprefix("Bearer ")
            body = (
                f'{{"error": {{"message": "Incorrect API key provided: {key}. You sent Authorization: {said}",'
                f' "type": "invalid_request_error", "code": "odd", "param": "{key}"}},'
                f' "key": "{key}", "model": "{key}"}}'
            ).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("x-request-id", key)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [(CANARY_KEY, 401, 6), (SHAPELESS, 400, 3), (CANARY_KEY, 200, 130)],
    ids=["401", "400, a key of no known shape", "an error that says 200"],
)
def test_s18_an_answer_that_repeats_the_key_is_kept_without_it(at: Start, key: str, status: int, code: int) -> None:
    place = at(key=key)
    place.file(chats(3))
    with echoing(status) as url:
        child = place.start(*place.job("--debug", "-vv"), env={"TOGETHER_BASE_URL": url})
        if status == 200:  # no row's fault: it would be asked again until the end of days
            until(lambda: place.db.exists() and place.rows("SELECT count(*) FROM sqlite_schema") != [(0,)])
            until(lambda: place.rows("SELECT count(*) FROM attempts WHERE ended IS NOT NULL")[0][0] >= 3)
            child.signal(signal.SIGINT)
        ended = child.end()
    assert ended.code == code, ended.err
    for words in (("errors", "job"), ("results", "job")):
        shown = place.run(*words, "--db", "q.db", "--debug")
        assert shown.code == 0, shown.err
    assert in_process_table(key) == []
    assert holders(place) == []
