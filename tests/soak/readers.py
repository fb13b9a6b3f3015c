"""Other people who look at a queue while it is worked on: the verbs that read, as processes of their own."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

EVERY = 7.0
"""Seconds between two readers."""
MOST_SEEN = 30_000
"""Answers that are remembered byte for byte, so that a long era's memory stays small."""
WORDS = (
    ("status", "--json"),
    ("results", "job", "-o", "-"),
    ("errors", "job", "--json"),
    ("costs", "--json"),
)


class Readers:
    """One reader at a time, each verb in turn."""

    def __init__(self, command: Callable[..., list[str]], folder: Path, env: Mapping[str, str]) -> None:
        self._command = command
        self._folder = folder
        self._env = env
        self._out = folder.parent / "reader.out"
        self._err = folder.parent / "reader.err"
        self._turn = 0
        self._next = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self.read = 0

    def step(self, db: Path, seen: dict[str, bytes]) -> list[str]:
        """Start one, or judge the one that has ended; return what was wrong with it."""
        now = time.monotonic()
        if self._process is not None:
            return self._judged(db, seen) if self._process.poll() is not None else []
        if now >= self._next and _loaded(db):
            self._next = now + EVERY
            self._turn += 1
            with self._out.open("wb") as out, self._err.open("wb") as err:
                self._process = subprocess.Popen(
                    self._command(*WORDS[self._turn % len(WORDS)]), cwd=self._folder, env=self._env,
                    stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                )  # fmt: skip
        return []

    def end(self) -> list[str]:
        """Wait for the last one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        return []

    def _judged(self, db: Path, seen: dict[str, bytes]) -> list[str]:
        assert self._process is not None
        code, self._process = self._process.returncode, None
        self.read += 1
        words = " ".join(WORDS[self._turn % len(WORDS)])
        if code not in (0, 3):
            return [f"I10: `{words}` beside a live run ended with {code}: {self._err.read_text()[-300:]}"]
        if words.startswith("results"):
            return self._acknowledged(db, seen)
        try:
            json.loads(self._out.read_bytes())
        except ValueError as error:
            return [f"I2: `{words}` beside a live run wrote no JSON: {error}"]
        return []

    def _acknowledged(self, db: Path, seen: dict[str, bytes]) -> list[str]:
        """What a reader was shown is on the disk, now and for ever."""
        with self._out.open("rb") as lines:
            shown = {line["custom_id"] for line in map(json.loads, lines) if line["error"] is None}
        seen.update(answers(db, seen))
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=10)) as connection:
            gone = shown - {custom_id for (custom_id,) in connection.execute(ANSWERED)}
        return (
            [f"I2: {len(gone)} answers were exported and are not in the database: {sorted(gone)[:5]}"] if gone else []
        )


ANSWERED = "SELECT r.custom_id FROM requests AS r JOIN responses AS p ON p.request_id = r.id"


def answers(db: Path, seen: Mapping[str, bytes]) -> dict[str, bytes]:
    """Answers in the database that nobody has seen before, by custom id; no more than are worth remembering."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=10)) as connection:
        ids = connection.execute(
            "SELECT r.id, r.custom_id FROM requests AS r JOIN responses AS p ON p.request_id = r.id"
        )
        fresh = [(key, custom_id) for key, custom_id in ids if custom_id not in seen]
        return dict(_bodies(connection, fresh[: max(0, MOST_SEEN - len(seen))]))


def _bodies(connection: sqlite3.Connection, fresh: list[tuple[int, str]]) -> Iterator[tuple[str, bytes]]:
    for key, custom_id in fresh:
        (body,) = connection.execute("SELECT body FROM responses WHERE request_id = ?", (key,)).fetchone()
        yield custom_id, body


def _loaded(db: Path) -> bool:
    if not db.exists():
        return False
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=10)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'jobs'").fetchone():
            return False
        return bool(connection.execute("SELECT 1 FROM jobs WHERE state = 'open'").fetchone())
