"""S14 to S18: the key is in the header of a call, and nowhere else, whatever goes wrong."""

import importlib
import itertools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchrunner.config.keys import read_key_file
from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.secret import Secret, without_keys
from tests.canary import CANARY_KEY
from tests.cli.conftest import run_cli
from tests.e2e.conftest import Start
from tests.e2e.place import ROOT, Box, Place, boxed, chats, until

POINTS = [
    "batchrunner.api.session:Session.load",
    "batchrunner.api.session:Session.find",
    "batchrunner.api.session:Session.select",
    "batchrunner.api.session:Session.estimate",
    "batchrunner.api.session:Session.plan",
    "batchrunner.api.session:Session.check_target",
    "batchrunner.api.session:access",
    "batchrunner.api.session:run_parts",
    "batchrunner.api.session:writing",
    "batchrunner.api.session:reading",
    "batchrunner.wiring:fingerprint",
    "batchrunner.transport.open:open_transport",
    "batchrunner.wiring:make_transport",
    "batchrunner.wiring:make_gate",
    "batchrunner.wiring:price_book",
    "batchrunner.wiring:runner_info",
    "batchrunner.config.load:key_for",
    "batchrunner.config.load:read_dotenv",
    "batchrunner.config.keys:flaw_of",
    "batchrunner.transport.open:allow_files",
    "batchrunner.transport.open:HttpTransport",
    "batchrunner.transport.send:HttpTransport.send",
    "batchrunner.transport.send:HttpTransport._exchange",
    "batchrunner.transport.send:HttpTransport.__aenter__",
    "batchrunner.transport.send:HttpTransport._headers_of",
    "batchrunner.transport.send:refusal_of",
    "batchrunner.transport.aiohttp_engine:AiohttpTransport.post",
    "batchrunner.transport.wire:Post.message",
    "batchrunner.transport.wire:Head.with_body",
    "batchrunner.cli.run:confirm",
    "batchrunner.cli.run:export_all",
    "batchrunner.cli.run:tell_outcome",
    "batchrunner.formats.results:_write",
]
"""Where something is made to go wrong, with the key in the error itself."""


class MishapError(Exception):
    """What nobody expected."""


def breaking(*_: object, **__: object) -> object:
    raise MishapError(f"sent Authorization: Bearer {CANARY_KEY}")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed() as made:
        yield made


def patched(point: str, monkeypatch: pytest.MonkeyPatch, instead: Callable[..., object]) -> None:
    room, _, name = point.partition(":")
    owner = importlib.import_module(room)
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    monkeypatch.setattr(owner, last, instead)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_s15_an_error_anywhere_shows_no_key_not_even_with_debug(
    point: str, here: Path, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "j.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats(2)))
    patched(point, monkeypatch, breaking)
    env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": f"{box.url}/v1"}
    words = ("run", "j.jsonl", "-o", "out.jsonl", "--yes", "--progress", "none", "--debug", "-vv")
    ended = run_cli(*words, env=env)

    assert ended.exit_code != 0, f"{point} was never reached"
    assert CANARY_KEY not in ended.output
    left = [path for path in here.rglob("*") if path.is_file() and CANARY_KEY.encode() in path.read_bytes()]
    assert left == []


def test_s15_what_a_process_knows_as_a_key_is_cut_out_of_any_text() -> None:
    Secret("another-canary-of-this-test")
    assert without_keys("is another-canary-of-this-test here?") == "is *** here?"
    Secret("x")
    assert without_keys("x marks the spot") == "x marks the spot", "a placeholder is a letter like any other"


@pytest.mark.slow
def test_s14_s16_the_key_is_in_no_file_and_no_command_line_of_a_live_run(at: Start) -> None:
    place = at(key=CANARY_KEY, latency=1.0)
    place.file(chats(8))
    child = place.start(*place.job("--concurrency", "4", "--debug", "-vv"))
    place.box.await_calls(4)
    for name in ("q.db", "q.db-wal", "q.db-shm", "q.db.lock"):
        assert CANARY_KEY.encode() not in (place.folder / name).read_bytes(), name
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert CANARY_KEY.encode() not in path.read_bytes()
        except OSError:
            continue  # it has ended meanwhile
    assert core_limit(child.pid) == "0"
    assert child.end().code == 0
    for path in (*place.folder.rglob("*"), *place.talk.rglob("*")):
        assert not path.is_file() or CANARY_KEY.encode() not in path.read_bytes(), path


def core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = [line for line in limits if line.startswith("Max core file size")]
    return line.split()[4]


ABORT = """
import os, sys
sys.argv = ["batchrunner"]
from batchrunner.cli.hardening import harden
harden()
import ctypes
import resource
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), oct(os.umask(0)))  # PR_GET_DUMPABLE
print(*resource.getrlimit(resource.RLIMIT_CORE))
sys.stdout.flush()
os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_s17_a_process_that_aborts_leaves_no_core(tmp_path: Path) -> None:
    def unlimited() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TOGETHER_API_KEY": CANARY_KEY}
    ended = subprocess.run(
        [sys.executable, "-c", ABORT], cwd=tmp_path, env=env, preexec_fn=unlimited, capture_output=True, timeout=30
    )
    assert ended.returncode == -6
    assert ended.stdout.split() == [b"0", b"0o77", b"0", b"0"]
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- the key file


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "safe" / ".env"  # a name under which a key may be left behind by a test
    path.parent.mkdir()
    path.write_text(f"{CANARY_KEY}\n")
    path.chmod(0o600)
    return path


@pytest.mark.slow
def test_s16_a_key_file_is_used_and_its_path_is_all_that_shows(at: Start, key_file: Path) -> None:
    place = at(key="wrong-key-in-the-environment", api_key=CANARY_KEY)
    place.file(chats(2))
    ended = place.run(*place.job("--api-key-file", str(key_file)))
    assert ended.code == 0, ended.err
    shown = place.run("config", "show", "--json")
    assert CANARY_KEY not in shown.out + shown.err


def test_s16_a_key_file_that_others_may_read_is_refused(key_file: Path) -> None:
    assert read_key_file(key_file) == CANARY_KEY
    for mode in (0o644, 0o640, 0o604, 0o660):
        key_file.chmod(mode)
        with pytest.raises(ConfigurationError) as refusal:
            read_key_file(key_file)
        assert f"mode {mode:04o}" in refusal.value.message
        assert "chmod 600" in (refusal.value.hint or "")
        assert CANARY_KEY not in refusal.value.message


def test_s16_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 70_000)
    (tmp_path / "long").chmod(0o600)
    for path, word in ((tmp_path, "can't be read"), (tmp_path / "none", "No such file"), (tmp_path / "long", "large")):
        with pytest.raises(ConfigurationError, match=word):
            read_key_file(path)
    with pytest.raises(ConfigurationError, match="not a file"):
        read_key_file(Path("/dev/null"))


def test_s16_a_pipe_may_bring_a_key() -> None:
    read, write = os.pipe()
    os.write(write, f"{CANARY_KEY}\r\n".encode())
    os.close(write)
    try:
        assert read_key_file(Path(f"/dev/fd/{read}")) == CANARY_KEY
    finally:
        os.close(read)


def test_s16_a_key_file_is_never_named_by_a_project_file(here: Path) -> None:
    (here / "batchrunner.toml").write_text('api_key_file = "key.txt"\n')
    for words in (("status",), ("config", "show")):
        refused = run_cli(*words)
        assert refused.exit_code == 2, refused.output
        assert "api_key_file" in refused.stderr


def test_s16_an_env_file_that_others_may_read_is_noted(here: Path) -> None:
    (here / ".env").write_text(f"TOGETHER_API_KEY={CANARY_KEY}\n")
    (here / ".env").chmod(0o644)
    said = run_cli("config", "show").stderr
    assert "other users may read" in said
    assert "chmod 600" in said
    assert CANARY_KEY not in said
    (here / ".env").chmod(0o600)
    assert "other users" not in run_cli("config", "show").stderr


CHAT_ECHO = b'{"id":"%d","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
CHAT_END = b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'


@pytest.mark.slow
def test_s18_a_good_answer_that_repeats_the_key_is_stored_without_it(at: Start) -> None:
    from http.server import BaseHTTPRequestHandler

    from tests.security.test_where_requests_go import serving

    ids = itertools.count()

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = CHAT_ECHO % next(ids) + b'"content":"' + self.headers["authorization"].encode() + CHAT_END
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    place = at(key=CANARY_KEY)
    place.file(chats(2))
    with serving(Echo) as url:
        ended = place.run(*place.job(), env={"TOGETHER_BASE_URL": url})
    assert ended.code == 0, ended.err
    assert place.lines()[0]["response"]["body"]["choices"][0]["message"]["content"] == "Bearer ***"
    until(lambda: not (place.folder / "q.db-wal").exists())
    assert_clean(place)


def assert_clean(place: Place) -> None:
    for path in (*place.folder.rglob("*"), *place.talk.rglob("*")):
        assert not path.is_file() or CANARY_KEY.encode() not in path.read_bytes(), path
