"""``cancel``: give up what is queued of a job."""

import click

from batchrunner.cli.facts import job_facts
from batchrunner.cli.options import json_option, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, plural
from batchrunner.config import Loaded


@verb()
@click.argument("job", metavar="JOB")
@wait_option
@json_option
def command(loaded: Loaded, job: str, wait: bool, as_json: bool) -> None:
    """Cancel what is queued of a job. Calls in flight land and are recorded; what was answered is kept.

    A cancelled job is not run any more; `retry JOB --cancelled` takes it back.

    \b
    Examples:
      batchrunner cancel nightly
      batchrunner cancel 3 --json
    """
    from batchrunner.api import verbs

    done = verbs.cancel(loaded, job, wait=wait)
    found, quiet = done.job, loaded.settings.quiet
    assert found is not None  # noqa: S101 - for the type checker: what is cancelled is a job
    if as_json:
        facts = {"job": job_facts(found), "cancelled": done.rows, "in_flight": done.air}
        print_json({"schema": "batchrunner.cancel/1", **facts})
    talk(f"job {found.id} ({found.name}) is cancelled: {plural(done.rows, 'queued request')} given up", quiet=quiet)
    if done.air:
        talk(f"{plural(done.air, 'call')} of the run in flight will land", quiet=quiet)
    talk(f"to take it back: {command_line(loaded, 'retry', found.name, '--cancelled')}", quiet=quiet)
