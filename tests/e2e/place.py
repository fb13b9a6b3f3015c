"""A folder, a provider in a box, and the program as a process of its own that can be signalled and killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal

from batchrunner.simulator import Entry, FaultFor, Ledger, Provider, Settings, serve

ROOT = Path(__file__).resolve().parents[2]
LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
SMALL = "meta-llama/Llama-3.2-3B-Instruct-Turbo"
GPT = "openai/gpt-oss-20b"
EMBED = "BAAI/bge-base-en-v1.5"
PATIENCE = 30.0
"""Seconds after which a test takes something that has not happened for something that never will."""


class Box:
    """The provider, on a thread of the test's own process: it outlives every runner that is killed."""

    def __init__(self, portal: BlockingPortal, provider: Provider, url: str) -> None:
        self._portal = portal
        self._provider = provider
        self.url = url

    def calls(self) -> list[Entry]:
        """What was bought or tried to be, in order of arrival."""
        entries = self._portal.call(lambda: list(self._provider.ledger.entries))
        return [entry for entry in entries if entry.method == "POST"]

    def ids(self) -> list[int]:
        """The attempts' ids that the calls carried."""
        return [int(entry.client_request_id or -1) for entry in self.calls()]

    def change(self, **patch: Any) -> None:
        self._portal.call(lambda: self._provider.change(self._provider.settings.patched(patch)))

    @property
    def arrived(self) -> int:
        """How many requests have arrived in all."""
        return self._provider.ledger.totals["requests"]

    def await_calls(self, number: int) -> None:
        """Wait until so many requests have arrived in all."""
        until(lambda: self.arrived >= number)

    def worst_excess(self, *args: Any, **kwargs: Any) -> float:
        return self._portal.call(lambda: self._provider.ledger.worst_excess(*args, **kwargs))


@contextmanager
def boxed(fault_for: FaultFor | None = None, ledger: Path | None = None, **settings: Any) -> Iterator[Box]:
    provider = Provider(Settings(**settings), fault_for=fault_for, ledger=Ledger(ledger))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(provider)) as url:
        yield Box(portal, provider, url)


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str


class Child:
    """The program at work, its words going to files."""

    def __init__(
        self, words: Sequence[str], folder: Path, talk: Path, env: Mapping[str, str], stdin: bytes | None = None
    ) -> None:
        self.words = list(words)
        self._paths = talk.with_suffix(".out"), talk.with_suffix(".err")
        given = talk.with_suffix(".in")
        given.write_bytes(stdin or b"")
        with given.open("rb") as source, self._paths[0].open("wb") as out, self._paths[1].open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "batchrunner", *words], cwd=folder, env=env, stdin=source, stdout=out, stderr=err
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        """What it said on stderr so far."""
        return self._paths[1].read_text(encoding="utf-8", errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> bool:
        """Kill it the hard way; False if it had ended by itself."""
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL

    def end(self, timeout: float = PATIENCE) -> Ended:
        """Wait for its end."""
        code = self.process.wait(timeout)
        return Ended(code, self._paths[0].read_text(encoding="utf-8", errors="replace"), self.said)


class Place:
    """A working folder with its database, and a way to start the program in it."""

    def __init__(self, folder: Path, box: Box, key: str = "any-key") -> None:
        self.folder = folder / "work"
        self.talk = folder / "talk"
        self.folder.mkdir()
        self.talk.mkdir()
        self.db = self.folder / "q.db"
        self.key = key
        self.box = box
        self.children: list[Child] = []

    def start(
        self, *words: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, box: Box | None = None
    ) -> Child:
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.talk),
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
            "TOGETHER_API_KEY": self.key,
            "TOGETHER_BASE_URL": f"{(box or self.box).url}/v1",
            **(env or {}),
        }
        child = Child(words, self.folder, self.talk / str(len(self.children)), given, stdin)
        self.children.append(child)
        return child

    def run(self, *words: str, **how: Any) -> Ended:
        return self.start(*words, **how).end()

    def job(self, *more: str, file: str = "job.jsonl", out: str = "out.jsonl") -> tuple[str, ...]:
        """The words that run a job file and export it."""
        return ("run", file, "-o", out, "--db", "q.db", "--yes", "--progress", "none", *more)

    def file(self, lines: Sequence[Mapping[str, Any]], name: str = "job.jsonl") -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database, beside whoever writes it, without being able to change a byte."""
        with closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, values).fetchall()

    def states(self) -> dict[str, int]:
        return dict(self.rows("SELECT state, count(*) FROM requests GROUP BY state"))

    def lines(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        """An output, parsed; empty where there is none."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def close(self) -> None:
        for child in self.children:
            if child.process.poll() is None:
                child.kill()


@contextmanager
def placed(folder: Path, box: Box, key: str = "any-key") -> Iterator[Place]:
    place = Place(folder, box, key)
    try:
        yield place
    finally:
        place.close()


def until(fact: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def chat(custom_id: str, text: str, model: str = GPT, max_tokens: int = 64) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}
    return {"custom_id": custom_id, "url": "/v1/chat/completions", "body": body}


def chats(rows: int, prefix: str = "r", model: str = GPT, max_tokens: int = 64) -> list[dict[str, Any]]:
    return [chat(f"{prefix}-{i}", f"question {i} of {prefix}", model, max_tokens) for i in range(rows)]


def embedding(custom_id: str, text: str) -> dict[str, Any]:
    return {"custom_id": custom_id, "body": {"model": EMBED, "input": text}}


def quiet(err: str) -> bool:
    """Whether nothing on stderr looks like the inside of the program."""
    return not any(mark in err for mark in ("Traceback", "Exception ignored", "a bug in batchrunner", 'File "'))
