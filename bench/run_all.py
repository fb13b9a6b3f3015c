"""Run every benchmark with its defaults (`make bench`); with --write, put what they print into docs/benchmarks.md."""

import argparse
import subprocess
import sys
from pathlib import Path

from measure import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
FULL = (
    ("server.py",),
    ("whole_job.py",),
    ("load_export.py",),
    ("restart.py",),
    ("memory.py",),
    ("attachments.py",),
    ("embeddings.py",),
    ("prepare.py",),
)
QUICK = (
    ("whole_job.py", "--rows", "10000", "--rows-1s", "4000", "--repeats", "1", "--clients", "batchrunner,bare"),
    ("load_export.py", "--rows", "100000", "--export-rows", "20000", "--repeats", "1"),
    ("restart.py", "--rows", "20000", "--repeats", "2"),
    ("memory.py", "--rows", "100000"),
    ("attachments.py", "--rows", "500"),
    ("embeddings.py", "--texts", "100000", "--repeats", "1", "--clients", "batchrunner,bare"),
    ("prepare.py", "--rows", "100000"),
)


def run_one(script: str, *arguments: str) -> tuple[str, bool]:
    """Run a benchmark, show what it prints as it comes, and return it with whether it ended well."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        said.append(f"\n`{script}` ended with {process.returncode}.\n")
    return "".join(said), process.returncode == 0


def write(text: str) -> None:
    """Put the text between the page's markers. Exits with a message where they are missing."""
    page = PAGE.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{PAGE} must hold {BEGIN} and {END} once each; nothing was written")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{rest.split(END)[1]}")
    print(f"written to {PAGE}", file=sys.stderr)


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description="Run every benchmark with its defaults.")
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer rows, one repeat, no SDKs")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    given = parser.parse_args()
    outcomes = [run_one(*benchmark) for benchmark in (QUICK if given.quick else FULL)]
    if given.write:
        write("\n".join(said for said, _ in outcomes))
    if not all(well for _, well in outcomes):
        sys.exit("a benchmark failed: see above")


if __name__ == "__main__":
    main()
