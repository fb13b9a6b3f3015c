"""S11, S19 to S22, S24: what the source may not do, whom it trusts on the network, and whose files it writes."""

import ast
import base64
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrunner.formats.replace import Replacement, sweep
from tests.canary import CANARY_KEY
from tests.cli.conftest import provider, run_cli
from tests.e2e.conftest import Start
from tests.e2e.place import ROOT, chats

SOURCES = sorted((ROOT / "batchrunner").rglob("*.py")) + sorted((ROOT / "migrations").rglob("*.py"))
BANNED_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.tempnam", "tempfile.mktemp"),
    *("pickle.load", "pickle.loads", "marshal.loads", "yaml.load", "shelve.open", "input", "breakpoint"),
    *("ssl._create_unverified_context",),
}
BANNED_IMPORTS = {"pickle", "marshal", "shelve", "yaml", "dill", "telnetlib", "xmlrpc", "requests", "urllib3"}
BANNED_FLAGS = {("shell", True), ("verify", False), ("verify_ssl", False), ("check_hostname", False)}
BANNED_NAMES = {"CERT_NONE", "CERT_OPTIONAL"}


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def sins(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            if called(node) in BANNED_CALLS:
                yield f"{where} {called(node)}"
            for word in node.keywords:
                if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in BANNED_FLAGS:
                    yield f"{where} {word.arg}={word.value.value}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"{where} {name}" for name in names if name.split(".")[0] in BANNED_IMPORTS)
        elif isinstance(node, ast.Attribute) and node.attr in BANNED_NAMES:
            yield f"{where} {node.attr}"


@pytest.mark.slow
def test_s11_s21_nothing_that_is_read_is_evaluated_and_no_certificate_goes_unchecked() -> None:
    assert [sin for path in SOURCES for sin in sins(path)] == []


@pytest.mark.parametrize(
    "line",
    ["eval('1')", "import pickle", "subprocess.run('x', shell=True)", "httpx.get('x', verify=False)", "ssl.CERT_NONE"],
)
def test_s11_the_ban_finds_what_it_looks_for(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.security.test_surroundings.ROOT", tmp_path)
    (tmp_path / "bad.py").write_text(line + "\n")
    assert list(sins(tmp_path / "bad.py")) != []


OPENING = {"open", "read_bytes", "read_text", "write_bytes", "write_text"}
OPENERS = {"lock.py", "schema.py", "disk.py", "filesystem.py", "artifacts.py"}
"""Those of the store that open something else than the database: its lock, copies, what lies beside it (answers' files
too), the mounts."""


def test_s11_the_store_never_opens_the_database_but_by_sqlite() -> None:
    for path in (ROOT / "batchrunner" / "store").glob("*.py"):
        if path.name in OPENERS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert called(node).rpartition(".")[2] not in OPENING, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_s24_every_dependency_is_pinned_with_its_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    pinned = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert pinned
    assert [line for line in pinned if "==" not in line or "--hash=sha256:" not in line] == []


# --------------------------------------------------------------------------------------------------------- files


@pytest.mark.slow
def test_s19_everything_that_is_made_is_its_owners_alone(at: Start) -> None:
    place = at(poison="poisoned")
    place.file([*chats(3), *chats(1, prefix="poisoned")])
    before = os.umask(0)
    try:
        assert place.run(*place.job(out="out.csv")).code in (0, 3)
        assert place.run("results", "job", "-o", "more.jsonl", "--db", "q.db").code == 0
        assert place.run("db", "backup", "copy.db", "--db", "q.db").code == 0
    finally:
        os.umask(before)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in place.folder.rglob("*")
        if path.name != "job.jsonl" and not path.is_dir()
    }
    assert modes.keys() >= {"q.db", "q.db.lock", "out.csv", "more.jsonl", "copy.db"}
    assert set(modes.values()) == {0o600}, modes
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.folder.rglob("*") if path.is_dir()} <= {0o700}


def test_s20_a_link_that_slips_in_during_an_export_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target = tmp_path / "out.jsonl"
    with Replacement(target) as file:
        file.file.write(b"answers\n")
        target.symlink_to(victim)
        file.commit()
    assert victim.read_text() == "precious"
    assert not target.is_symlink()
    assert target.read_bytes() == b"answers\n"


def test_s20_the_file_in_the_making_lies_beside_its_target_has_no_guessable_name_and_is_private(tmp_path: Path) -> None:
    names = set()
    for _ in range(20):
        with Replacement(tmp_path / "out.jsonl"):
            (part,) = tmp_path.iterdir()
            names.add(part.name)
            assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert len(names) == 20
    assert list(tmp_path.iterdir()) == []


def test_s20_only_dead_leftovers_of_ones_own_are_swept(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    dead = tmp_path / ".out.jsonl.0123456789ab.part"
    dead.write_bytes(b"half")
    others = [tmp_path / name for name in (".out.jsonl.zz.part", ".other.jsonl.0123456789ab.part", "out.jsonl.part")]
    for other in others:
        other.write_bytes(b"not ours")
    link = tmp_path / ".out.jsonl.ba9876543210.part"
    link.symlink_to(others[0])
    with Replacement(target) as live:
        live.file.write(b"being written")
        assert sweep(target) == 1, "the live one is locked, the link is no leftover of ours"
        live.commit()
    assert target.read_bytes() == b"being written"
    assert not dead.exists()
    assert link.is_symlink()
    assert all(other.exists() for other in others)


# ------------------------------------------------------------------------------------------------- TLS and proxies


def test_s21_a_log_of_tls_keys_is_warned_of(here: Path) -> None:
    said = run_cli("status", env={"SSLKEYLOGFILE": "/nowhere/keys.log"}).stderr
    assert "SSLKEYLOGFILE is set" in said
    assert "SSLKEYLOGFILE" not in run_cli("status").stderr
    doctor = run_cli("doctor", "--offline", env={"SSLKEYLOGFILE": "/nowhere/keys.log"})
    assert "warning  network" in doctor.stdout


def test_s21_authorities_come_by_flag_or_environment_and_never_by_a_project_file(here: Path) -> None:
    (here / "batchrunner.toml").write_text('ca_file = "evil.pem"\n')
    assert run_cli("status").exit_code == 2
    (here / "batchrunner.toml").unlink()
    refused = run_cli("models", "--ca-file", "nowhere.pem", env={"TOGETHER_API_KEY": CANARY_KEY})
    assert refused.exit_code == 2, refused.output
    assert "nowhere.pem can't be read" in refused.stderr
    assert CANARY_KEY not in refused.output


LOGIN = "proxyuser:proxypassword-canary"


class Proxy:
    """Takes CONNECTs and refuses them, with what it heard."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self._status)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy(407)
    yield made
    made.close()


@pytest.mark.slow
def test_s22_a_proxy_is_named_without_its_login_and_its_407_stops_the_run_at_once(here: Path, proxy: Proxy) -> None:
    (here / "j.jsonl").write_text("".join(f"{row}\n".replace("'", '"') for row in chats(20)))
    env = {
        "TOGETHER_API_KEY": CANARY_KEY,
        "TOGETHER_BASE_URL": "https://api.example.invalid/v1",
        "HTTPS_PROXY": f"http://{LOGIN}@{proxy.address}",
    }
    ended = run_cli("run", "j.jsonl", "--yes", "--progress", "none", "--concurrency", "4", "--debug", env=env)

    assert ended.exit_code == 7, ended.output
    assert f"api.example.invalid is reached through the proxy {proxy.address} (--no-proxy goes past it)" in ended.stderr
    assert "the proxy answered 407" in ended.stderr
    assert 1 <= len(proxy.heard) <= 6
    assert all(said.startswith(b"CONNECT api.example.invalid:443 ") for said in proxy.heard)
    login = base64.b64encode(LOGIN.encode())
    assert all(login in said for said in proxy.heard)
    assert all(CANARY_KEY.encode() not in said for said in proxy.heard), "the key is for the host behind it"
    written = b"".join(path.read_bytes() for path in here.iterdir()) + ended.output.encode()
    for secret in (b"proxypassword-canary", login, CANARY_KEY.encode()):
        assert secret not in written


def test_s22_no_proxy_goes_past_it_and_this_machine_is_never_behind_one(here: Path, proxy: Proxy) -> None:
    with provider() as env:
        ended = run_cli("models", env={**env, "HTTPS_PROXY": f"http://{proxy.address}", "ALL_PROXY": proxy.address})
    assert ended.exit_code == 0, ended.output
    assert "reached through the proxy" not in ended.stderr
    assert proxy.heard == []
    env = {"TOGETHER_API_KEY": CANARY_KEY, "HTTPS_PROXY": f"http://{proxy.address}"}
    found = run_cli("doctor", "--offline", "--no-proxy", env=env).stdout
    assert "straight, without a proxy" in found
    assert f"through the proxy {proxy.address}" in run_cli("doctor", "--offline", env=env).stdout


def test_s22_a_proxy_that_can_not_be_used_is_refused_without_its_login(here: Path) -> None:
    env = {"TOGETHER_API_KEY": CANARY_KEY, "ALL_PROXY": f"socks5://{LOGIN}@127.0.0.1:1"}
    refused = run_cli("models", env=env)
    assert refused.exit_code == 2, refused.output
    assert "--no-proxy" in refused.stderr
    assert "canary" not in refused.output
