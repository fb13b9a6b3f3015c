"""How soon a killed run is at work again: kill -9 in the middle of a job, the same command, the first call.

The time is from the start of the new process to the first whole call that the server has read, on one clock.
"""

import argparse
import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from measure import ChildFailed, lines_in, median, product, product_env, reap, start, workshop
from report import header, table, verdict
from rows import write_job
from server import Server, serve


class Bench:
    """One job, one server that keeps a record, and runs that are killed."""

    def __init__(self, folder: Path, server: Server, rows: int, concurrency: int) -> None:
        self.folder, self.server, self.rows = folder, server, rows
        self.output = folder / "out.jsonl"
        job = write_job(folder / "job.jsonl", rows)
        options = ["--db", str(folder / "queue.db"), "--concurrency", str(concurrency), "--progress", "none", "--yes"]
        self.command = product("run", str(job), "-o", str(self.output), *options)
        self.log = folder / "child.log"

    def record(self, path: str = "record") -> dict[str, Any]:
        """Return what the server has seen since the last reset."""
        with urllib.request.urlopen(f"{self.server.url}/{path}", timeout=10) as reply:
            record: dict[str, Any] = json.load(reply)
        return record

    def start(self) -> tuple[subprocess.Popen[bytes], float]:
        """Start the run and return it with the time of its start."""
        began = time.monotonic()
        env = product_env(f"{self.server.url}/v1", self.folder)
        return start(self.command, env=env, cwd=self.folder, output=self.log), began

    def until(self, process: subprocess.Popen[bytes], calls: int, patience: float) -> dict[str, Any]:
        """Wait until the server has seen so many calls. Raises ChildFailed where the run ends or stalls before that."""
        ends = time.monotonic() + patience
        while (record := self.record())["calls"] < calls:
            if process.poll() is not None or time.monotonic() > ends:
                self.kill(process)
                raise ChildFailed(f"{record['calls']} of {calls} calls came:\n{self.log.read_text()[-1500:]}")
            time.sleep(0.02)
        return record

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill -9, and wait until the calls that were in the air are answered into the void."""
        process.kill()
        process.wait()
        ends = time.monotonic() + 10
        while self.record()["in_flight"] and time.monotonic() < ends:
            time.sleep(0.02)

    def half(self) -> int:
        """Run the first half and kill the run; return the calls that were made."""
        process, _ = self.start()
        self.until(process, self.rows // 2, patience=60 + self.rows / 200)
        self.kill(process)
        return int(self.record("reset")["calls"])

    def again(self, calls: int) -> tuple[float, int]:
        """Start the run anew, kill it after some calls; return seconds to the first call, and the calls made."""
        process, began = self.start()
        first = self.until(process, calls, patience=60)["first"]
        self.kill(process)
        return first - began, int(self.record("reset")["calls"])

    def finish(self) -> int:
        """Run to the end; return the calls made. Raises ChildFailed where a line is missing."""
        process, began = self.start()
        child = reap(process, began, self.log)
        if child.code != 0 or lines_in(self.output) != self.rows:
            raise ChildFailed(f"the last run ended with {child.code}:\n{child.said}")
        return int(self.record()["calls"])


def main() -> None:
    """Measure restarts and print them."""
    parser = argparse.ArgumentParser(description="Measure how soon a killed run makes its first call again.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--repeats", type=int, default=5, help="kills and restarts after the first half")
    given = parser.parse_args()
    header("Restart")
    with workshop() as folder, serve(given.latency, recording=True) as server:
        bench = Bench(folder, server, given.rows, given.concurrency)
        made = bench.half()
        times = []
        for _ in range(given.repeats):
            seconds, calls = bench.again(2 * given.concurrency)
            times.append(seconds)
            made += calls
        made += bench.finish()
    kills = given.repeats + 1
    repeated = (made - given.rows) / kills
    columns = ("rows", "kills", "start to first call s", "min-max", "calls repeated a kill")
    spread = f"{min(times):.2f}-{max(times):.2f}"
    table(columns, [[f"{given.rows:,}", kills, f"{median(times):.2f}", spread, f"{repeated:.0f}"]])
    verdict("process start to first call", median(times), 1.0, at_most=True, unit=" s")
    slack = given.concurrency + 64
    verdict("calls repeated after a kill", repeated, slack, at_most=True, note="concurrency + slack of 64")
    print()


if __name__ == "__main__":
    main()
