"""The one checker of the invariants: what must hold after every scenario, whatever went wrong in it.

``broken(...)`` is a plain function: hand it what the scenario left behind, and it returns every breach as a line that
begins with the invariant's name. What the product itself can show (I1, I3, I4, I7, money) is ``batchrunner.api.audit``;
what only an onlooker can know (acknowledged answers, stop lines, the key, memory, windows, exit codes) is here::

    assert broken(Scenario(db=db, calls=box.calls(), job=job, outputs=[out], code=ended.code, err=ended.err)) == []

Only ``db`` and ``calls`` are needed; every further field that is given is held to its invariant. The ledger of a
simulator in another process is read by ``batchrunner.simulator.read_ledger(path)``. Say ``running=True`` while a runner
lives, and where it was killed and nobody has taken over: what it left open is no breach then. For a soak, keep what an
export showed in ``acknowledged`` (answers by custom id) and hand it in after every later kill.

I1   rows = lines of the job file, each in one state, nothing open when no runner lives
I2   what was acknowledged (seen, exported) is there, byte for byte
I3   an answer belongs to its row
I4   both ledgers hold the same calls, tokens and money
I5   no call after the line at which the run was stopped
I6   the key is in no file, no word that was said, no command line
I7   the database is sound
I8   memory stays below its bound
I9   in every window no more calls than the limit allows
I10  the exit code and the last words are the ones for what happened
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from batchrunner.api.audit import audit, shown
from batchrunner.simulator import Entry, worst_window

WORK_LEFT = {1, 4, 6, 7, 8, 74, 130, 143}
"""Exit codes after which rows may be queued still."""
INSIDES = ("Traceback", "Exception ignored", "a bug in batchrunner")
SHUTTING = 0.5
"""Seconds that a call may be on its way when the stop line is drawn."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a scenario left behind; what is not given is not looked at."""

    db: Path
    calls: Sequence[Entry]
    """The provider's ledger."""
    job: Path | None = None
    """The job file that is the whole of the queue."""
    outputs: Sequence[Path] = ()
    """Results files, good and bad ones, written after the last run."""
    running: bool = False
    """A runner lives still."""
    acknowledged: Mapping[str, bytes] = field(default_factory=dict)
    """Answers by custom id, as anyone saw them before."""
    stopped: float | None = None
    """Unix seconds at which a stop, a pause or a budget was to end all calls."""
    after_stop: int = 0
    """Calls that may have arrived after it."""
    folders: Sequence[Path] = ()
    """Where the program wrote and its words went."""
    key: str | None = None
    peak_bytes: int | None = None
    most_bytes: int = 200 << 20
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Requests a second and burst, by model."""
    code: int | None = None
    """How the last run ended."""
    expected: Iterable[int] | None = None
    err: str = ""
    """What it said."""


def broken(scenario: Scenario) -> list[str]:
    """Every breach, as lines; empty where all invariants hold."""
    return [
        *shown(audit(scenario.db, scenario.calls, running=scenario.running)),
        *(f"I1: {breach}" for breach in lines_lost(scenario)),
        *(f"I2: {breach}" for breach in answers_lost(scenario)),
        *(f"I5: {breach}" for breach in calls_after_the_stop(scenario)),
        *(f"I6: {breach}" for breach in leaks(scenario)),
        *(f"I7: {breach}" for breach in damage(scenario)),
        *(f"I8: {breach}" for breach in memory(scenario)),
        *(f"I9: {breach}" for breach in windows(scenario)),
        *(f"I10: {breach}" for breach in ending(scenario)),
    ]


def ask(db: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def states(scenario: Scenario) -> dict[str, str]:
    """State by custom id."""
    return dict(ask(scenario.db, "SELECT custom_id, state FROM requests"))


def lines_lost(scenario: Scenario) -> Iterator[str]:
    if scenario.job is None:
        return
    wanted = Counter(json.loads(line)["custom_id"] for line in scenario.job.read_bytes().splitlines() if line.strip())
    there = Counter(custom_id for (custom_id,) in ask(scenario.db, "SELECT custom_id FROM requests"))
    if wanted != there:
        odd = list((wanted - there) + (there - wanted))[:5]
        yield f"{sum(there.values())} rows for {sum(wanted.values())} lines: {odd}"
    for state, kept, counted in ask(
        scenario.db,
        "SELECT c.state, sum(c.n), (SELECT count(*) FROM requests r WHERE r.state = c.state) FROM counts c GROUP BY 1",
    ):
        if kept != counted:
            yield f"{kept} rows are counted as {state}, and {counted} are"


def answers_lost(scenario: Scenario) -> Iterator[str]:
    answers = dict(
        ask(
            scenario.db,
            "SELECT r.custom_id, p.body FROM requests AS r JOIN responses AS p"
            " ON p.request_id = coalesce(r.copy_of, r.id)",
        )
    )
    for custom_id, body in scenario.acknowledged.items():
        if answers.get(custom_id) != body:
            yield f"the answer of {custom_id} was seen, and is {'gone' if custom_id not in answers else 'another one'}"
    found: Counter[str] = Counter()
    for path in scenario.outputs:
        for line in map(json.loads, path.read_bytes().splitlines() if path.exists() else ()):
            found[line["custom_id"]] += 1
            if line["error"] is None and line["response"]["body"] != json.loads(answers.get(line["custom_id"], b"0")):
                yield f"{path.name} holds another answer of {line['custom_id']} than the database"
    if scenario.outputs and found != Counter(states(scenario).keys()):
        yield f"the outputs hold {sum(found.values())} outcomes of {len(states(scenario))} rows"


def calls_after_the_stop(scenario: Scenario) -> Iterator[str]:
    if scenario.stopped is None:
        return
    late = [call for call in scenario.calls if call.method == "POST" and call.wall > scenario.stopped + SHUTTING]
    if len(late) > scenario.after_stop:
        yield f"{len(late)} calls arrived after the stop, the last {late[-1].wall - scenario.stopped:.1f} s after it"


def needles(key: str) -> tuple[bytes, ...]:
    """The key as it is, as wide characters, and the better part of it."""
    return key.encode(), key.encode("utf-16-le"), key[3:-4].encode()


def leaks(scenario: Scenario) -> Iterator[str]:
    """Every file, raw bytes of the database and its companions among them, and every command line with the key."""
    if scenario.key is None:
        return
    paths = [path for folder in scenario.folders for path in folder.rglob("*") if path.is_file()]
    if not paths:
        yield "there was no file to look into: the check checks nothing"
    for path in [*paths, *Path("/proc").glob("[0-9]*/cmdline")]:
        try:
            data = path.read_bytes()
        except OSError:
            continue  # a process that has ended meanwhile, or somebody else's
        if any(needle in data for needle in needles(scenario.key)):
            yield f"the key is in {path}"


def damage(scenario: Scenario) -> Iterator[str]:
    """What SQLite's slow and thorough check finds beyond the program's own quick one."""
    if (found := ask(scenario.db, "PRAGMA integrity_check")) != [("ok",)]:
        yield f"{found[:3]}"


def memory(scenario: Scenario) -> Iterator[str]:
    if scenario.peak_bytes is not None and scenario.peak_bytes > scenario.most_bytes:
        yield f"{scenario.peak_bytes >> 20} MiB at the peak, {scenario.most_bytes >> 20} MiB allowed"


def windows(scenario: Scenario) -> Iterator[str]:
    for model, (rate, burst) in scenario.limits.items():
        calls = [(call.time, 1.0) for call in scenario.calls if call.model == model and call.processed]
        worst = worst_window(calls, rate, burst)
        if worst.excess > 1e-6:
            yield f"{model}: {worst.amount:g} calls in {worst.end - worst.start:.3f} s, {worst.excess:g} too many"


def ending(scenario: Scenario) -> Iterator[str]:
    if scenario.code is None:
        return
    if scenario.expected is not None and scenario.code not in scenario.expected:
        yield f"it ended with {scenario.code}: {scenario.err[-300:]}"
    found = Counter(states(scenario).values())
    left, bad = found["queued"] + found["running"], found["failed"] + found["quarantined"]
    if scenario.code == 0 and (left or bad):
        yield f"it ended with 0, and {left} rows are left, {bad} failed"
    if scenario.code == 3 and (left or not bad):
        yield f"it ended with 3 (some failed), and {left} rows are left, {bad} failed"
    if scenario.code not in WORK_LEFT | {0, 3}:
        yield f"{scenario.code} is no code for the end of a run"
    if scenario.code and not scenario.err.strip():
        yield "it ended badly without a word"
    yield from (f"it showed its insides: {mark}" for mark in INSIDES if mark in scenario.err)
