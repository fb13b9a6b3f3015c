"""How every benchmark measures: child processes pinned to a core, counted by the kernel (wait4)."""

import os
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
CLIENT_CORE, SERVER_CORE = CORES[0], CORES[-1]
MIB = 1024 * 1024


class Child(NamedTuple):
    """One finished child process, as the kernel counted it."""

    seconds: float
    cpu: float
    """User and system seconds of all its threads."""
    rss: float
    """Peak resident set, MiB."""
    code: int
    """Exit code; negative: the signal that killed it."""
    said: str
    """The last of its output: what to show when it failed."""
    others: float = 0.0
    """Share of its cores that went to other processes and to interrupts meanwhile: near 0 on a quiet machine."""
    cores: int = 1
    """Cores that it could use."""


class ChildFailed(Exception):  # noqa: N818 - it reads as the sentence it prints
    """A measured child did not end well; carries what it said."""

    def shortly(self) -> str:
        """Return the end of it, where the reason stands."""
        return " / ".join(line.strip() for line in str(self).splitlines()[-3:] if line.strip())


def pinned(cores: Sequence[int], command: Sequence[str]) -> list[str]:
    """Return the command that runs on these cores only, where this machine has taskset and more than one core."""
    if len(CORES) > 1 and shutil.which("taskset"):
        return ["taskset", "-c", ",".join(map(str, cores)), *command]
    return list(command)


def product(*arguments: str) -> list[str]:
    """Return the command line of the program under test: this checkout, this interpreter."""
    return [sys.executable, "-m", "batchrunner", *arguments]


def has_verb(name: str) -> bool:
    """Whether the program under test knows a verb; says so where it does not."""
    with workshop() as folder:
        env = product_env("http://127.0.0.1:9/v1", folder)
        asked = subprocess.run(product(name, "--help"), env=env, cwd=folder, capture_output=True, check=False)
    if asked.returncode:
        print(f"batchrunner is left out: it has no verb `{name}`\n", flush=True)
    return asked.returncode == 0


def product_env(base_url: str, home: Path) -> dict[str, str]:
    """Return an environment in which only the benchmark decides: no user files, no proxies, no other keys."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "TOGETHER_API_KEY": "bench-key",
        "TOGETHER_BASE_URL": base_url,
        "OPENAI_API_KEY": "bench-key",
    }


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path,
    output: Path,
    cores: Sequence[int] = (CLIENT_CORE,),
) -> subprocess.Popen[bytes]:
    """Start a child on the client's core, its output in a file: a pipe would have to be read while it runs."""
    with output.open("wb") as file:
        return subprocess.Popen(
            pinned(cores, command), env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def reap(process: subprocess.Popen[bytes], began: float, output: Path) -> Child:
    """Wait for a child and return what the kernel counted."""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    said = output.read_text(errors="replace")[-1500:]
    return Child(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode, said)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path,
    patience: float = 3600,
    cores: Sequence[int] = (CLIENT_CORE,),
) -> Child:
    """Run a child on the client's core to its end. Raises ChildFailed where it did not end with 0 in ``patience`` s."""
    output = cwd / "child.log"
    began, busy = time.monotonic(), sum(map(_busy, cores))
    process = start(command, env=env, cwd=cwd, output=output, cores=cores)
    watchdog = threading.Timer(patience, process.kill)
    watchdog.start()
    try:
        child = reap(process, began, output)
    finally:
        watchdog.cancel()
        if process.returncode is None:
            process.kill()
    others = max(0.0, (sum(map(_busy, cores)) - busy - child.cpu) / child.seconds / len(cores))
    child = child._replace(others=others, cores=len(cores))
    if child.code == -signal.SIGKILL and child.seconds >= patience:
        raise ChildFailed(f"not finished after {patience:.0f} s ({child.cpu:.0f} s of CPU)")
    if child.code != 0:
        raise ChildFailed(f"{shlex.join(command)}\nended with {child.code} after {child.seconds:.1f} s:\n{child.said}")
    return child


def net_rate(rows: int, run: Child, start: Child) -> float:
    """Return rows per second without the start: a lower bound, for no row is quicker than its share of CPU time.

    Raises ChildFailed for a run so short that the start is most of it.
    """
    if run.seconds < 1.5 * start.seconds:
        took = f"{rows:,} rows took {run.seconds:.2f} s, starting alone {start.seconds:.2f} s"
        raise ChildFailed(f"too few rows to tell a rate: {took}; give more rows")
    return rows / max(run.seconds - start.seconds, (run.cpu - start.cpu) / run.cores)


def quickest(runs: Sequence[Child]) -> Child:
    """Return the shortest run: of several starts the one that was disturbed least, so that too little is taken off."""
    return min(runs, key=lambda run: run.seconds)


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a temporary folder (under TMPDIR) that is gone at the end, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="batchrunner-bench-") as folder:
        yield Path(folder)


def allow_connections(wanted: int) -> None:
    """Raise the soft limit of open files for the server and for every client alike. Raises ChildFailed if it can't."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ChildFailed(f"{wanted} open files are needed, this machine allows {hard}: raise it with ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def lines_in(path: Path) -> int:
    """Count the lines of a file."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(MIB), b""))


def disk_bytes(db: Path) -> int:
    """Return what a database takes on the disk, with its write-ahead log."""
    return sum(part.stat().st_size for part in db.parent.glob(f"{db.name}*") if part.is_file())


def median(values: Sequence[float]) -> float:
    """Return the median; of one value, that value."""
    return statistics.median(values)


def _busy(core: int) -> float:
    """Return the seconds that a core has spent on anything but waiting (0 where there is no /proc)."""
    stat = Path("/proc/stat")
    lines = stat.read_text().splitlines() if stat.exists() else []
    ticks = next((line.split()[1:9] for line in lines if line.startswith(f"cpu{core} ")), ["0"] * 8)
    return sum(int(tick) for at, tick in enumerate(ticks) if at not in {3, 4}) / os.sysconf("SC_CLK_TCK")
