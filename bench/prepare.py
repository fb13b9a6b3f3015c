"""A CSV file through `batchrunner prepare`: how much memory a long one takes against a short one, and how fast it goes.

The file has what makes CSV hard: commas, quotes and line ends inside fields, text beyond ASCII, empty fields, numbers.
"""

import argparse
import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from corpus import row
from measure import MIB, Child, ChildFailed, has_verb, lines_in, product, product_env, run, workshop
from report import header, table, verdict, warn_of_others
from rows import MODEL

PLANS = ("free", "basic", "premium, yearly", 'the "old" one')
TEMPLATE = """A customer{% if plan %} with the plan {{ plan }}{% endif %} pays {{ amount }} EUR a month and asks:

{{ question }}

Name the category, then suggest a short answer.
"""


def write_table(path: Path, rows: int) -> Path:
    """Write a CSV file of customers' questions; return its path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "question", "plan", "amount", "note"))
        for number in range(rows):
            said = row(number)
            note = "first line\nsecond line" if number % 50 == 0 else ""
            plan = PLANS[number % 4] if number % 7 else ""
            writer.writerow((said.id, said.text, plan, f"{number % 500 / 4:.2f}", note))
    return path


def prepare(rows: int, options: Sequence[str]) -> tuple[Child, int, int]:
    """Prepare a job file; return the child and the bytes of both files. Raises ChildFailed where lines are missing."""
    with workshop() as folder:
        source, job = write_table(folder / "data.csv", rows), folder / "job.jsonl"
        (folder / "prompt.jinja").write_text(TEMPLATE)
        command = product("prepare", str(source), "-t", "prompt.jinja", "-o", str(job), *options)
        child = run(command, env=product_env("http://127.0.0.1:9/v1", folder), cwd=folder)
        if lines_in(job) != rows:
            raise ChildFailed(f"the job file has {lines_in(job)} of {rows} lines:\n{child.said}")
        _check(job, rows)
        return child, source.stat().st_size, job.stat().st_size


def _check(job: Path, rows: int) -> None:
    """Raise ChildFailed unless every thousandth line asks what its row asked."""
    with job.open("rb") as file:
        for number, line in enumerate(file):
            if number % 1000 and number != rows - 1:
                continue
            said, found = row(number), json.loads(line)
            if found["custom_id"] != said.id or said.text not in found["body"]["messages"][-1]["content"]:
                raise ChildFailed(f"line {number + 1} of the job file is not row {number + 1} of the table")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the peak memory and the pace of prepare on a long CSV file.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--base", type=int, default=10_000, help="rows of the short file")
    parser.add_argument("--options", default=f"--model {MODEL} --id id", help="options of prepare, in one argument")
    given = parser.parse_args()
    header("Prepare")
    if not has_verb("prepare"):
        return
    options = shlex.split(given.options)
    prepare(5, options)  # the first start compiles; it does not count
    done = {rows: prepare(rows, options) for rows in (given.base, given.rows)}
    cells = [
        [
            f"{rows:,}",
            f"{child.rss:.0f}",
            f"{child.seconds:.1f}",
            f"{rows / child.seconds:,.0f}",
            f"{child.cpu / rows * 1e6:.1f}",
            f"{source / MIB:,.1f}",
            f"{job / MIB:,.1f}",
        ]
        for rows, (child, source, job) in done.items()
    ]
    table(("rows", "peak MiB", "seconds", "rows/s", "CPU us/row", "CSV MiB", "job MiB"), cells)
    children = [child for child, _, _ in done.values()]
    warn_of_others(children)
    verdict("peak memory", children[-1].rss, 200, at_most=True, unit=" MiB")
    print(f"- growth of peak memory: {children[-1].rss - children[0].rss:.1f} MiB\n", flush=True)


if __name__ == "__main__":
    main()
