"""Memory and CPU of a job whose rows send local images, against the same job without them."""

import argparse
import json
import random
from pathlib import Path

from measure import MIB, Child, ChildFailed, lines_in, product, product_env, run, workshop
from report import header, table, verdict
from rows import MODEL
from server import Server, serve

FILES = 32
"""Different images, sent in turns."""


def write_files(folder: Path, size: int) -> None:
    """Write images of ``size`` bytes: begun as a PNG, and then noise, which is what a photo is to whoever sends it."""
    dice = random.Random(1)
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + dice.randbytes(size - 8))


def write_job(path: Path, rows: int, *, images: bool) -> Path:
    """Write a job of vision rows; without ``images`` their parts are text alone."""
    with path.open("w") as file:
        for number in range(rows):
            parts = [{"type": "text", "text": f"What is on image {number}?"}]
            if images:
                parts.append({"type": "image_url", "image_url": {"url": f"file:{number % FILES}.png"}})
            body = {"model": MODEL, "messages": [{"role": "user", "content": parts}], "max_tokens": 256}
            file.write(json.dumps({"custom_id": f"row-{number}", "body": body}) + "\n")
    return path


def walk(rows: int, size: int, server: Server, concurrency: int, *, images: bool) -> Child:
    """Run a job as one process; return what the kernel counted."""
    with workshop() as folder:
        job, output = write_job(folder / "job.jsonl", rows, images=images), folder / "out.jsonl"
        write_files(folder / "images", size)
        options = ["--concurrency", str(concurrency), "--progress", "none", "--yes", "--attachments", "images"]
        command = product("run", str(job), "-o", str(output), "--db", str(folder / "queue.db"), *options)
        child = run(command, env=product_env(f"{server.url}/v1", folder), cwd=folder)
        if lines_in(output) != rows:
            raise ChildFailed(f"the export has {lines_in(output)} of {rows} lines:\n{child.said}")
        return child


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the peak memory of a job that sends local images.")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=1_000_000, help="bytes of each image")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds")
    given = parser.parse_args()
    header("Attachments")
    cells, peaks = [], {}
    with serve(given.latency) as server:
        for images in (False, True):
            child = walk(given.rows, given.size, server, given.concurrency, images=images)
            peaks[images] = child.rss
            cells.append(
                [
                    f"{given.size / MIB:.2f} MiB images" if images else "text alone",
                    f"{child.rss:.0f}",
                    f"{child.seconds:.1f}",
                    f"{given.rows / child.seconds:,.0f}",
                    f"{child.cpu / given.rows * 1000:.2f}",
                ]
            )
    table(("rows with", "peak MiB", "seconds", "rows/s", "CPU ms/row"), cells)
    verdict("peak memory", peaks[True], 400, at_most=True, unit=" MiB")


if __name__ == "__main__":
    main()
