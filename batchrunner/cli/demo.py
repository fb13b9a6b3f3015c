"""``demo``: the whole thing in 20 seconds, against the provider in a box: a kill, a resume, a bill, an audit."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from batchrunner.cli.audit import Books, Killed, audit
from batchrunner.cli.options import verb
from batchrunner.cli.proving import environment
from batchrunner.cli.render import talk
from batchrunner.cli.text import plural, safe
from batchrunner.config import Loaded, load_settings
from batchrunner.core.errors import BatchrunnerError, ConfigurationError, ExitCode

if TYPE_CHECKING:
    from batchrunner.simulator import Ledger

BOX: Final[dict[str, Any]] = {
    "latency": 0.5,
    "latency_jitter": 0.5,
    "tokens_per_second": 150.0,
    "requests_per_minute": 720.0,
    "faults": {"429": 0.04, "500": 0.03, "503": 0.02, "reset_before": 0.01},
    "seed": 7,
}
"""The provider: an everyday latency, a limit of 12 calls a second for each model, and a bad day."""

KILL_AT: Final = 0.4
"""The share of the rows that is answered when the first run is killed."""
PATIENCE: Final = 60.0
"""Seconds within which the first run must get there."""
LOOK_EVERY: Final = 0.02
KEY: Final = "demo-no-real-key"
BILL: Final = "bill.html"


class Stage(NamedTuple):
    """Where the demo plays."""

    folder: Path
    jobs: Path
    out: Path
    db: Path
    environment: dict[str, str]


@verb()
@click.option("--dir", "directory", metavar="FOLDER", help="A new folder.  [default: batchrunner-demo]")
def command(loaded: Loaded, directory: str | None) -> int:
    """See it work in 20 seconds: no key, no network, no cost.

    A provider in a box serves on this machine, with limits and faults. 200 requests run against it, are killed half-way
    with kill -9, and resumed. Then the bill, and an audit: do the provider's books and ours agree? The exit code is 0
    only if they do.

    \b
    Examples:
      batchrunner demo
      batchrunner demo --dir /tmp/look
    """
    folder = _new_folder(directory)
    jobs = Path(shutil.copy(packaged("quickstart.jsonl"), folder))
    with _terminable(), _provider(folder / "provider.jsonl") as (url, ledger):
        stage = Stage(folder, jobs, folder / "out.jsonl", folder / "batchrunner.db", environment(url, folder, KEY))
        rows = sum(1 for line in jobs.read_bytes().splitlines() if line.strip())
        quiet = loaded.settings.quiet
        talk(
            f"A provider in a box on {url}: 12 calls a second for each model, one call in ten goes wrong.", quiet=quiet
        )
        killed = _first_run(loaded, stage, ledger, rows)
        talk("\nThe same command again goes on where it stopped:", quiet=quiet)
        code = _finish(_batchrunner(loaded, stage, *_run_words(stage)))
        _bill(loaded, stage)
        good = _audit(loaded, stage, ledger, rows, killed) and code == ExitCode.OK
    _farewell(loaded, stage)
    if code != ExitCode.OK:
        talk(f"error: the second run ended with exit code {code}")
    return ExitCode.OK if good else ExitCode.BUG


def packaged(name: str) -> Path:
    """Return a job file that comes with the program: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "jobs", package.parent / "jobs"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(f"{name} did not come with this installation", hint="install batchrunner again")


def _new_folder(directory: str | None) -> Path:
    """Make the folder of this demo; nothing that is there is touched."""
    if directory is not None:
        names = iter([Path(directory)])
    else:
        names = (Path("batchrunner-demo" + (f"-{number}" if number > 1 else "")) for number in range(1, 1000))
    for path in names:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigurationError(
                f"can't make the folder {path}: {error.strerror}", hint="give another one with --dir"
            ) from error
        return path.resolve()
    raise ConfigurationError(f"{directory or Path.cwd()} is taken", hint="give a new folder with --dir")


@contextmanager
def _provider(books: Path) -> Iterator[tuple[str, "Ledger"]]:
    """Serve the provider in a box from a thread of this process: kill -9 hits the run, not the provider."""
    from anyio.from_thread import start_blocking_portal

    from batchrunner.simulator import Ledger, Provider, Settings, serve

    provider = Provider(Settings(**BOX), ledger=Ledger(books))
    with start_blocking_portal() as portal:
        serving = portal.wrap_async_context_manager(serve(provider))
        url = serving.__enter__()
        try:
            yield url, provider.ledger
        finally:
            serving.__exit__(None, None, None)  # what ends the demo is not the provider's business


def _run_words(stage: Stage) -> tuple[str, ...]:
    return ("run", stage.jobs.name, "-o", stage.out.name, "--yes")


def _batchrunner(loaded: Loaded, stage: Stage, *words: str, quiet: bool = False) -> "subprocess.Popen[bytes]":
    """Start a command in the demo's folder, on this terminal."""
    shown = ["--quiet"] if quiet or loaded.settings.quiet else ["--progress", loaded.settings.progress]
    talk(f"\n$ batchrunner {' '.join(words)}", quiet=loaded.settings.quiet)
    sys.stdout.flush()
    return subprocess.Popen(  # noqa: S603 - this program itself, with words of ours
        [sys.executable, "-m", "batchrunner", *words, *shown], cwd=stage.folder, env=stage.environment
    )


def _finish(child: "subprocess.Popen[bytes]") -> int:
    """Wait for a child's end and return its exit code; whatever ends the demo ends the child: its provider is gone."""
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the demo as Ctrl-C does."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_run(loaded: Loaded, stage: Stage, ledger: "Ledger", rows: int) -> Killed:
    """Run until a good part is answered, then kill -9; return what was open."""
    child = _batchrunner(loaded, stage, *_run_words(stage))
    try:
        deadline = time.monotonic() + PATIENCE
        while child.poll() is None and not (ledger.totals["billed"] >= rows * KILL_AT and ledger.in_flight):
            if time.monotonic() > deadline:
                raise BatchrunnerError(
                    f"after {PATIENCE:.0f} seconds the first run had not got far enough to be killed"
                )
            time.sleep(LOOK_EVERY)
        if child.poll() is not None:
            raise BatchrunnerError(f"the first run ended by itself, with exit code {child.returncode}")
    finally:
        child.kill()
        child.wait()
    if sys.stderr.isatty():
        click.echo("\x1b[?25h", err=True)  # the live view had hidden the cursor, and had no time to show it again
    killed = _open_calls(stage)
    talk(
        f"\nkill -9 {child.pid}: {killed.answered:,} of {plural(rows, 'row')} were answered and on the disk,"
        f" {plural(killed.open, 'call')} open",
        quiet=loaded.settings.quiet,
    )
    return killed


def _open_calls(stage: Stage) -> Killed:
    """Read what the dead run left, beside nobody."""
    from batchrunner.api import reads

    with reads(_settings(stage)) as queue:
        counts = queue.status(stage.jobs.stem).counts
    return Killed(answered=counts.succeeded, open=counts.running)


def _settings(stage: Stage) -> Loaded:
    return load_settings({"db": str(stage.db)}, {}, stage.folder, None)


def _bill(loaded: Loaded, stage: Stage) -> None:
    if not loaded.settings.quiet:
        _finish(_batchrunner(loaded, stage, "costs", "--by", "model", quiet=True))
    _finish(_batchrunner(loaded, stage, "report", "-o", BILL))


def _audit(loaded: Loaded, stage: Stage, ledger: "Ledger", rows: int, killed: Killed) -> bool:
    """Compare the provider's books with ours, and say what was found."""
    from batchrunner.api import reads

    with reads(_settings(stage)) as queue:
        cost = queue.costs()[0]
    talk("\nDo the provider's books and ours agree?", quiet=loaded.settings.quiet)
    findings = audit(Books.read(ledger.entries, stage.out), rows=rows, attempts=cost.attempts, killed=killed)
    for agreed, words in findings:
        talk(f"  {'yes' if agreed else 'NO '}  {words}", quiet=loaded.settings.quiet and agreed)
    return all(agreed for agreed, _ in findings)


def _farewell(loaded: Loaded, stage: Stage) -> None:
    quiet = loaded.settings.quiet
    talk(f"\nAll is in {stage.folder}: {stage.out.name} has the answers, {BILL} the bill as a page.", quiet=quiet)
    talk("With a key of your own, the real thing is:", quiet=quiet)
    for line in (
        "export TOGETHER_API_KEY=...",
        "batchrunner doctor",
        f"batchrunner run {_shown(stage.jobs)} -o out.jsonl",
    ):
        talk(f"  {line}", quiet=quiet)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return safe(str(path.relative_to(here) if path.is_relative_to(here) else path))
