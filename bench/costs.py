"""How long ``costs`` takes on a ledger of a million attempts: with few tags, and with one for every line."""

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from measure import product_env, workshop
from report import header, table, verdict

from batchrunner.core.pricing import Price
from batchrunner.store.check import check
from batchrunner.store.database import open_store
from batchrunner.store.rollups import RECOUNT_TOTALS

DAYS, MODELS, JOBS, TEAMS = 30, 12, 20, 40
FIRST = 20_758 * 86_400_000_000
"""2026-11-01."""
ASKED = (
    (),
    ("--by", "model,day"),
    ("--by", "job,endpoint,outcome"),
    ("--by", "tag:team,month"),
    ("--by", "model", "--tag", "team=t7"),
    ("--month", "2026-11", "--by", "model", "--compare", "previous"),
)
SLOWER = (
    ("--by", "day", "--tz", "Europe/Berlin"),
    ("--by", "day", "--tz", "America/Los_Angeles"),
    ("--by", "model", "--reprice", "2026-12-01"),
)


def attempts(number: int, tag_sets: int) -> Iterator[Sequence[object]]:
    """Yield attempts as runs leave them: nine of ten with an answer, over a month, twelve models and twenty jobs."""
    for n in range(1, number + 1):
        day, model, job = n * DAYS // (number + 1), n % MODELS + 1, n % JOBS + 1
        opened = FIRST + day * 86_400_000_000 + n % 86_400 * 1_000_000
        kind = ("failure", "unknown", "wasted", "none", 0, 0, None) if n % 10 == 0 else None
        outcome, billing, use, source, tin, tout, cost = kind or (
            "reply", "billed", "used", "provider", 150 + n % 50, 300 + n % 90, (150 + n % 50) * 880_000
        )  # fmt: skip
        yield (
            n, n, 1, 1, job, model, n % tag_sets + 1, "/v1/chat/completions", "a@b", "live", opened, opened + 900_000,
            outcome, billing, use, source, tin, 0, tout, 0, 1, 500_000_000, cost,
        )  # fmt: skip


COLUMNS = (
    "id, request_id, n, runner_id, job_id, model_id, tag_set_id, endpoint, account, class, opened, ended, outcome,"
    " billing, use, usage_from, tin, tcached, tout, treason, rate_id, hold, cost"
)


def write(path: Path, number: int, tag_sets: int) -> None:
    """Write a ledger; its requests are left out, since no cost is read from them. Its models have a price."""
    with open_store(path) as store:
        store.add_prices([Price(provider="together", names=("org/model-*",), input=880_000, cached=440_000, output=0)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executemany(
            "INSERT INTO models (id, provider, model) VALUES (?, 'together', ?)",
            [(n, f"org/model-{n}") for n in range(1, MODELS + 1)],
        )
        connection.executemany(
            "INSERT INTO jobs (id, key, name, path, sha256, size, mtime_ns, lines, state, provider, options, tags,"
            " created) VALUES (?, ?, ?, '', '', 0, 0, 0, 'open', 'together', '{}', '{}', 0)",
            [(n, f"k{n}", f"job-{n}") for n in range(1, JOBS + 1)],
        )
        connection.executemany(
            "INSERT INTO tag_sets (id, digest, tags) VALUES (?, ?, ?)",
            [(n, n.to_bytes(8, "big"), json.dumps({"team": f"t{n}"})) for n in range(1, tag_sets + 1)],
        )
        marks = ", ".join("?" * (COLUMNS.count(",") + 1))
        connection.executemany(f"INSERT INTO attempts ({COLUMNS}) VALUES ({marks})", attempts(number, tag_sets))
        connection.execute(f"INSERT INTO totals {RECOUNT_TOTALS}")


def timed(path: Path, words: Sequence[str]) -> float:
    """Return the best of three runs, in seconds."""
    command = [sys.executable, "-m", "batchrunner", "costs", "--db", str(path), "-q", *words]
    best = 9e9
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(
            command, env=product_env("http://127.0.0.1:9", path.parent), check=True, stdout=subprocess.DEVNULL
        )
        best = min(best, time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--few-tags", action="store_true", help="leave out the ledger with another tag for every line")
    asked = parser.parse_args()
    header("costs")
    rows: list[list[str]] = []
    slowest = 0.0
    for tag_sets in (TEAMS,) if asked.few_tags else (TEAMS, asked.attempts):
        with workshop() as folder:
            path = folder / "q.db"
            write(path, asked.attempts, tag_sets)
            with closing(sqlite3.connect(path)) as connection:
                (totals,) = connection.execute("SELECT count(*) FROM totals").fetchone()
            wrong = [finding for finding in check(path) if finding.startswith("totals")]
            for words in (*ASKED, *SLOWER):
                seconds = timed(path, words)
                if tag_sets == TEAMS and words in ASKED:
                    slowest = max(slowest, seconds)
                shown = " ".join(("costs", *words))
                print(f"{tag_sets:,} tag sets: {shown}: {seconds:.2f} s", file=sys.stderr)
                rows.append([f"{tag_sets:,}", f"{totals:,}", shown, f"{seconds:.2f} s", f"{len(wrong)} wrong"])
    table(["tag sets", "rows of totals", "command", "time", "db check"], rows)
    verdict("the slowest of them, few tags", slowest, 1, at_most=True, unit=" s")
    return 0 if slowest < 1 else 1


if __name__ == "__main__":
    sys.exit(main())
