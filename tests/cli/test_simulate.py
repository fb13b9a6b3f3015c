"""``simulate``: a provider that is started, used and ended like any other program."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import CHAT, chat, run_cli, write


@contextmanager
def simulate(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); from batchrunner.cli import main; main()",
         "simulate", "--port", "0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        yield child, child.stdout.readline().strip()
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop_and_sums_up(here: Path, stop: signal.Signals) -> None:
    write(here / "jobs.jsonl", [chat("a", "hello"), chat("b", "hello")])
    with simulate("--ledger", "calls.jsonl", "--seed", "3") as (child, url):
        env = {"TOGETHER_API_KEY": "anything", "TOGETHER_BASE_URL": f"{url}/v1"}
        ran = run_cli("run", "jobs.jsonl", "--yes", "--progress", "none", env=env)
        child.send_signal(stop)
        out, talk = child.communicate(timeout=20)
    assert ran.exit_code == 0, ran.stderr
    assert url.startswith("http://127.0.0.1:")
    assert (child.returncode, out) == (0, "")
    assert f"export TOGETHER_BASE_URL={url}/v1" in talk
    assert "served 2 calls" in talk
    assert re.search(r"billed:   2 calls, \d+ tokens in, \d+ out, \$0\.0000\d+$", talk, re.MULTILINE)
    assert {json.loads(line)["model"] for line in (here / "calls.jsonl").read_text().splitlines()} == {CHAT}


@pytest.mark.slow
def test_only_the_key_of_a_variable_is_taken_and_it_is_not_shown(
    here: Path, canary_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_KEY", canary_key)
    with simulate("--api-key-env", "SIMULATED_KEY", "--flavour", "openai") as (child, url):
        env = {"OPENAI_BASE_URL": f"{url}/v1"}
        refused = run_cli("models", "--provider", "openai", env={**env, "OPENAI_API_KEY": "wrong"})
        taken = run_cli("models", "--provider", "openai", env={**env, "OPENAI_API_KEY": canary_key})
        child.send_signal(signal.SIGINT)
        _, talk = child.communicate(timeout=20)
    assert (refused.exit_code, taken.exit_code) == (6, 0)
    assert 'export OPENAI_API_KEY="$SIMULATED_KEY"' in talk
    assert canary_key not in talk


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--faults", "nonsense=0.1"), "unknown fault"),
        (("--faults", "500=2"), "between 0 and 1"),
        (("--host", "192.0.2.1"), "loopback only"),
        (("--api-key-env", "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE is not set"),
        (("--latency", "soon"), "duration"),
        (("--outage", "30s-10s"), "ends before it begins"),
        (("--outage", "soon"), "duration"),
        (("--ledger", "no/such/folder/calls.jsonl"), "can't write"),
    ],
)
def test_what_it_cannot_do_is_a_usage_error(here: Path, words: tuple[str, ...], said: str) -> None:
    result = run_cli("simulate", *words)

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_port_that_is_taken_is_a_usage_error(here: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run_cli("simulate", "--port", str(taken.getsockname()[1]))

    assert result.exit_code == 2
    assert "--port" in result.stderr
