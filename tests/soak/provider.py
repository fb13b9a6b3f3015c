"""The provider in a box, in a process of its own: it outlives every runner, and keeps the other set of books."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from batchrunner.simulator import Entry, read_ledger
from tests.e2e.place import ROOT

PATIENCE = 60.0
"""Seconds that it may take to come up on a machine that is busy with other things."""


class Provider:
    """``batchrunner simulate`` with a ledger in a file."""

    def __init__(self, folder: Path, seed: int, settings: Mapping[str, Any]) -> None:
        self.ledger = folder / "calls.jsonl"
        self._talk = folder / "simulator.out"
        self._process = self._start(seed)
        self.url = self._await_url()
        self.began = time.monotonic()
        self.change(**settings)

    def _start(self, seed: int) -> subprocess.Popen[bytes]:
        words = ["simulate", "--port", "0", "--seed", str(seed), "--ledger", str(self.ledger), "--quiet"]
        env = {"PATH": os.environ["PATH"], "HOME": str(self._talk.parent), "PYTHONPATH": str(ROOT)}
        with self._talk.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "batchrunner", *words],
                env=env, cwd=self._talk.parent, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def _await_url(self) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if (said := self._talk.read_text()).endswith("\n"):
                return said.splitlines()[0]
            time.sleep(0.02)
        self.close()
        raise RuntimeError(f"the simulator did not come up: {self._talk.read_text()[-500:]}")

    @property
    def seconds(self) -> float:
        """Seconds since its start, as its settings count them (to a fraction of a second)."""
        return float(self._ask("GET", "/_sim/stats")["seconds"])

    @property
    def arrived(self) -> int:
        """Requests received so far."""
        return int(self._ask("GET", "/_sim/stats")["requests"])

    def change(self, **patch: Any) -> None:
        """Go on with other settings."""
        if patch:
            self._ask("POST", "/_sim/settings", json.dumps(patch).encode())

    def calls(self) -> list[Entry]:
        """Everything received so far."""
        return read_ledger(self.ledger)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Ask the side door; while it is shut (an outage of refused connections) wait for it to open."""
        end = time.monotonic() + PATIENCE
        while True:
            connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
            try:
                connection.request(method, path, body)
                answer = connection.getresponse()
                said = answer.read()
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.2)
                continue
            finally:
                connection.close()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")
            return json.loads(said)
