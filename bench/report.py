"""How every benchmark reports: what was run, on which machine, with which versions; tables and verdicts."""

import os
import platform
import shlex
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from measure import CLIENT_CORE, CORES, ROOT, SERVER_CORE, Child, median

PACKAGES = (
    "batchrunner", "aiohttp", "httpx", "httpx-aiohttp", "anyio", "msgspec", "SQLAlchemy", "together", "openai",
)  # fmt: skip


def header(title: str) -> None:
    """Print what was run, when, where and with which versions."""
    print(f"\n## {title}\n", flush=True)
    # The command that a reader can type: how this very process was started, interpreter and folder left out.
    script = Path(sys.argv[0]).resolve()
    shown = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script
    print(f"    python {shlex.join([str(shown), *sys.argv[1:]])}\n")
    for fact in machine_facts():
        print(f"- {fact}")
    print(flush=True)


def machine_facts() -> list[str]:
    """Return the facts that a figure means nothing without."""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    where = f"client on core {CLIENT_CORE}, server on core {SERVER_CORE}" if len(CORES) > 1 else "one core for all"
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {_cpu()}, {len(CORES)} cores ({where}); {_memory()} memory",
        f"{platform.system()} {platform.release()}; {_disk(Path(tempfile.gettempdir()))}",
        f"{python}; {packages}",
    ]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, padded so that it reads as plain text too."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]
    _print_row(columns, widths)
    print("|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|")
    for row in cells:
        _print_row(row, widths)
    print(flush=True)


def verdict(
    what: str, measured: float, target: float, *, at_most: bool = False, unit: str = "", note: str = ""
) -> None:
    """Print one line: a figure against its target."""
    met = measured <= target if at_most else measured >= target
    word = "at most" if at_most else "at least"
    tail = f" ({note})" if note else ""
    goal = f"target {word} {_figure(target)}{unit}{tail}"
    print(f"- {'met' if met else 'MISSED'}: {what}: {_figure(measured)}{unit}, {goal}", flush=True)


def warn_of_others(runs: Sequence[Child]) -> None:
    """Say how busy the client's core was with other things, and what that does to the figures."""
    most = max((run.others for run in runs), default=0.0)
    if most > 0.15:
        print(f"BUSY MACHINE: other processes and interrupts took up to {most:.0%} of the client's core. The rates are")
        print("lower bounds, and their ratios uncertain; CPU per row holds to about 10 %.\n", flush=True)


def _print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    padded = [
        f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    print("| " + " | ".join(padded) + " |")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from the checkout" if package == "batchrunner" else "missing"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB"


def _disk(folder: Path) -> str:
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return f"{folder} is {_filesystem(folder)}, fsync of a 4 KiB append {median(times) * 1000:.2f} ms (median of 100)"


def _filesystem(folder: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "of unknown type"
    entries = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    holding = [(point, kind) for point, kind in entries if folder.resolve().is_relative_to(point)]
    return max(holding, key=lambda entry: len(entry[0]))[1] if holding else "of unknown type"
