"""What a soak measures, in memory that does not grow with its hours."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20


@dataclass(slots=True)
class Slope:
    """A line through samples by least squares, from running sums."""

    n: int = 0
    t: float = 0.0
    y: float = 0.0
    tt: float = 0.0
    ty: float = 0.0
    first: float = 0.0

    def add(self, seconds: float, value: float) -> None:
        if not self.n:
            self.first = seconds
        seconds -= self.first
        self.n += 1
        self.t += seconds
        self.y += value
        self.tt += seconds * seconds
        self.ty += seconds * value

    @property
    def per_hour(self) -> float | None:
        """Rise of the line in an hour; None while there is no line."""
        below = self.n * self.tt - self.t * self.t
        return None if self.n < 3 or below <= 0 else (self.n * self.ty - self.t * self.y) / below * 3600


class Sample(NamedTuple):
    """One look at a process, by the kernel's account."""

    rss: int
    """Bytes."""
    peak: int
    """Bytes, the most since its start."""
    files: int
    threads: int


def look(pid: int) -> Sample | None:
    """Look at a process; None where it has gone (or there is no /proc)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    facts = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.split()}
    if "VmRSS" not in facts:
        return None  # it is ending
    return Sample(int(facts["VmRSS"]) * 1024, int(facts["VmHWM"]) * 1024, files, int(facts["Threads"]))


WARM = 60.0
"""Seconds after which a life's samples count for the slope: before that the interpreter is still loading."""


@dataclass(slots=True)
class Life:
    """One process of the program, from its start to its end."""

    what: str
    began: float
    seconds: float = 0.0
    code: int | None = None
    rss: Slope = field(default_factory=Slope)
    first_rss: int = 0
    """Bytes, at the end of its warming up."""
    last: Sample | None = None
    peak: int = 0
    files: int = 0
    threads: int = 0
    wal: int = 0
    lag: tuple[float, float, float] | None = None
    """p50, p99 and most, seconds."""
    stopped: bool = False
    """It was stood still on purpose, so that its largest lag says nothing."""

    def sample(self, now: float, seen: Sample, wal: int) -> None:
        self.last = seen
        self.peak, self.files = max(self.peak, seen.peak), max(self.files, seen.files)
        self.threads, self.wal = max(self.threads, seen.threads), max(self.wal, wal)
        if now - self.began >= WARM:
            self.first_rss = self.first_rss or seen.rss
            self.rss.add(now, seen.rss)


@dataclass(slots=True)
class Figures:
    """All of it."""

    lives: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    """How often a life ended how: ``kill -9``, ``exit 3``."""
    done: Counter[str] = field(default_factory=Counter)
    """What was done to the runs: stops, outages, disks full, readers beside them."""
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Calls that were billed for a row that had been billed before."""
    lost: int = 0
    """Attempts that a dead runner left open."""
    worst_lost: int = 0
    """The most that one dead runner left."""
    money: Counter[str] = field(default_factory=Counter)
    """Pico-dollars: recorded, estimated, possibly, wasted (ours), bill (theirs)."""
    checks: int = 0
    working: float = 0.0
    """Seconds in which a runner lived."""
    rss: Slope = field(default_factory=Slope)
    long: list[Life] = field(default_factory=list)
    """The lives that were long enough for a slope; only the last ones are kept."""
    peak: int = 0
    files: int = 0
    threads: int = 0
    wal: int = 0
    lag: list[tuple[float, float, float]] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)

    def add(self, life: Life, how: str) -> None:
        """Count a life that has ended."""
        self.lives += 1
        self.ends[how] += 1
        self.working += life.seconds
        self.peak, self.files = max(self.peak, life.peak), max(self.files, life.files)
        self.threads, self.wal = max(self.threads, life.threads), max(self.wal, life.wal)
        if life.lag is not None and life.seconds > 10 and not life.stopped:
            self.lag = [*self.lag[-199:], life.lag]
        if life.seconds >= 2 * WARM and life.rss.per_hour is not None:
            self.long = [*self.long[-19:], life]
