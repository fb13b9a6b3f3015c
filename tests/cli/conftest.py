"""The command line as a program meets it: words in; data, talk and an exit code out."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from click.testing import CliRunner, Result

from batchrunner.cli import main
from batchrunner.simulator import Provider, Settings, serve

CHAT = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
NO_PRICE = "nobody/has-a-price-for-this"
EMBED = "BAAI/bge-base-en-v1.5"
POISON = "an-evil-word"
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[/red]"
"""A terminal title, a screen wipe, a reversal of direction, and markup that rich would choke on."""


def chat(custom_id: str, text: str, model: str = CHAT) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 16}
    return {"custom_id": custom_id, "url": "/v1/chat/completions", "body": body}


ROWS = [
    chat("good-1", "one"),
    chat("good-2", "two"),
    chat("bad-1", f"{POISON} {HOSTILE}"),
    chat("bad-2", f"{POISON} again"),
    chat("free-1", "is it?", NO_PRICE),
    {"custom_id": "vector-1", "body": {"model": EMBED, "input": "some text"}},
]
"""Two good answers, two refused ones, one without a price, one without usage."""


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_cli(*words: str, env: dict[str, str] | None = None, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), env=env, input=stdin)


@contextmanager
def provider(**settings: Any) -> Iterator[dict[str, str]]:
    """A provider in a box; gives the environment in which it is found."""
    box = Provider(Settings(**settings))
    name = box.settings.flavour.upper()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(box)) as url:
        yield {f"{name}_BASE_URL": f"{url}/v1", f"{name}_API_KEY": box.settings.api_key or "any-key"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``mixed.jsonl`` was run to its end, once for all tests."""
    folder = tmp_path_factory.mktemp("finished")
    jobs = write(folder / "mixed.jsonl", ROWS)
    db = str(folder / "batchrunner.db")
    with provider(poison=POISON) as env:
        result = run_cli("run", str(jobs), "--db", db, "--yes", "--progress", "none", env=env)
    assert result.exit_code == 3, result.stderr
    return folder


@pytest.fixture
def worked(finished: Path, here: Path) -> Path:
    """A working folder with a copy of that queue."""
    for path in finished.iterdir():
        shutil.copy(path, here)
    return here


@pytest.fixture
def queued(here: Path) -> Path:
    """A working folder with a queue in which nothing was run yet."""
    write(here / "mixed.jsonl", ROWS)
    assert run_cli("load", "mixed.jsonl").exit_code == 0
    return here
