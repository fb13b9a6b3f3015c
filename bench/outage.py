"""What half an hour of outage costs, by our policy and by the official SDKs', on one trace in made-up time.

2 s calls, 200 in flight, the service gone for 30 minutes after the first; what is in the air then is reset.
"""

import argparse
import sys
import time

from measure import ROOT
from report import header, table

sys.path.insert(0, str(ROOT))

from tests.simulation.scenarios import Survived, outage, sdk_outage


def row(name: str, found: Survived, rows: int, took: float) -> tuple[str, ...]:
    """One line of the table."""
    speed = "never" if found.to_full_speed is None else f"{found.to_full_speed:.0f} s"
    lost = f"{found.failed_rows:,} ({found.failed_rows / rows:.0%})"
    return name, lost, f"{found.failing_calls:,}", speed, f"{found.minutes:.1f} min", f"{took:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[24_000, 240_000])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    held = True
    for rows in given.rows:
        lines = []
        for name, play in (
            ("batchrunner, 200 fixed", lambda: outage(given.seed, rows=rows)),  # noqa: B023 - called at once
            ("batchrunner, auto", lambda: outage(given.seed, rows=rows, adaptive=True)),  # noqa: B023 - called at once
            ("official SDKs (2 retries)", lambda: sdk_outage(given.seed, rows=rows)),  # noqa: B023 - called at once
        ):
            begin = time.perf_counter()
            found = play()
            lines.append(row(name, found, rows, time.perf_counter() - begin))
            held = held and (found.holds() or name.startswith("official"))
        print(f"\n{rows:,} rows, seed {given.seed}:\n")
        table(("policy", "rows failed", "failing calls", "full speed after", "whole job", "simulated in"), lines)
    return 0 if held else 1


if __name__ == "__main__":
    header("An outage of 30 minutes")
    sys.exit(main())
