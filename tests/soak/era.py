"""One database and one provider, worked on by one runner after another until every row has its outcome."""

import json
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchrunner.core.errors import DatabaseError
from batchrunner.transport.open import SPARE_FILES
from tests.canary import CANARY_KEY
from tests.e2e.place import EMBED, GPT, LLAMA, ROOT, SMALL, chat, embedding
from tests.invariants import Scenario, broken
from tests.soak.books import add_up, lost_by_runner
from tests.soak.figures import MIB, WARM, Figures, Life, look
from tests.soak.provider import Provider
from tests.soak.readers import Readers, answers

CONCURRENCY = 64
SLACK = 64
"""Attempts beyond the calls in the air that a crash may leave open."""
MOST_BYTES = 200 * MIB
MOST_THREADS = 8
MOST_WAL = 64 * MIB
MOST_GROWTH = 32 * MIB
"""Of one life's resident memory, from its warming up to its end."""
POISON = "poisoned-row"
MODELS = (GPT, LLAMA, SMALL)
SAMPLE_EVERY = 1.0
STOPPING = re.compile(r"stopping: ")
ENDED_WELL = frozenset({0, 3})
"""Everything done, or everything done and some refused."""

Event = tuple[float, Callable[["Running"], None]]
"""Seconds of a life, and what happens then."""


@dataclass
class Running:
    """A runner that lives."""

    process: subprocess.Popen[bytes]
    life: Life
    err: Path
    db: Path
    stopped_at: float | None = None
    """Unix seconds at which it was heard to be stopping."""

    @property
    def said(self) -> str:
        return self.err.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        self.process.kill()

    def stand_still(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.life.stopped = True
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def fill_the_disk(self) -> None:
        """Let no file of it grow any more; SQLite meets that as an I/O error."""
        growing = [path for path in (self.db, Path(f"{self.db}-wal")) if path.exists()]
        most = max((path.stat().st_size for path in growing), default=0) + 64 * 1024
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@dataclass
class Ended:
    """How a life ended."""

    code: int
    err: str
    stopped: float | None
    life: Life

    @property
    def how(self) -> str:
        return f"killed by {signal.Signals(-self.code).name}" if self.code < 0 else f"exit {self.code}"


@dataclass
class Era:
    """Rows, a database for them, and a provider that answers them badly."""

    folder: Path
    rows: int
    seed: int
    settings: Mapping[str, Any]
    figures: Figures
    tell: Callable[[str], None]
    more: tuple[str, ...] = ()
    """Further words of the command line."""
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Requests a second and burst that these words promise, by model."""
    broken: list[str] = field(default_factory=list)
    """Every breach so far."""
    seen: dict[str, bytes] = field(default_factory=dict)
    """Answers by custom id, as soon as anyone saw them."""
    _lives: int = 0
    _last: Ended | None = None

    def __post_init__(self) -> None:
        self.work, self.talk, theirs = (self.folder / name for name in ("work", "talk", "provider"))
        for path in (self.work, self.talk, theirs):
            path.mkdir(parents=True)
        self.db, self.job = self.work / "q.db", self.work / "job.jsonl"
        with self.job.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines(self.rows, self.seed))
        self.provider = Provider(theirs, self.seed, self.settings)
        self.readers = Readers(self.command, self.work, self.environment())

    # ------------------------------------------------------------------------------------------------------ one life

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "batchrunner", *words, "--db", "q.db"]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.talk),
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
            "TOGETHER_API_KEY": CANARY_KEY,
            "TOGETHER_BASE_URL": f"{self.provider.url}/v1",
        }

    def start(self, what: str) -> Running:
        self._lives += 1
        err = self.talk / f"{self._lives % 20}.err"
        words = self.command(
            *("run", self.job.name, "-o", "out.jsonl", "--yes", "--progress", "none"),
            *("--concurrency", str(CONCURRENCY), *self.more),
        )
        with err.open("wb") as said:
            process = subprocess.Popen(
                words, cwd=self.work, env=self.environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        return Running(process, Life(what, time.monotonic()), err, self.db)

    def live(
        self, what: str, events: Iterable[Event] = (), *, reading: bool = False, patience: float = 3600.0
    ) -> Ended:
        """Let a runner live until it ends, with what happens to it meanwhile; ``patience`` is in seconds."""
        running, due = self.start(what), sorted(events, key=lambda event: event[0])
        began, sampled = running.life.began, 0.0
        try:
            while running.process.poll() is None:
                now = time.monotonic()
                if now - sampled >= SAMPLE_EVERY:
                    sampled = now
                    self._sample(running, now)
                    if reading:
                        self.broken += self.readers.step(self.db, self.seen)
                while due and now - began >= due[0][0]:
                    due.pop(0)[1](running)
                if now - began > patience:
                    self.broken.append(f"I10: {what}: it did not end within {patience:.0f} s: {running.said[-300:]}")
                    running.kill()
                time.sleep(0.05 if not due else min(0.05, max(0.001, began + due[0][0] - time.monotonic())))
        finally:
            if running.process.poll() is None:
                running.kill()
            code = running.process.wait()
            self.readers.end()
        running.life.seconds, running.life.code = time.monotonic() - began, code
        running.life.lag = self._lag(running.process.pid)
        self._last = Ended(code, running.said, running.stopped_at, running.life)
        self.figures.add(running.life, self._last.how)
        return self._last

    def _sample(self, running: Running, now: float) -> None:
        sample = look(running.process.pid)
        if sample is not None:
            wal = self.work / "q.db-wal"
            running.life.sample(now, sample, wal.stat().st_size if wal.exists() else 0)
            if now - running.life.began >= WARM:
                self.figures.rss.add(now, sample.rss)

    def _lag(self, pid: int) -> tuple[float, float, float] | None:
        """The loop's lateness as the runner itself last wrote it down."""
        try:
            with closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)) as connection:
                query = "SELECT snapshot FROM runners WHERE pid = ? ORDER BY id DESC LIMIT 1"
                row = connection.execute(query, (pid,)).fetchone()
        except sqlite3.Error:
            return None
        lag = json.loads(row[0]).get("lag") if row and row[0] else None
        return (lag["p50"], lag["p99"], lag["most"]) if lag and lag["looks"] else None

    # ------------------------------------------------------------------------------------------------------- judging

    def breach(self, line: str) -> None:
        """Keep a breach, and tell of it at once."""
        self.broken.append(line)
        self.tell(f"  BREACH {line}")

    def judge(self, ended: Ended, expected: Iterable[int], *, last: bool = False) -> bool:
        """Hold what is left against the invariants; say whether all of them hold. ``last``: look for the key too."""
        if not self.db.exists():
            return True  # killed before its first step
        self.look()
        calls = self.provider.calls()
        killed = ended.code < 0
        leaves_open = killed or ended.code == 74  # the dead, and who could not write, leave that to the next one
        scenario = Scenario(
            db=self.db, calls=calls, running=leaves_open, acknowledged=self.seen, limits=self.limits,
            job=self.job if self._loaded() else None,
            outputs=[self.work / "out.jsonl", self.work / "out.errors.jsonl"] if last else (),
            stopped=None if ended.stopped is None else ended.stopped + 2.0,
            folders=[self.work, self.talk] if last else (), key=CANARY_KEY if last else None,
            peak_bytes=ended.life.peak, most_bytes=MOST_BYTES,
            code=None if killed else ended.code, expected=None if killed else set(expected), err=ended.err,
        )  # fmt: skip
        try:
            found = broken(scenario)
        except (DatabaseError, sqlite3.Error) as error:
            found = [f"I7: the database can't be read: {error}"]
        found += [*self._beyond_bounds(ended), *self._killed_by_another(ended)]
        self.figures.checks += 1
        for line in found:
            self.breach(f"{line} [{ended.life.what}, life {self._lives}]")
        return not found

    def _loaded(self) -> bool:
        """Whether the whole job file is in: a runner may die while it loads."""
        with closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'jobs'").fetchone():
                return False
            return connection.execute("SELECT count(*) FROM jobs WHERE state = 'open'").fetchone() == (1,)

    def _beyond_bounds(self, ended: Ended) -> Iterator[str]:
        life = ended.life
        if life.files > CONCURRENCY + SPARE_FILES:
            yield f"I8: {life.files} open files, {CONCURRENCY + SPARE_FILES} allowed"
        if life.last is not None and life.first_rss and life.last.rss - life.first_rss > MOST_GROWTH:
            yield f"I8: resident memory grew by {(life.last.rss - life.first_rss) // MIB} MiB in {life.seconds:.0f} s"
        if life.threads > MOST_THREADS:
            yield f"I8: {life.threads} threads, {MOST_THREADS} allowed"
        if life.wal > MOST_WAL:
            yield f"I8: the write-ahead log grew to {life.wal // MIB} MiB"
        for runner, lost in lost_by_runner(self.db).items() if self._loaded() else ():
            if lost > CONCURRENCY + SLACK:
                yield f"I4: runner {runner} left {lost} attempts open, at most {CONCURRENCY + SLACK} may be"

    def _killed_by_another(self, ended: Ended) -> Iterator[str]:
        if ended.code < 0 and ended.code != -signal.SIGKILL:
            yield f"I10: it was {ended.how}, which nobody sent: {ended.err[-300:]}"

    def look(self) -> None:
        """Note every answer that is there now."""
        if self._loaded():
            self.seen.update(answers(self.db, self.seen))

    def close(self) -> None:
        """End the era and add its books to the figures."""
        self.provider.close()
        if self.db.exists() and self._loaded():
            add_up(self.db, self.provider.calls(), self.figures)


def lines(rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """Three chat models and embeddings in turn, of different lengths; one row in two hundred is refused for itself."""
    dice = random.Random(seed)
    for i in range(rows):
        text = f"question {i} of {seed}: {'so ' * dice.randint(0, 120)}{POISON if i % 200 == 7 else ''}"
        if i % 4 == 3:
            yield embedding(f"e-{i}", text)
        else:
            yield chat(f"c-{i}", text, MODELS[i % 4], 48)


def every_model() -> Sequence[str]:
    return (*MODELS, EMBED)
