"""Replays a seed, or runs many.

``python -m tests.simulation night --seed 7``, ``python -m tests.simulation night --seeds 10000``,
``python -m tests.simulation limits --seed 7 --headers together --retry-after``,
``python -m tests.simulation strays --seed 7 --share 0.02 --retry-after``.
"""

import argparse
import sys

from tests.simulation.night import night
from tests.simulation.scenarios import moving_limit, outage, sdk_outage, strays


def _limits(given, seed):
    found = moving_limit(seed, headers=given.headers, retry_after=given.retry_after)
    return f"used {found.used:.1%}, refused {found.refused:.2%}, failed {found.failed_rows}", found.holds(
        headers=given.headers
    )


def _strays(given, seed):
    found = strays(seed, share=given.share, retry_after=1.0 if given.retry_after else None, seconds=given.latency)
    return f"{found.pace:.1f} of {found.obedient:.1f} a second, {found.share:.0%}", found.holds()


def _outage(given, seed):
    found = outage(seed, rows=given.rows, adaptive=given.adaptive)
    speed = "never" if found.to_full_speed is None else f"{found.to_full_speed:.0f} s"
    return (
        f"{found.failed_rows} rows failed, {found.failing_calls:,} failing calls, full speed after {speed}, "
        f"longest gap {found.longest_gap:.1f} s, {found.minutes:.1f} min",
        found.holds(),
    )


def _sdk(given, seed):
    found = sdk_outage(seed, rows=given.rows)
    return f"{found.failed_rows:,} rows failed, {found.failing_calls:,} failing calls, {found.minutes:.1f} min", True


def _night(_given, seed):
    found = night(seed)
    rows = ", ".join(f"{count} {state}" for state, count in sorted(found.states.items()))
    told = "".join(f"\n  {problem}" for problem in found.problems)
    return f"{found.calls} calls, {rows}, {found.deaths} deaths, {found.hours:.1f} h{told}", not found.problems


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("scenario", choices=["night", "limits", "strays", "outage", "sdk"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--headers", choices=["none", "together", "openai"], default="none")
    parser.add_argument("--retry-after", action="store_true")
    parser.add_argument("--share", type=float, default=0.02, help="of the calls that are refused at random")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds of a call that meets strays")
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--adaptive", action="store_true", help="learn the concurrency too")
    given = parser.parse_args()
    play = {"night": _night, "limits": _limits, "strays": _strays, "outage": _outage, "sdk": _sdk}[given.scenario]
    failed = 0
    for seed in range(given.seed, given.seed + given.seeds):
        text, holds = play(given, seed)
        failed += not holds
        print(f"seed {seed}: {text}{'' if holds else '   FAILED'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
