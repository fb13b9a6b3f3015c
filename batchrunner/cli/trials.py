"""The trials of ``selftest``: each one does its worst to a run, and says what still held."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from batchrunner.api.audit import Claim, audit
from batchrunner.api.books import Sheet, answers_in, results_apart
from batchrunner.cli.proving import MODELS, Bench, Ended, bench
from batchrunner.cli.text import plural
from batchrunner.core.errors import ExitCode

if TYPE_CHECKING:
    from batchrunner.simulator import Entry, Window

SLACK: Final = 64
"""Attempts that may be open beyond the concurrency, as the program promises."""
START_SECONDS: Final = 5.0
"""Within so many seconds a run that follows a kill makes its first call, on a busy machine too."""
LAG: Final = 0.1
"""Seconds by which a busy provider may see a call late: what is sent evenly then arrives in a bunch."""
SHUTTING: Final = 0.5
"""Seconds that a call may be on its way when the stop line is drawn."""


class Proof(NamedTuple):
    """One claim about the program, put to the test on this machine."""

    claim: str
    figure: str
    """What was measured."""
    breaches: tuple[str, ...] = ()
    """Why it did not hold, each in words."""

    @property
    def held(self) -> bool:
        """Whether nothing spoke against it."""
        return not self.breaches


class Trial(NamedTuple):
    """What one trial brought."""

    proofs: list[Proof]
    claims: list[Claim]
    """What both ledgers, the database and the results say of each other afterwards."""


Play = Callable[[Path, str], Trial]


def unless(held: bool, breach: str) -> tuple[str, ...]:
    """Return a breach, where there is one."""
    return () if held else (breach,)


def failed_rows(made: Bench) -> int:
    """Count the rows that were given up."""
    return sum(row.state == "failed" for row in Sheet(made.db, ()).rows.values())


def books_after(made: Bench, ended: Ended, *expected: ExitCode) -> list[Claim]:
    """Hold all books against each other after a run's end, its exit code among them."""
    calls = made.box.calls()
    odd = unless(ended.code in expected, f"it ended with {ended.code}: {ended.said[-300:].strip()}")
    if "Traceback" in ended.said:
        odd = (*odd, "it showed its insides")
    return [
        *audit(made.db, calls),
        Claim("I2", "results are the database's", tuple(results_apart(made.db, made.out))),
        Claim("I10", "exit codes and last words", odd),
    ]


def killed(root: Path, key: str) -> Trial:
    """Five kill -9 amid a run."""
    rows, kills, wide = 500, 5, 24
    seen: dict[int, bytes] = {}
    starts: list[float] = []
    words = b""
    with bench(root, "killed", key, "--latency", "200ms") as made:
        made.write(rows)
        for _ in range(kills):
            before = made.box.arrived()
            life = made.start("--concurrency", str(wide))
            made.box.await_calls(before + rows // (kills + 2))
            seen.update(answers_in(made.db))
            words += life.command_line()
            life.kill()
            starts.append(made.box.calls()[before].wall - life.started)
        ended = made.start("--concurrency", str(wide)).end()
        claims = books_after(made, ended, ExitCode.OK)
        now = answers_in(made.db)
        sheet = Sheet(made.db, made.box.calls())
    gone = [sheet.label(request_id) for request_id, body in seen.items() if now.get(request_id) != body]
    lost = sum(attempt.outcome == "lost" for attempt in sheet.attempts.values())
    unpriced = sum(attempt.outcome == "lost" and attempt.hold is None for attempt in sheet.attempts.values())
    most = kills * (wide + SLACK)
    return Trial(
        [
            Proof(
                "an answer that was recorded is never lost",
                f"{kills} x kill -9: {plural(len(seen), 'answer')} seen before, {len(gone)} lost",
                tuple(f"the answer of {label} is gone" for label in gone[:5]),
            ),
            Proof(
                "calls that a kill may have wasted are few, counted and priced",
                f"{lost} of at most {most}, {lost - unpriced} priced",
                (*unless(lost <= most, f"{lost} lost calls"), *unless(not unpriced, f"{unpriced} without a price")),
            ),
            Proof(
                "the same command goes on at once",
                f"first call after {max(starts[1:]):.1f} s at the latest",
                unless(max(starts[1:]) < START_SECONDS, f"it took more than {START_SECONDS:g} s"),
            ),
            Proof(
                "the key is on no command line",
                f"{len(words)} bytes seen in the list of processes" if words else "this system does not show them",
                unless(key.encode() not in words, "the key is on the command line of a run"),
            ),
        ],
        claims,
    )


def stopped(root: Path, key: str) -> Trial:
    """Ctrl-C, and the same command again."""
    rows, wide = 150, 16
    with bench(root, "stopped", key, "--latency", "400ms") as made:
        made.write(rows)
        life = made.start("--concurrency", str(wide))
        made.box.await_calls(rows // 3)
        life.signal(signal.SIGINT)
        line = time.time()
        ended = life.end()
        took = time.time() - line
        calls = made.box.calls()
        late = sum(call.wall > line + SHUTTING for call in calls)
        claims = books_after(made, ended, ExitCode.INTERRUPTED)
        claims += books_after(made, made.start("--concurrency", str(wide)).end(), ExitCode.OK)
    unread = sum(not call.written for call in calls)
    return Trial(
        [
            Proof(
                "Ctrl-C lets calls in flight finish and starts no other",
                f"ended {took:.1f} s later with exit {ended.code}; {plural(late, 'call')} after it, {unread} dropped",
                (*unless(not late, f"{late} calls after the stop"), *unless(not unread, f"{unread} calls dropped")),
            )
        ],
        claims,
    )


def limited(root: Path, key: str) -> Trial:
    """A limit on requests, across a kill."""
    rows, rate = 160, 20.0
    flags = ("--rpm", str(int(rate * 60)), "--concurrency", "16")
    with bench(root, "limited", key, "--latency", "100ms") as made:
        made.write(rows)
        life = made.start(*flags)
        made.box.await_calls(rows // 3)
        life.kill()
        claims = books_after(made, made.start(*flags).end(), ExitCode.OK)
        calls = made.box.calls()
    worst = max((_worst(calls, model, rate) for model in MODELS), key=lambda window: window.excess)
    allowed = worst.amount - worst.excess
    return Trial(
        [
            Proof(
                "a limit holds in every window, across kills",
                f"{rate * 60:,.0f} a minute: at worst {worst.amount:.0f} calls where {allowed:.1f} may be",
                unless(worst.excess <= 1 + rate * LAG, f"{worst.excess:.1f} calls too many in one window"),
            )
        ],
        claims,
    )


def _worst(calls: "Iterable[Entry]", model: str, rate: float) -> "Window":
    """Return the fullest window, by arrival."""
    from batchrunner.simulator import worst_window

    return worst_window([(call.time, 1.0) for call in calls if call.model == model], rate, rate)


def revoked(root: Path, key: str) -> Trial:
    """A key that is revoked amid a run, and works again later."""
    rows, wide, good = 300, 16, 100
    with bench(root, "revoked", key, "--latency", "100ms", "--revoke-after", str(good)) as made:
        made.write(rows)
        ended = made.start("--concurrency", str(wide)).end()
        refused = sum(call.status == 401 for call in made.box.calls())
        failed = failed_rows(made)
        claims = books_after(made, ended, ExitCode.AUTH)
        made.box.change(revoke_after=None)
        claims += books_after(made, made.start("--concurrency", str(wide)).end(), ExitCode.OK)
    return Trial(
        [
            Proof(
                "a revoked key stops the run and fails no row",
                f"{rows - good} rows left: {refused} refused calls of at most {wide + 2}, {failed} rows failed",
                (
                    *unless(refused <= wide + 2, f"{refused} calls with a refused key"),
                    *unless(not failed, f"{failed} rows failed"),
                ),
            )
        ],
        claims,
    )


SOUND: Final[tuple[Play, ...]] = (killed, stopped, limited, revoked)


def leaks(root: Path, key: str) -> Iterator[str]:
    """Return every file that holds the key: databases as raw bytes, results, words said, the provider's own books."""
    needles = (key.encode(), key.encode("utf-16-le"))
    for path in sorted(root.rglob("*")):
        if path.is_file() and any(needle in path.read_bytes() for needle in needles):
            yield f"the key is in {path}"
