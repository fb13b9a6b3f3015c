"""The trials of ``selftest --faults``: what networks and services do on their worst days."""

import time
from pathlib import Path
from typing import Final

from batchrunner.cli.proving import bench
from batchrunner.cli.text import plural
from batchrunner.cli.trials import Play, Proof, Trial, books_after, failed_rows, unless
from batchrunner.core.errors import ExitCode

MOST_BYTES: Final = 200 << 20
LATENCY: Final = "400ms"
"""Well above the quarter of a second within which a broken connection that was in use looks like one closed idle."""
MIXED: Final = {
    "429": 0.02, "500": 0.005, "503": 0.01, "502html": 0.003, "reset_before": 0.005, "reset_mid": 0.002,
    "close_before": 0.002, "truncate": 0.002, "chunk_cut": 0.002, "no_length_cut": 0.002, "gzip": 0.002,
    "two_lengths": 0.002, "short_length": 0.002, "stray": 0.01, "double": 0.004, "truncated_json": 0.002,
    "html200": 0.002, "no_usage": 0.01, "absurd_usage": 0.01, "billed500": 0.002, "keepalive_race": 0.02,
}  # fmt: skip
"""Kinds of faults and their shares in a very bad night."""


def faulty(root: Path, key: str) -> Trial:
    """A bit of everything that a network and a service can do."""
    rows = 1200
    faults = ",".join(f"{kind}={share}" for kind, share in MIXED.items())
    with bench(root, "faulty", key, "--latency", LATENCY, "--faults", faults) as made:
        made.write(rows, max_tokens=16)
        ended = made.start("--concurrency", "64").end()
        claims = books_after(made, ended, ExitCode.OK)
        calls = made.box.calls()
        failed = failed_rows(made)
    struck = sum(call.fault is not None for call in calls)
    told = f"{plural(struck, 'fault')} of {len({call.fault for call in calls} - {None})} kinds in {len(calls):,} calls"
    return Trial(
        [
            Proof(
                "faults of network and service fail no row",
                f"{told}, {failed} of {rows:,} rows failed",
                unless(not failed, f"{failed} rows failed"),
            )
        ],
        claims,
    )


def strayed(root: Path, key: str) -> Trial:
    """Ten thousand calls over connections that stray and race."""
    rows = 10_000
    with bench(root, "strayed", key, "--faults", "stray=0.01,keepalive_race=0.05") as made:
        made.write(rows, max_tokens=8)
        claims = books_after(made, made.start("--concurrency", "48").end(), ExitCode.OK)
        calls = made.box.calls()
        mixed_up = [claim for claim in claims if claim.name == "I3"]
        failed = failed_rows(made)
    strays, races = (sum(call.fault == kind for call in calls) for kind in ("stray", "keepalive_race"))
    wrong = tuple(breach for claim in mixed_up for breach in claim.broken)
    return Trial(
        [
            Proof(
                "no answer lands on another row",
                f"{rows:,} rows, {strays} stray answers: {len(wrong)} on a wrong row",
                (*wrong, *unless(strays > 0, "no answer strayed")),
            ),
            Proof(
                "a connection closed under us fails no row",
                f"{races} races in {len(calls):,} calls, {failed} rows failed",
                (*unless(not failed, f"{failed} rows failed"), *unless(races > 0, "nothing raced")),
            ),
        ],
        claims,
    )


def bombed(root: Path, key: str) -> Trial:
    """Sixty-four decompression bombs of 512 MiB at once."""
    bombs = 64
    with bench(root, "bombed", key, "--latency", "300ms", "--faults", "bomb=1") as made:
        made.write(bombs)
        life = made.start("--concurrency", str(bombs))
        made.box.await_calls(bombs)
        made.box.change(faults={})
        ended = life.end()
        claims = books_after(made, ended, ExitCode.OK)
        struck = sum(call.fault == "bomb" for call in made.box.calls())
    measured = f"{ended.peak >> 20} MiB at the peak" if ended.peak else "memory is not told on this system"
    return Trial(
        [
            Proof(
                "bombs do not go off",
                f"{struck} bombs of 512 MiB at once: {measured}",
                unless(ended.peak < MOST_BYTES, f"more than {MOST_BYTES >> 20} MiB"),
            )
        ],
        claims,
    )


def dark(root: Path, key: str) -> Trial:
    """An outage: nobody listens for three seconds."""
    rows = 400
    with bench(root, "dark", key, "--latency", "200ms") as made:
        made.write(rows)
        life = made.start("--concurrency", "24")
        made.box.await_calls(rows // 4)
        made.box.change(outages=[[0, 1e9]], outage_kind="503")
        time.sleep(3.0)
        made.box.change(outages=[])
        claims = books_after(made, life.end(), ExitCode.OK)
        failing = sum(call.status == 503 for call in made.box.calls())
        failed = failed_rows(made)
    return Trial(
        [
            Proof(
                "an outage fails no row",
                f"3 s of 503: {plural(failing, 'failing call')}, {failed} rows failed",
                unless(not failed, f"{failed} rows failed"),
            )
        ],
        claims,
    )


FAULTS: Final[tuple[Play, ...]] = (faulty, strayed, bombed, dark)
