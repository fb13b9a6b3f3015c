"""S1 to S6 and S28: the key and the prompts go to the configured host, and to no other, whatever a row says."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from batchrunner.cli import main
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.http import HttpCall
from batchrunner.transport.open import open_transport
from batchrunner.transport.secret import Secret
from tests.canary import CANARY_KEY
from tests.e2e.conftest import Start
from tests.e2e.place import Box, chat, chats
from tests.security.sink import Sink

HOSTILE_URLS = [
    "http://{evil}/v1/chat/completions",
    "https://{evil}/v1/chat/completions",
    "HTTP://{evil}/v1/chat/completions",
    "http:{evil}/v1/chat/completions",
    "http:/{evil}/v1/chat/completions",
    "http:///{evil}/v1/chat/completions",
    "http:\\\\{evil}\\v1\\chat\\completions",
    "//{evil}/v1/chat/completions",
    "///{evil}/v1/chat/completions",
    "////{evil}/v1/chat/completions",
    "/\\{evil}/v1/chat/completions",
    "\\/{evil}/v1/chat/completions",
    "\\\\{evil}/v1/chat/completions",
    "/\t/{evil}/v1/chat/completions",
    "/\n/{evil}/v1/chat/completions",
    "@{evil}/v1/chat/completions",
    ":@{evil}/v1/chat/completions",
    ".{evil}/v1/chat/completions",
    "/@{evil}/v1/chat/completions",
    "/v1/chat/completions@{evil}",
    "/v1/chat/completions?@{evil}",
    "/v1/chat/completions#@{evil}",
    "/v1/chat/completions?url=http://{evil}",
    "/v1/chat/completions;http://{evil}",
    "/v1/../../{evil}",
    "/v1/..%2f..%2f{evil}",
    "/v1/%2e%2e/{evil}",
    "/v1/chat%2fcompletions",
    "/v1/chat/completions\r\nHost: {evil}",
    "/v1/chat/completions HTTP/1.1\r\nHost: {evil}\r\n\r\nGET /",
    "/v1/chat/completions%0d%0aHost:%20{evil}",
    "/v1/chat/completions\x00{evil}",
    " http://{evil}/v1/chat/completions",
    "\ufeffhttp://{evil}/v1/chat/completions",
    "http://127.0.0.1@{evil}/v1/chat/completions",
    "http://{evil}%2f/v1/chat/completions",
    "file:///etc/passwd",
    "javascript:fetch('http://{evil}')",
    "data:,http://{evil}",
    "/v1\uff0fchat\u2215completions",
]


def run(folder: Path, box: Box, *words: str) -> Result:
    env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": f"{box.url}/v1"}
    given = ["run", *words, "--db", str(folder / "q.db"), "--yes", "--progress", "none"]
    return CliRunner().invoke(main, given, env=env)


def test_s1_there_are_40_hostile_urls() -> None:
    assert len(set(HOSTILE_URLS)) == 40


@pytest.mark.slow
@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_s1_a_hostile_url_in_a_row_brings_no_byte_to_either_server(
    url: str, folder: Path, box: Box, evil: Sink
) -> None:
    before = len(box.calls())
    row = {**chat("bad", "Hi"), "url": url.format(evil=evil.address)}
    (folder / "job.jsonl").write_text(json.dumps(row) + "\n")
    ended = run(folder, box, "job.jsonl")

    assert ended.exit_code == 5, ended.output
    assert "job.jsonl:1:" in ended.stderr
    assert len(box.calls()) == before
    evil.assert_untouched()


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_s1_the_transport_itself_takes_no_such_path(url: str, evil: Sink) -> None:
    async with open_transport("http://127.0.0.1:9", Secret(CANARY_KEY), connections=1) as transport:
        with pytest.raises(ConfigurationError):
            await transport.send(HttpCall(url.format(evil=evil.address), b"{}", "a-1", 5.0))
    evil.assert_untouched()


@pytest.mark.parametrize("flag", ["--endpoint", "--model"])
def test_s1_no_flag_about_bodies_moves_the_host(flag: str, folder: Path, box: Box, evil: Sink) -> None:
    before = len(box.calls())
    row = {"custom_id": "a", "body": chat("a", "Hi")["body"]}
    (folder / "job.jsonl").write_text(json.dumps(row) + "\n")
    ended = run(folder, box, "job.jsonl", flag, f"http://{evil.address}/v1/chat/completions")

    assert ended.exit_code == {"--endpoint": 2, "--model": 0}[flag], ended.output
    assert len(box.calls()) - before == {"--endpoint": 0, "--model": 1}[flag]
    evil.assert_untouched()


EVIL_COLUMNS = {
    "jobs.options": "UPDATE jobs SET options = json_set(options, '$.base_url', :url, '$.url_env', :url)",
    "jobs.options as a whole": "UPDATE jobs SET options = json_object('provider', :url, 'base_url', :url)",
    "jobs.provider": "UPDATE jobs SET provider = :url",
    "models.provider": "UPDATE models SET provider = :url",
    "models.learned": "UPDATE models SET learned = json_object('base_url', :url)",
    "requests.endpoint": "UPDATE requests SET endpoint = :url || '/v1/chat/completions'",
    "requests.endpoint, protocol-relative": "UPDATE requests SET endpoint = '//' || :host || '/v1/chat/completions'",
    "requests.endpoint, a login": "UPDATE requests SET endpoint = '@' || :host || '/v1/chat/completions'",
    "requests.custom_id": "UPDATE requests SET custom_id = 'a\r\nHost: ' || :host",
    "meta": "INSERT INTO meta VALUES ('base_url', :url), ('TOGETHER_BASE_URL', :url)",
}


@pytest.mark.slow
@pytest.mark.parametrize("column", list(EVIL_COLUMNS))
def test_s2_a_database_from_somebody_else_sends_the_key_nowhere(
    column: str, folder: Path, box: Box, evil: Sink
) -> None:
    (folder / "job.jsonl").write_text(json.dumps(chat("a", "Hi")) + "\n")
    assert CliRunner().invoke(main, ["load", "job.jsonl", "--db", "q.db"]).exit_code == 0
    with closing(sqlite3.connect(folder / "q.db")) as other, other:
        other.execute(EVIL_COLUMNS[column], {"url": f"http://{evil.address}", "host": evil.address})
    before = len(box.calls())
    ended = run(folder, box)

    evil.assert_untouched()
    assert "Traceback" not in ended.output
    if ended.exit_code == 0:  # what does not matter for the host does not matter
        assert len(box.calls()) == before + 1
    else:
        assert len(box.calls()) == before
        assert ended.exit_code in (1, 2, 3, 7, 74), ended.output


def test_s2_neither_a_dotenv_nor_a_project_file_moves_a_known_key(folder: Path, evil: Sink) -> None:
    (folder / "job.jsonl").write_text(json.dumps(chat("a", "Hi")) + "\n")
    (folder / ".env").write_text(f"TOGETHER_BASE_URL=http://{evil.address}\n")
    (folder / "batchrunner.toml").write_text(f'[providers.together]\nbase_url = "http://{evil.address}"\n')
    ended = CliRunner().invoke(main, ["run", "job.jsonl", "--yes"], env={"TOGETHER_API_KEY": CANARY_KEY})

    assert ended.exit_code == 2, ended.output
    evil.assert_untouched()


@contextmanager
def redirecting(status: int, target: str) -> Iterator[str]:
    """A server that sends everybody elsewhere."""

    class Redirect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("location", target)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Redirect) as url:
        yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_s3_a_redirect_takes_nothing_with_it(status: int, folder: Path, evil: Sink) -> None:
    (folder / "job.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats(3)))
    with redirecting(status, f"http://{evil.address}/v1/chat/completions") as url:
        env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": url}
        ended = CliRunner().invoke(main, ["run", "job.jsonl", "--yes", "--db", "q.db"], env=env)

    assert ended.exit_code == 7, ended.output
    assert evil.address in ended.stderr
    assert "never followed" in ended.stderr
    evil.assert_untouched()


def test_s4_a_cost_bomb_is_asked_about_before_anything_is_sent(folder: Path, box: Box) -> None:
    before = len(box.calls())
    body = {**chat("a", "Hi")["body"], "model": "a/dear-model-without-a-price", "n": 128, "max_tokens": 1_000_000}
    (folder / "job.jsonl").write_text(json.dumps({"custom_id": "a", "url": "/v1/chat/completions", "body": body}))
    env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": f"{box.url}/v1"}
    ended = CliRunner().invoke(main, ["run", "job.jsonl", "--db", "q.db"], env=env)

    assert ended.exit_code == 2, ended.output
    assert "spending was not confirmed" in ended.stderr
    assert "no price for a/dear-model-without-a-price" in ended.stderr
    assert len(box.calls()) == before


SEEN: list[tuple[dict[str, list[str]], bytes]] = []


class Recording(BaseHTTPRequestHandler):
    """A server that keeps what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        SEEN.append(({name.lower(): self.headers.get_all(name) or [] for name in self.headers}, body))
        self.send_response(400)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def sent_for(folder: Path, row: dict[str, Any]) -> tuple[dict[str, list[str]], bytes]:
    """Run one row against a server that keeps what it is sent; return that."""
    (folder / "job.jsonl").write_text(json.dumps(row) + "\n")
    SEEN.clear()
    with serving(Recording) as url:
        env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": url}
        ended = CliRunner().invoke(main, ["run", "job.jsonl", "--yes", "--db", "q.db"], env=env)
    assert ended.exit_code == 3, ended.output
    (seen,) = SEEN
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--attachments", ".")], ids=["no folder", "a folder"])
@pytest.mark.parametrize("reference", ["file:///etc/passwd", "file:../../.ssh/id_rsa", "file:/proc/self/environ"])
def test_s5_a_file_beyond_the_folder_of_attachments_is_refused_before_anything_is_sent(
    folder: Path, reference: str, more: tuple[str, ...]
) -> None:
    content = [{"type": "image_url", "image_url": {"url": reference}}]
    row = {"custom_id": "a", "body": {"model": "m", "messages": [{"role": "user", "content": content}]}}
    (folder / "job.jsonl").write_text(json.dumps(row) + "\n")
    SEEN.clear()
    with serving(Recording) as url:
        env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": url}
        ended = CliRunner().invoke(main, ["run", "job.jsonl", "--yes", "--db", "q.db", *more], env=env)
    assert ended.exit_code == 5
    assert reference in ended.stderr
    assert list(SEEN) == []


@pytest.mark.parametrize("reference", ["../../.ssh/id_rsa", "/proc/self/environ"])
def test_s5_a_path_that_is_no_reference_is_text_and_no_file(folder: Path, reference: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": reference}}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 5}
    _, sent = sent_for(folder, {"custom_id": "a", "url": "/v1/chat/completions", "body": body})

    assert json.loads(sent) == body


def test_s6_no_header_comes_from_a_row(folder: Path) -> None:
    injected = "x\r\nX-Evil: 1\r\nAuthorization: Bearer evil"
    row = {
        **chat("plain", injected),
        "headers": {"Authorization": "Bearer evil", "Host": "evil", "X-Forwarded-For": "10.0.0.1", "X-Evil": "1"},
        "metadata": {"tags": {"team": "a"}, "headers": {"X-Evil": "1"}},
    }
    row["body"]["model"] = injected
    headers, sent = sent_for(folder, row)

    assert headers["authorization"] == [f"Bearer {CANARY_KEY}"]
    assert len(headers["host"]) == 1
    assert "evil" not in headers["host"][0]
    assert not {"x-evil", "x-forwarded-for"} & headers.keys()
    assert set(headers) == {
        *("host", "accept", "accept-encoding", "content-type", "user-agent", "authorization"),
        *("x-client-request-id", "content-length"),
    }
    assert json.loads(sent)["model"] == injected, "in the body it is data"


LISTENER = """
import sys, os
def listen(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open(os.environ["HEARD"], "a") as file:
            print(event, args[1] if event in ("socket.connect", "socket.sendto") else args[:2], file=file)
sys.addaudithook(listen)
"""


@pytest.mark.slow
def test_s28_nothing_but_the_configured_host_is_contacted(at: Start) -> None:
    place = at(key=CANARY_KEY)
    place.file(chats(5))
    (place.talk / "sitecustomize.py").write_text(LISTENER)
    heard = place.talk / "heard"
    env = {"HEARD": str(heard), "PYTHONPATH": f"{place.talk}:{Path(__file__).resolve().parents[2]}"}
    ended = place.run(*place.job(), env=env)
    assert ended.code == 0, ended.err
    for words in (("status",), ("errors", "job"), ("costs",), ("prices",), ("doctor",), ("models",)):
        place.run(*words, "--db", "q.db", env=env)

    port = int(place.box.url.rpartition(":")[2])
    allowed = {f"socket.connect ('127.0.0.1', {port})", f"socket.getaddrinfo ('127.0.0.1', {port})"}
    assert set(heard.read_text().splitlines()) <= allowed
    assert f"socket.connect ('127.0.0.1', {port})" in heard.read_text(), sys.version
