"""What a trial of ``selftest`` stands on: a folder, a provider in a process of its own, and runs that can be killed."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from batchrunner.core.errors import BatchrunnerError

if TYPE_CHECKING:
    from batchrunner.simulator import Entry

PATIENCE: Final = 60.0
"""Seconds after which something that has not happened is taken for something that never will."""
LOOK_EVERY: Final = 0.02
FOREIGN: Final = ("BATCHRUNNER_", "TOGETHER_", "OPENAI_")
MODELS: Final = ("openai/gpt-oss-20b", "meta-llama/Llama-3.3-70B-Instruct-Turbo")
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")


def environment(url: str, folder: Path, key: str) -> dict[str, str]:
    """Return this process's environment without anybody's keys, options and configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    source = str(Path(__file__).resolve().parents[2])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "TOGETHER_API_KEY": key,
        "TOGETHER_BASE_URL": f"{url}/v1",
        "XDG_CONFIG_HOME": str(folder / "no-configuration"),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def until(fact: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so. Raises BatchrunnerError where it never is."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise BatchrunnerError(f"after {seconds:.0f} seconds still not: {what}")
        time.sleep(LOOK_EVERY)


class Box:
    """The provider in a box, in another process; its ledger is a file that outlives every kill."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.url = url
        self._ledger = ledger

    def calls(self) -> "list[Entry]":
        """Return what arrived so far, in order."""
        from batchrunner.simulator import read_ledger

        return [entry for entry in read_ledger(self._ledger) if entry.method == "POST"]

    def await_calls(self, number: int) -> None:
        """Wait until so many calls have arrived in all."""
        until(lambda: self.arrived() >= number, f"{number:,} calls at the provider")

    def arrived(self) -> int:
        """Return how many calls have arrived."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        connection.request("GET", "/_sim/stats")
        count: int = json.loads(connection.getresponse().read())["requests"]
        connection.close()
        return count

    def change(self, **settings: Any) -> None:
        """Change the provider's settings while it serves."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        connection.request("POST", "/_sim/settings", json.dumps(settings))
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status != 200:
            raise BatchrunnerError(f"the provider in a box did not take {settings}: {told.decode(errors='replace')}")


class Ended(NamedTuple):
    """How a run ended, and the most memory it held (bytes; 0 where the system does not tell)."""

    code: int
    said: str
    peak: int


class Life:
    """One run of the program, its words in files."""

    def __init__(self, words: list[str], folder: Path, number: int, env: Mapping[str, str]) -> None:
        self.started = time.time()
        self._err = folder / f"{number}.err"
        with (folder / f"{number}.out").open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(  # noqa: S603 - this program itself, with words of ours
                [sys.executable, "-m", "batchrunner", *words],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.pid = self._process.pid

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it the hard way."""
        self._process.kill()
        self._process.wait()

    def command_line(self) -> bytes:
        """Return what everybody on this machine can see of it; empty where the system has no such file."""
        path = Path(f"/proc/{self.pid}/cmdline")
        return path.read_bytes() if path.exists() else b""

    def end(self, seconds: float = 5 * PATIENCE) -> Ended:
        """Wait for its end. Raises BatchrunnerError, and kills it, where that does not come."""
        deadline, peak = time.monotonic() + seconds, 0
        while self.lives:
            peak = _high_water(self.pid) or peak
            if time.monotonic() > deadline:
                self.kill()
                raise BatchrunnerError(f"a run did not end within {seconds:.0f} seconds")
            time.sleep(LOOK_EVERY)
        return Ended(self._process.returncode, self._err.read_text(encoding="utf-8", errors="replace"), peak)


def _high_water(pid: int) -> int:
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:  # it has just ended, or this system has no such files
        return 0
    return int(found[1]) * 1024 if found else 0


class Bench:
    """One trial's folder, with its provider."""

    def __init__(self, folder: Path, box: Box, key: str) -> None:
        self.folder, self.box = folder, box
        self.db, self.out, self.jobs = folder / "q.db", folder / "out.jsonl", folder / "job.jsonl"
        self._environment = environment(box.url, folder, key)
        self._lives: list[Life] = []

    def write(self, rows: int, max_tokens: int = 64) -> None:
        """Write a job file of so many rows, over two models."""
        with self.jobs.open("w", encoding="utf-8") as file:
            for number in range(rows):
                message = {"role": "user", "content": f"question {number} of the trial {self.folder.name}"}
                body = {"model": MODELS[number % 2], "messages": [message], "max_tokens": max_tokens}
                file.write(json.dumps({"custom_id": f"r-{number}", "body": body}) + "\n")

    def start(self, *more: str) -> Life:
        """Start, or go on with, the job."""
        words = ["run", self.jobs.name, "-o", self.out.name, "--db", self.db.name, "--yes", "--progress", "none", *more]
        life = Life(words, self.folder, len(self._lives), self._environment)
        self._lives.append(life)
        return life

    def close(self) -> None:
        """End whatever lives still."""
        for life in self._lives:
            if life.lives:
                life.kill()


@contextmanager
def bench(root: Path, name: str, key: str, *flags: str) -> Iterator[Bench]:
    """Make a trial's folder and start a provider for it; both end with the block, and the folder stays."""
    folder = root / name
    folder.mkdir()
    ledger, said = folder / "provider.jsonl", folder / "provider.err"
    words = [sys.executable, "-m", "batchrunner", "simulate", "--port", "0", "--ledger", str(ledger), *flags]
    with said.open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - this program itself, with words of ours
            words,
            cwd=folder,
            env=environment("http://127.0.0.1", folder, key),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
        )
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    try:
        url = process.stdout.readline().decode().strip()
        if not url:
            raise BatchrunnerError(f"the provider in a box did not start: {said.read_text(errors='replace')[-300:]}")
        made = Bench(folder, Box(url, ledger), key)
        try:
            yield made
        finally:
            made.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
