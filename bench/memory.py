"""Memory and disk of a long job against a short one: load, run and export, each as a process of its own."""

import argparse
from pathlib import Path

from measure import MIB, Child, ChildFailed, disk_bytes, lines_in, product, product_env, run, workshop
from report import header, table, verdict
from rows import write_job
from server import Server, serve

PHASES = ("load", "run", "export")


def walk(rows: int, server: Server, concurrency: int) -> tuple[list[Child], dict[str, int]]:
    """Take a job through its phases; return the children, and the bytes on the disk by what they are."""
    with workshop() as folder:
        job, db, output = write_job(folder / "job.jsonl", rows), folder / "queue.db", folder / "out.jsonl"
        calling = ["--concurrency", str(concurrency), "--progress", "none", "--yes"]
        commands = (["load", str(job)], ["run", "job", *calling], ["results", "job", "-o", str(output)])
        children = []
        for phase, command in zip(PHASES, commands, strict=True):
            env = product_env(f"{server.url}/v1", folder)
            children.append(run(product(*command, "--db", str(db)), env=env, cwd=folder))
            print(f"  {rows:,} rows: {phase} took {children[-1].seconds:.1f} s", flush=True)
        if lines_in(output) != rows:
            raise ChildFailed(f"the export has {lines_in(output)} of {rows} lines")
        sizes = {"job file": _size(job), "database": disk_bytes(db), "result file": _size(output)}
        return children, sizes


def _size(path: Path) -> int:
    return path.stat().st_size


def main() -> None:
    """Measure memory and print it."""
    parser = argparse.ArgumentParser(description="Measure the peak memory of a long job against that of a short one.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--base", type=int, default=10_000, help="rows of the short job")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds; 0 keeps a million rows short")
    given = parser.parse_args()
    header("Memory")
    with serve(given.latency) as server:
        short, _ = walk(given.base, server, given.concurrency)
        long, sizes = walk(given.rows, server, given.concurrency)
    columns = (
        "phase",
        f"peak MiB at {given.base:,}",
        f"at {given.rows:,}",
        "growth MiB",
        "seconds",
        "rows/s",
        "CPU us/row",
    )
    cells = []
    for phase, small, big in zip(PHASES, short, long, strict=True):
        rate, cpu = f"{given.rows / big.seconds:,.0f}", f"{big.cpu / given.rows * 1e6:.0f}"
        memory = [f"{small.rss:.0f}", f"{big.rss:.0f}", f"{big.rss - small.rss:.1f}"]
        cells.append([phase, *memory, f"{big.seconds:.1f}", rate, cpu])
    print()
    table(columns, cells)
    verdict(
        "growth of peak memory",
        max(b.rss - s.rss for s, b in zip(short, long, strict=True)),
        10,
        at_most=True,
        unit=" MiB",
    )
    verdict("peak memory", max(child.rss for child in long), 120, at_most=True, unit=" MiB")
    shown = ", ".join(
        f"{what} {size / MIB:,.0f} MiB ({size / given.rows:,.0f} bytes a row)" for what, size in sizes.items()
    )
    print(f"- on the disk: {shown}\n")


if __name__ == "__main__":
    main()
