"""How long `batchrunner report` takes, and how large its page is: a month of 100,000 requests to 12 models."""

import argparse
from pathlib import Path

from bigledger import make
from measure import ChildFailed, median, product, product_env, run, workshop
from report import header, table, verdict

SECONDS, BYTES = 5.0, 500_000
"""Targets."""


def main() -> None:
    """Make a ledger, and its report several times."""
    parser = argparse.ArgumentParser(description="Measure the cost report.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tz", default="UTC", help="days of another time zone are counted from the attempts")
    given = parser.parse_args()
    header(f"The report of {given.rows:,} requests, {given.days} days, {given.models} models")
    with workshop() as folder:
        calls = make(folder / "queue.db", rows=given.rows, days=given.days, models=given.models)
        runs = [_report(folder, given.tz) for _ in range(given.repeats)]
        size = (folder / "report.html").stat().st_size
    rows = [(f"{one.seconds:.2f}", f"{one.cpu:.2f}", f"{one.rss:.0f}") for one in runs]
    table(("seconds", "CPU seconds", "peak memory, MiB"), rows)
    verdict(f"{calls:,} calls to a page", median([one.seconds for one in runs]), SECONDS, at_most=True, unit=" s")
    verdict("the page", size / 1000, BYTES / 1000, at_most=True, unit=" kB")


def _report(folder: Path, zone: str):
    """Make the report once. Exits with what it said where it failed."""
    command = product("report", "--db", str(folder / "queue.db"), "-o", str(folder / "report.html"), "--tz", zone)
    try:
        return run(command, env=product_env("http://127.0.0.1:9/v1", folder), cwd=folder, patience=600)
    except ChildFailed as failed:
        raise SystemExit(f"the report failed: {failed.shortly()}") from None


if __name__ == "__main__":
    main()
