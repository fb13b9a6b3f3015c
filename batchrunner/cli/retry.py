"""``retry``: queue failed requests again."""

import click

from batchrunner.cli.facts import job_facts
from batchrunner.cli.options import json_option, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, plural
from batchrunner.config import Loaded
from batchrunner.core.attempt import FailureKind


@verb()
@click.argument("job", metavar="JOB")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    multiple=True,
    type=click.Choice([kind.value for kind in FailureKind]),
    help="Only failures of this kind; may be repeated. `batchrunner errors JOB` lists them.",
)
@click.option("--id", "ids", metavar="CUSTOM_ID", multiple=True, help="Only this request; may be repeated.")
@click.option("--quarantined", is_flag=True, help="Those that were set aside for being there at every crash instead.")
@click.option("--flagged", is_flag=True, help="Those with a flagged answer, which is replaced and stays paid for.")
@click.option("--cancelled", is_flag=True, help="Take a cancel back: queue what it cancelled.")
@wait_option
@json_option
def command(
    loaded: Loaded,
    *,
    job: str,
    kinds: tuple[str, ...],
    ids: tuple[str, ...],
    quarantined: bool,
    flagged: bool,
    cancelled: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Queue failed requests again: all of a job, or by kind or id. They go with the next run, or the one going on.

    Their tries are forgotten, what they have cost is not. With --kind and --id, both must fit.

    \b
    Examples:
      batchrunner retry quickstart
      batchrunner retry quickstart --kind timeout --kind server_error
      batchrunner retry quickstart --id row-17
      batchrunner retry quickstart --quarantined
      batchrunner retry quickstart --flagged
      batchrunner retry quickstart --cancelled
    """
    from batchrunner.api import verbs

    if cancelled and (kinds or ids):
        raise click.UsageError("--cancelled takes back all that was cancelled: leave --kind and --id out")
    if cancelled + quarantined + flagged > 1:
        raise click.UsageError("--cancelled, --quarantined and --flagged are apart: give one after the other")
    if flagged and kinds:
        raise click.UsageError("--kind is of failures, and a flagged answer is none: leave it out")
    which = {"quarantined": quarantined, "flagged": flagged, "cancelled": cancelled}
    done = verbs.retry(loaded, job, kinds=kinds, custom_ids=ids, **which, wait=wait)
    found, queued = done.job, done.rows
    assert found is not None  # noqa: S101 - for the type checker: a retry is of a job
    if as_json:
        print_json({"schema": "batchrunner.retry/1", "job": job_facts(found), "queued": queued, "live": done.live})
    talk(f"{plural(queued, 'request')} queued again", quiet=loaded.settings.quiet)
    if ids and queued < len(set(ids)):
        missed = len(set(ids)) - queued
        talk(f"{missed:,} of these ids did not fail, or not so, or are not in this job", quiet=loaded.settings.quiet)
    if queued and done.live:
        talk("the run that is going on takes them", quiet=loaded.settings.quiet)
    elif queued:
        talk(f"next: {command_line(loaded, 'run', found.name)}", quiet=loaded.settings.quiet)
