"""The report of a soak: Markdown, with every figure and every breach, for the terminal and for docs/reliability.md."""

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from batchrunner.core.pricing import dollars
from tests.e2e.place import ROOT
from tests.soak.era import CONCURRENCY, MOST_BYTES, MOST_THREADS, MOST_WAL, SLACK
from tests.soak.figures import MIB, Figures, Life

sys.path.insert(0, str(ROOT / "bench"))  # how it is written is the benchmarks' way

import report as bench

if TYPE_CHECKING:
    from tests.soak.acts import Soak

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak:begin -->", "<!-- soak:end -->"
MOST_SHOWN = 40
SAMPLES = 900
"""Looks at warm processes, one a second, below which a slope over all of them says nothing."""


def report(soak: "Soak", wanted: float, simulated: tuple[int, str] | None, *, early: bool) -> str:
    """Return the whole section."""
    with redirect_stdout(io.StringIO()) as said:
        for line in _head(soak, wanted, early=early):
            print(line)
        _tables(soak.figures)
        for line in (*_verdict(soak), *_simulated(simulated)):
            print(line)
    return said.getvalue().rstrip() + "\n"


def page(text: str) -> None:
    """Put the section between the page's markers. Exits with a message where they are missing."""
    whole = PAGE.read_text()
    if whole.count(BEGIN) != 1 or whole.count(END) != 1:
        sys.exit(f"{PAGE} must hold {BEGIN} and {END} once each; nothing was written")
    before, rest = whole.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text.strip(chr(10))}\n{END}{rest.split(END)[1]}")
    print(f"written to {PAGE}", file=sys.stderr)


def _head(soak: "Soak", wanted: float, *, early: bool) -> Iterator[str]:
    import time

    took = time.monotonic() - soak.began
    yield f"    python -m tests.soak --minutes {wanted / 60:g} --seed {soak.seed}\n"
    for fact in bench.machine_facts():
        yield f"- {fact}"
    yield f"- {took / 60:.0f} minutes{', ended early by hand' if early else ''}; concurrency {CONCURRENCY}\n"


def _tables(figures: Figures) -> None:
    bench.table(("what was done to it", "times"), sorted(_done(figures)))
    bench.table(("what came of it", "figure"), list(_outcome(figures)))
    bench.table(("what it took", "figure", "bound"), list(_taken(figures)))
    if figures.long:
        columns = ("long lives", "seconds", "RSS MiB at first", "at the end", "slope MiB/h", "files", "threads")
        bench.table(columns, [_long(life) for life in figures.long])


def _done(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "kill -9", f"{figures.ends['killed by SIGKILL']:,}"
    for what, number in figures.done.items():
        yield what, f"{number:,}"
    for fault, number in figures.faults.items():
        yield f"fault: {fault}", f"{number:,}"


def _outcome(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "runs", f"{figures.lives:,}"
    yield "how they ended", _counted(figures.ends.items())
    yield "checks of all invariants", f"{figures.checks:,}"
    yield "rows", f"{figures.rows:,} ({_counted(figures.outcomes.items())})"
    yield "calls received by the provider", f"{figures.calls:,}"
    yield "answered", _counted((str(code or "nothing"), number) for code, number in figures.statuses.items())
    yield "rows a second while a runner lived", f"{figures.rows / max(1.0, figures.working):,.0f}"
    yield "calls bought again (the provider had billed that row before)", f"{figures.repeated:,}"
    yield "attempts lost with their runner", f"{figures.lost:,}; at most {figures.worst_lost} of one runner"
    money = figures.money
    yield "money recorded", dollars(money["recorded"])
    yield "money estimated (no usage sent)", dollars(money["estimated"])
    yield "money wasted", dollars(money["wasted"])
    yield "money possibly billed, at most", dollars(money["possibly"])
    yield "the provider's bill", dollars(money["bill"])
    yield "of it for calls of unknown fate", dollars(money["bill of these"])


def _taken(figures: Figures) -> Iterator[tuple[str, str, str]]:
    slope = figures.rss.per_hour if figures.rss.n >= SAMPLES else None
    yield "peak RSS of any run", f"{figures.peak / MIB:.0f} MiB", f"{MOST_BYTES // MIB} MiB"
    yield "RSS, slope over all runs", "too short to say" if slope is None else f"{slope / MIB:+.1f} MiB/h", "reported"
    yield "open files, most", str(figures.files), "concurrency + spare"
    yield "threads, most", str(figures.threads), str(MOST_THREADS)
    yield "write-ahead log, most", f"{figures.wal / MIB:.1f} MiB", f"{MOST_WAL // MIB} MiB"
    yield "attempts left open by one kill, most", str(figures.worst_lost), str(CONCURRENCY + SLACK)
    if figures.lag:
        for at, name in enumerate(("p50", "p99", "most")):
            worst = max(lag[at] for lag in figures.lag)
            middle = sorted(lag[at] for lag in figures.lag)[len(figures.lag) // 2]
            shown = f"{middle * 1000:.1f} ms (worst {worst * 1000:.1f})"
            yield f"loop lag {name}, median over runs", shown, "100 ms" if name == "p99" else "reported"


def _long(life: Life) -> tuple[str, ...]:
    slope, last = life.rss.per_hour or 0.0, life.last
    return (
        life.what, f"{life.seconds:,.0f}", f"{life.first_rss / MIB:.1f}",
        f"{last.rss / MIB:.1f}" if last else "-", f"{slope / MIB:+.1f}", str(life.files), str(life.threads),
    )  # fmt: skip


def _verdict(soak: "Soak") -> Iterator[str]:
    if not soak.broken:
        yield f"**0 breaches** of the invariants I1 to I10 in {soak.figures.checks:,} checks."
        return
    yield f"**{len(soak.broken):,} BREACHES**"
    yield ""
    yield from (f"- {line}" for line in soak.broken[:MOST_SHOWN])
    if len(soak.broken) > MOST_SHOWN:
        yield f"- ... and {len(soak.broken) - MOST_SHOWN:,} more"
    yield f"\nKept to be looked at: {', '.join(map(str, soak.kept))}"


def _simulated(simulated: tuple[int, str] | None) -> Iterator[str]:
    if simulated is not None:
        code, said = simulated
        yield f"\nThe half hour's outage with 240,000 rows, in made-up time: {'held' if code == 0 else 'NOT HELD'}.\n"
        lines = [line for line in said.splitlines() if line.startswith("|")]
        yield "\n".join(lines) or said


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(pairs, key=lambda pair: -pair[1]))
