"""``make soak``: hours of mixed faults, kills, stops and outages against one checker of the invariants.

    python -m tests.soak --minutes 5
    python -m tests.soak --hours 3 --write        (figures into docs/reliability.md)

It runs the real command line in real processes against the simulator in another one. Ctrl-C ends it with a report of
what was seen so far. Exit code 1 on any breach, 130 if it was ended early without one.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.place import ROOT
from tests.soak import acts
from tests.soak.acts import Soak
from tests.soak.report import page, report

SHORT = 900.0
"""Seconds below which a soak has fewer kills, and no simulation of the long outage."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Hours of faults and kills.")
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=0.0, help="neither given: three hours")
    parser.add_argument("--seed", type=int, default=None, help="another night; by default a new one each time")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    parser.add_argument("--folder", type=Path, default=None, help="where the databases live while they are worked on")
    given = parser.parse_args()
    seconds = given.hours * 3600 + given.minutes * 60 or 3 * 3600.0
    seed = random.SystemRandom().randrange(1, 10**6) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="batchrunner-soak-", dir=given.folder))
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - began:7.0f} s] {line}", file=sys.stderr, flush=True)

    soak = Soak(folder, seed, seconds, tell)
    tell(f"{seconds / 60:.0f} minutes, seed {seed}, in {folder}")
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it in the background, deaf to Ctrl-C
        signal.signal(number, signal.default_int_handler)
    simulated: tuple[int, str] | None = None
    early = False
    try:
        night(soak)
        if seconds >= SHORT and (ROOT / "bench" / "outage.py").exists():
            tell("the long outage in made-up time: 240,000 rows")
            simulated = acts.virtual_outage(ROOT, sys.executable)
    except KeyboardInterrupt:
        early = True
        tell("ended early")
    said = report(soak, seconds, simulated, early=early)
    print(said)
    if given.write:
        page(said)
    failed = bool(soak.broken) or (simulated is not None and simulated[0] != 0)
    if not soak.kept:
        folder.rmdir()
    return 1 if failed else 130 if early else 0


def night(soak: Soak) -> None:
    """The acts, by their share of the time. The mixed one fills whatever is left of it."""
    seconds = soak.seconds
    soak.tell(f"kill -9 cycles in quick succession: {cycles(seconds)}")
    acts.quick_kills(soak, cycles(seconds))
    acts.endings(soak)
    acts.outage(soak, min(1_800.0, seconds / 9), "refused")
    acts.endurance(soak, min(1_200.0, seconds / 5))
    acts.mixed(soak, min(600.0, seconds / 10), between(seconds))
    acts.outage(soak, min(600.0, seconds / 30), "503")
    turn = 0
    while soak.left > 30:
        turn += 1
        if turn % 4 == 0 and soak.left > 600:
            acts.endurance(soak, min(1_200.0, soak.left / 2))
        else:
            acts.mixed(soak, soak.left, between(seconds))


def cycles(seconds: float) -> int:
    """How many kills in quick succession: 200 from half an hour on."""
    return 200 if seconds >= 1_800 else max(10, int(seconds / 15))


def between(seconds: float) -> float:
    """Seconds between two kills of the mixed act, on average."""
    return max(8.0, min(240.0, seconds / 30))


if __name__ == "__main__":
    sys.exit(main())
