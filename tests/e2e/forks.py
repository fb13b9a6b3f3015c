"""The program as a process of its own, many times a second: forked from one that has imported everything already.

A start from nothing takes 0.7 s, a fork 0.05 s. The child is a real process with its own limits, environment and crash
point, and its own end; only its imports are not its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.place import ROOT, Ended, Place

MOTHER = """
import json, os, resource, sys
import batchrunner.api, batchrunner.cli, batchrunner.cli.run, batchrunner.cli.db, batchrunner.api.database
import anyio._backends._asyncio, anyio._core._signals, alembic.command, platformdirs.unix, tenacity
import batchrunner.transport.aiohttp_engine, batchrunner.transport.connections, batchrunner.transport.direct
import tempfile
from batchrunner.config import load_here
from batchrunner.core import crashpoint

with tempfile.TemporaryDirectory() as folder:  # what SQLAlchemy compiles once is compiled for all children
    with batchrunner.api.session(load_here({"db": folder + "/q.db"})) as held:
        held.providers(None), held.unfinished(None), held.statuses()

def child(ask):
    for number, path in ((0, os.devnull), (1, ask["out"]), (2, ask["err"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags, 0o600), number)
    os.chdir(ask["cwd"])
    os.environ.update(ask["env"])
    if ask["user"]:
        os.setgroups([])
        os.setresgid(ask["user"], ask["user"], ask["user"])
        os.setresuid(ask["user"], ask["user"], ask["user"])
    if ask["fsize"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ask["fsize"], ask["fsize"]))
    reached = crashpoint.armed(os.environ.get(crashpoint.VARIABLE))
    for module in list(sys.modules.values()):
        if module.__name__.startswith("batchrunner.") and hasattr(module, "reached"):
            module.reached = reached
    if ask["prelude"]:
        exec(ask["prelude"], {})
    sys.argv = ["batchrunner", *ask["words"]]
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    batchrunner.cli.main()

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        child(json.loads(line))
    print(json.dumps({"pid": pid}), flush=True)
    _, status = os.waitpid(pid, 0)
    print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)
"""


class Forks:
    """Starts the program in a place; one at a time. ``preload``: a library between it and the C library."""

    def __init__(self, preload: Path | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
        if preload is not None:
            environment["LD_PRELOAD"] = str(preload)
        self._mother = subprocess.Popen(
            [sys.executable, "-c", MOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._talk: Path | None = None

    def start(
        self,
        place: Place,
        *words: str,
        crash: str = "",
        fsize: int = 0,
        user: int = 0,
        prelude: str = "",
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start it and return its process id; ``end`` waits for it."""
        given = {
            "HOME": str(place.talk),
            "TOGETHER_API_KEY": place.key,
            "TOGETHER_BASE_URL": f"{place.box.url}/v1",
            **({"BATCHRUNNER_CRASHPOINT": crash} if crash else {}),
            **(env or {}),
        }
        ask: dict[str, Any] = {
            "words": words, "cwd": str(place.folder), "env": given, "fsize": fsize, "user": user, "prelude": prelude,
            "out": str(place.talk / "out"), "err": str(place.talk / "err"),
        }  # fmt: skip
        self._talk = place.talk
        self._say(ask)
        return int(self._hear()["pid"])

    def end(self) -> Ended:
        """Wait for the end of what was started."""
        assert self._talk is not None
        code = self._hear()["code"]
        return Ended(code, self.said("out"), self.said("err"))

    def run(self, place: Place, *words: str, **how: Any) -> Ended:
        self.start(place, *words, **how)
        return self.end()

    def said(self, where: str = "err") -> str:
        assert self._talk is not None
        path = self._talk / where
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def close(self) -> None:
        self._mother.communicate(timeout=10)

    def _say(self, ask: Mapping[str, Any]) -> None:
        assert self._mother.stdin is not None
        self._mother.stdin.write(json.dumps(ask) + "\n")
        self._mother.stdin.flush()

    def _hear(self) -> Any:
        assert self._mother.stdout is not None
        return json.loads(self._mother.stdout.readline())
