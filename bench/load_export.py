"""Loading alone and exporting alone, as the real command line, beside what the disk and the file format allow.

The exported job is a real one: its rows were sent to a server that answers at once, and stored in the order in which
the answers came back, which is not the order they are exported in. Rates take off what one row costs (`start`).
"""

import argparse
import os
import time
from pathlib import Path

from measure import (
    CORES,
    MIB,
    Child,
    ChildFailed,
    disk_bytes,
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
from rows import write_job
from server import serve

STARTS = 3
NOWHERE = "http://127.0.0.1:9/v1"
"""Loading and exporting call nobody; if they did, nobody would answer."""
COLUMNS = (
    "phase",
    "rows",
    "rows/s net",
    "min-max",
    "CPU us/row",
    "rows/CPU s",
    "MiB/s",
    "peak MiB",
    "start s",
    "others",
)


def load(job: Path, db: Path) -> Child:
    """Load a job file into a database, on every core: one of its threads parses while another one stores."""
    command = product("load", str(job), "--db", str(db))
    return run(command, env=product_env(NOWHERE, job.parent), cwd=job.parent, cores=CORES)


def export(db: Path, output: Path) -> Child:
    """Export the job called ``job`` of a database."""
    command = product("results", "job", "-o", str(output), "--db", str(db))
    return run(command, env=product_env(NOWHERE, db.parent), cwd=db.parent)


def load_anew(rows: int, ids: str) -> tuple[Child, int, int]:
    """Load a fresh job of 600-byte lines; return the child, the bytes of the file and those of the database."""
    with workshop() as folder:
        job = write_job(folder / "job.jsonl", rows, ids=ids, size=600, whole=True)
        child = load(job, folder / "queue.db")
        return child, job.stat().st_size, disk_bytes(folder / "queue.db")


def line(name: str, rows: int, runs: list[Child], start: Child, moved: int) -> tuple[float, list[str]]:
    """Return the median rate and the cells of one line of the table."""
    rates = [net_rate(rows, run, start) for run in runs]
    rate = median(rates)
    cpu = (median([run.cpu for run in runs]) - start.cpu) / rows * 1e6
    spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
    megabytes = f"{moved / rows * rate / MIB:.0f}"
    rss, others = max(run.rss for run in runs), max(run.others for run in runs)
    figures = [f"{rate:,.0f}", spread, f"{cpu:.1f}", f"{1e6 / cpu:,.0f}", megabytes]
    figures += [f"{rss:.0f}", f"{start.seconds:.2f}", f"{others:.0%}"]
    return rate, [name, f"{rows:,}", *figures]


def measure_loads(rows: int, repeats: int) -> None:
    """Print how fast job files load, with ascending and with random ids."""
    load_anew(1, "ascending")  # the first start compiles; it does not count
    start = quickest([load_anew(1, "ascending")[0] for _ in range(STARTS)])
    runs: dict[str, list[tuple[Child, int, int]]] = {"ascending": [], "uuid": []}
    for _ in range(repeats):
        for ids, done in runs.items():
            done.append(load_anew(rows, ids))
    print(f"loading may use {len(CORES)} cores\n")
    rates, cells, sizes = {}, [], []
    for ids, done in runs.items():
        size, stored = done[0][1:]
        rates[ids], row = line(f"load, {ids} ids", rows, [child for child, _, _ in done], start, size)
        cells.append(row)
        sizes.append(f"{ids} ids {stored / rows:,.0f} bytes a row in the database for {size / rows:,.0f} in the file")
    table(COLUMNS, cells)
    warn_of_others([child for done in runs.values() for child, _, _ in done])
    verdict("load, ascending ids", rates["ascending"], 60_000, unit=" rows/s")
    verdict("load, random ids", rates["uuid"], 30_000, unit=" rows/s")
    print(f"- {'; '.join(sizes)}\n", flush=True)


def finished_job(folder: Path, rows: int) -> Path:
    """Return the database of a job that a real run has finished, against a server without latency."""
    folder.mkdir()
    job, db = write_job(folder / "job.jsonl", rows), folder / "queue.db"
    with serve(0.0) as server:
        options = ["--db", str(db), "--concurrency", "256", "--progress", "none", "--yes"]
        child = run(product("run", str(job), *options), env=product_env(f"{server.url}/v1", folder), cwd=folder)
    cpu = f"{child.cpu / rows * 1000:.3f} ms CPU a row, start included" if rows > 1 else "start"
    print(f"finished job of {rows:,} rows made in {child.seconds:.1f} s ({server.kind}, no latency; {cpu})", flush=True)
    return db


def measure_exports(rows: int, repeats: int) -> None:
    """Print how fast a finished job is exported, and how fast this disk takes the same bytes."""
    with workshop() as folder:
        one = finished_job(folder / "one", 1)
        start = quickest([export(one, folder / "one.jsonl") for _ in range(STARTS)])
        db, output = finished_job(folder / "many", rows), folder / "out.jsonl"
        runs, disks = [], []
        for _ in range(repeats):
            output.unlink(missing_ok=True)
            runs.append(export(db, output))
            disks.append(disk_rate(output))
        if lines_in(output) != rows:
            raise ChildFailed(f"the export has {lines_in(output)} of {rows} lines")
        size = output.stat().st_size
        rate, cells = line("export, input order", rows, runs, start, size)
        table(COLUMNS, [cells])
        warn_of_others(runs)
        limit = median(disks) / (size / rows)
        verdict("export", rate, min(80_000, limit), unit=" rows/s")
        print(
            f"- {size / rows:,.0f} bytes a line; the disk takes {median(disks) / MIB:,.0f} MiB/s, fsync included,"
            f" which is {limit:,.0f} rows/s; the database has {disk_bytes(db) / rows:,.0f} bytes a row\n",
            flush=True,
        )


def disk_rate(source: Path) -> float:
    """Return the bytes per second at which this disk takes a copy of a file, fsync included."""
    copy = source.with_suffix(".copy")
    began = time.monotonic()
    with source.open("rb") as file, copy.open("wb", buffering=0) as out:
        while block := file.read(MIB):
            out.write(block)
        os.fsync(out.fileno())
    seconds = time.monotonic() - began
    copy.unlink()
    return source.stat().st_size / seconds


def main() -> None:
    """Measure loading and exporting and print them."""
    parser = argparse.ArgumentParser(description="Measure loading alone and exporting alone.")
    parser.add_argument("--rows", type=int, default=300_000, help="rows to load")
    parser.add_argument("--export-rows", type=int, default=100_000, help="rows to export; they are run first")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--phase", choices=("load", "export", "both"), default="both")
    given = parser.parse_args()
    header("Load and export")
    if given.phase in {"load", "both"}:
        measure_loads(given.rows, given.repeats)
    if given.phase in {"export", "both"}:
        measure_exports(given.export_rows, given.repeats)


if __name__ == "__main__":
    main()
