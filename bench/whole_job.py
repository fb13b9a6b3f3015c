"""Whole jobs: job file in, calls, result file out; batchrunner against a bare loop and the official SDKs, side by side.

One process each, pinned to one core, against one server on another core. The runs are interleaved (A B C A B C), and
medians are compared. A run is measured from the start of its process to its end; `net` takes off what a job of one row
costs the same program (interpreter, imports, migrations) less its one call's latency, so that a short benchmark says
what a long job sees. batchrunner alone also reads the job file, commits every answer to the disk and exports it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clients import CLIENTS
from measure import (
    Child,
    ChildFailed,
    allow_connections,
    lines_in,
    median,
    net_rate,
    product,
    product_env,
    quickest,
    run,
    workshop,
)
from report import header, table, verdict, warn_of_others
from rows import write_bodies, write_job
from server import Server, serve

PRODUCT = "batchrunner"
PATIENCE = 60.0
"""Seconds after which a run has failed: the SDKs' default clients may never finish."""
DEFAULT_CLIENTS = {"together", "openai"}


class Scenario(NamedTuple):
    """A number of calls in flight, a latency, and rows enough for each kind of client."""

    concurrency: int
    latency: float
    rows: int
    sdk_rows: int
    default_rows: int
    """For the SDKs' default clients, which collapse at these concurrencies."""
    sdk_rounds: int

    def rows_of(self, client: str) -> int:
        """Return how many rows a client gets."""
        if client in DEFAULT_CLIENTS:
            return min(self.rows, self.default_rows)
        return self.rows if client in {PRODUCT, "bare"} else min(self.rows, self.sdk_rows)


class Measured(NamedTuple):
    """What a client's runs came to."""

    rows: int
    runs: list[Child]
    start: Child
    """A job of one row; ``seconds`` without its latency."""

    @property
    def whole(self) -> float:
        """Rows per second from process start to process end, median."""
        return self.rows / median([run.seconds for run in self.runs])

    def rates(self) -> list[float]:
        """Rows per second of each run, without what the start of the program takes."""
        return [net_rate(self.rows, run, self.start) for run in self.runs]

    @property
    def rate(self) -> float:
        """Net rows per second, median."""
        return median(self.rates())

    @property
    def cpu(self) -> float:
        """CPU milliseconds per row without the start of the program, median."""
        return (median([run.cpu for run in self.runs]) - self.start.cpu) * 1000 / self.rows

    @property
    def rss(self) -> float:
        """Peak MiB, the largest of the runs."""
        return max(run.rss for run in self.runs)


def run_client(client: str, server: Server, rows: int, concurrency: int) -> Child:
    """Run one client over a file of this many rows. Raises ChildFailed where not every row was answered."""
    with workshop() as folder:
        output = folder / "out.jsonl"
        if client == PRODUCT:
            job = str(write_job(folder / "job.jsonl", rows))
            options = [
                "--db",
                str(folder / "queue.db"),
                "--concurrency",
                str(concurrency),
                "--progress",
                "none",
                "--yes",
            ]
            command = product("run", job, "-o", str(output), *options)
        else:
            bodies = str(write_bodies(folder / "bodies.jsonl", rows))
            script = str(Path(__file__).with_name("clients.py"))
            options = ["--url", server.url, "--bodies", bodies, "--concurrency", str(concurrency)]
            command = [sys.executable, script, client, *options, "--output", str(output)]
        child = run(command, env=product_env(f"{server.url}/v1", folder), cwd=folder, patience=PATIENCE)
        written = rows if client == "bare" else lines_in(output)
        if written != rows:
            raise ChildFailed(f"{client} wrote {written} of {rows} rows:\n{child.said}")
        return child


def measure(scenario: Scenario, clients: Sequence[str], repeats: int) -> dict[str, Measured]:
    """Measure the clients in turns; one that fails is named and left out."""
    measured: dict[str, Measured] = {}
    with serve(scenario.latency) as server:
        print(f"{scenario.concurrency:,} in flight, {scenario.latency * 1000:g} ms, {server.kind}:", flush=True)
        for client in clients:
            try:
                run_client(client, server, 1, scenario.concurrency)  # the first start compiles; it does not count
                start = quickest([run_client(client, server, 1, scenario.concurrency) for _ in range(repeats)])
            except ChildFailed as failure:
                print(f"  {client} does not run: {failure.shortly()}", flush=True)
                continue
            start = start._replace(seconds=start.seconds - scenario.latency)
            measured[client] = Measured(scenario.rows_of(client), [], start)
        for turn in range(repeats):
            for client in list(measured):
                if turn < scenario.sdk_rounds or client in {PRODUCT, "bare"}:
                    _one_run(client, server, scenario, measured)
    return measured


def _one_run(client: str, server: Server, scenario: Scenario, measured: dict[str, Measured]) -> None:
    before = server.cpu()
    try:
        child = run_client(client, server, measured[client].rows, scenario.concurrency)
        rate = net_rate(measured[client].rows, child, measured[client].start)
    except ChildFailed as failure:
        print(f"  {client} failed: {failure.shortly()}", flush=True)
        del measured[client]
        return
    measured[client].runs.append(child)
    busy = (server.cpu() - before) / child.seconds
    print(
        f"  {client}: {rate:,.0f} rows/s net, {child.seconds:.1f} s, server {busy:.0%} busy, others {child.others:.0%}",
        flush=True,
    )


def report(scenario: Scenario, measured: dict[str, Measured]) -> None:
    """Print the table of a scenario and its figures against the targets."""
    columns = (
        "client",
        "rows",
        "rows/s whole",
        "rows/s net",
        "min-max",
        "CPU ms/row",
        "peak MiB",
        "start s",
        "start CPU s",
        "others",
    )
    rows = []
    for client, its in measured.items():
        rates = its.rates()
        spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
        figures = [f"{its.whole:,.0f}", f"{its.rate:,.0f}", spread, f"{its.cpu:.3f}", f"{its.rss:.0f}"]
        others = f"{max((run.others for run in its.runs), default=0):.0%}"
        rows.append([client, f"{its.rows:,}", *figures, f"{its.start.seconds:.2f}", f"{its.start.cpu:.2f}", others])
    print()
    table(columns, rows)
    warn_of_others([run for its in measured.values() for run in its.runs])
    if PRODUCT in measured:
        _verdicts(scenario, measured)


def _verdicts(scenario: Scenario, measured: dict[str, Measured]) -> None:
    ours = measured[PRODUCT]
    if "bare" in measured:
        own = (ours.cpu - measured["bare"].cpu) * 1000
        print(f"- CPU per row beyond the bare loop's: {own:.0f} us")
    if scenario.latency >= 1:  # here latency and concurrency are the limit, not the program
        ideal = scenario.concurrency / scenario.latency
        verdict("share of the ideal, start included", ours.whole / ideal, 0.85, unit=" x", note=f"{ideal:,.0f} rows/s")
    else:
        verdict("CPU per row", ours.cpu, 0.30, at_most=True, unit=" ms")
        _against(ours, measured)
    print(flush=True)


def _against(ours: Measured, measured: dict[str, Measured]) -> None:
    sdks = {client: its for client, its in measured.items() if client not in {PRODUCT, "bare"}}
    if "bare" in measured:
        verdict("rows/s against the bare loop", ours.rate / measured["bare"].rate, 0.8, unit=" x")
    if sdks:
        best = max(sdks, key=lambda client: sdks[client].rate)
        note = f"{best}; by CPU {sdks[best].cpu / ours.cpu:.1f} x"
        verdict("rows/s against the best SDK pattern", ours.rate / sdks[best].rate, 4, unit=" x", note=note)
    if "together" in sdks:
        note = f"together; by CPU {sdks['together'].cpu / ours.cpu:.1f} x"
        verdict("rows/s against the default SDK pattern", ours.rate / sdks["together"].rate, 25, unit=" x", note=note)


def main() -> None:
    """Measure whole jobs and print them."""
    parser = argparse.ArgumentParser(description="Measure whole jobs against a bare loop and the official SDKs.")
    parser.add_argument("--rows", type=int, default=30_000, help="rows of batchrunner and the bare loop at 50 ms")
    parser.add_argument("--rows-1s", type=int, default=10_000, help="the same at 1 s")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", default=",".join((PRODUCT, *CLIENTS)), help="comma-separated; default: all")
    parser.add_argument("--scenario", choices=("50ms", "1s", "both"), default="both")
    given = parser.parse_args()
    allow_connections(8192)
    header("Whole jobs")
    scenarios = {
        "50ms": Scenario(256, 0.05, given.rows, sdk_rows=4_000, default_rows=1_000, sdk_rounds=given.repeats),
        "1s": Scenario(1_000, 1.0, given.rows_1s, sdk_rows=5_000, default_rows=1_000, sdk_rounds=1),
    }
    for name, scenario in scenarios.items():
        if given.scenario in {name, "both"}:
            report(scenario, measure(scenario, given.clients.split(","), given.repeats))


if __name__ == "__main__":
    main()
