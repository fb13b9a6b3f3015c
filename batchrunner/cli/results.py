"""``results``: a job's answers, to a file or to stdout."""

from typing import TYPE_CHECKING

import click

from batchrunner.cli.options import verb
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, plural, several
from batchrunner.config import Loaded

if TYPE_CHECKING:
    from batchrunner.api import ExportSummary


@verb()
@click.argument("job", metavar="JOB")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    default="-",
    show_default=True,
    help="A .jsonl, .csv or .parquet file, or - for stdout.",
)
@click.option("--flagged", is_flag=True, help="Only answers that are flagged: cut off, empty, not valid JSON ...")
@click.option(
    "--fields", multiple=True, metavar="NAMES", help="Of JSON answers, as columns: label,score.value, or '*'."
)
@click.option("--force", is_flag=True, help="Replace a file that this job did not write.")
def command(loaded: Loaded, job: str, output: str, flagged: bool, fields: tuple[str, ...], force: bool) -> None:
    """Export a job's answers in input order, as far as they are there.

    JSONL lines have the shape of OpenAI's batch output, and one key more, `batchrunner`, with attempts, usage and cost.
    Failures go to OUT.errors.jsonl beside OUT; in CSV, Parquet and on stdout they stand among the answers. Tables have
    the input columns that `prepare --keep` kept. It only reads, also beside a live run: then it is a snapshot of what
    is finished.

    \b
    Examples:
      batchrunner results quickstart > out.jsonl
      batchrunner results quickstart -o out.csv
      batchrunner results reviews -o out.parquet --fields label,score
      batchrunner results quickstart --flagged | jq -c .batchrunner.flags
      batchrunner results 1 | jq -r .response.body.choices[0].message.content
    """
    from batchrunner.api import reads
    from batchrunner.cli.recipes import columns_of

    with reads(loaded) as queue:
        found = queue.job(job)
        summary = queue.export(found, output, force=force, flagged=flagged, fields=columns_of(fields))
    for line in _told(loaded, found.name, summary):
        talk(line, quiet=loaded.settings.quiet)


def _told(loaded: Loaded, name: str, summary: "ExportSummary") -> list[str]:
    refused = summary.failed + summary.quarantined + summary.cancelled
    row, good, bad = ("request", "answer", "failure") if summary.vectors is None else ("text", "vector", "text")
    place = "" if summary.out == "-" else f" in {several(summary.vectors or (summary.out,))}"
    lines = [f"{plural(summary.succeeded, good)}{place}"]
    if summary.swept:
        lines.append(f"removed {plural(summary.swept, 'unfinished file')} of an export that was killed")
    if refused:
        without = "" if summary.vectors is None else " without a vector"
        lines.append(f"{plural(refused, bad)}{without} in {summary.errors or 'the same output'}")
        lines.append(f"  look: {command_line(loaded, 'errors', name)}")
    if summary.unfinished:
        lines.append(f"{plural(summary.unfinished, row)} not finished yet: not in there")
        lines.append(f"  go on: {command_line(loaded, 'run', name)}")
    return lines
