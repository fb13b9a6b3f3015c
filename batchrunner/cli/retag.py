"""``retag``: other tags for a job, after the fact."""

import click

from batchrunner.cli.facts import job_facts
from batchrunner.cli.options import json_option, verb, wait_option
from batchrunner.cli.params import TAG
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, one_line
from batchrunner.config import Loaded


@verb()
@click.argument("job", metavar="JOB")
@click.option("--tag", "change", type=TAG, multiple=True, help="Set a tag: team=search; may be repeated.")
@click.option("--untag", "gone", metavar="KEY", multiple=True, help="Take a tag away; may be repeated.")
@click.option("--lines", is_flag=True, help="Also where lines brought such a tag of their own, which wins otherwise.")
@wait_option
@json_option
def command(
    loaded: Loaded,
    *,
    job: str,
    change: tuple[tuple[str, str], ...],
    gone: tuple[str, ...],
    lines: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Change whose costs a job's are, also of what it has cost already. What was recorded of its calls stays as it is.

    `costs --by tag:KEY` shows it at once; each change is kept with its time.

    \b
    Examples:
      batchrunner retag nightly --tag team=search --tag env=prod
      batchrunner retag nightly --untag project
      batchrunner retag nightly --tag team=ads --lines
    """
    from batchrunner.api import verbs

    if not change and not gone:
        raise click.UsageError("say what to change: --tag KEY=VALUE or --untag KEY")
    both = {key for key, _ in change} & set(gone)
    if both:
        raise click.UsageError(f"{one_line(min(both), 60)} is both set and taken away: leave one out")
    changes = [*change, *((key, None) for key in gone)]
    done = verbs.retag(loaded, job, changes, lines=lines, wait=wait)
    found = done.job
    assert found is not None  # noqa: S101 - for the type checker: a retag is of a job
    if as_json:
        print_json({"schema": "batchrunner.retag/1", "job": job_facts(found), "lines": lines})
    told = ", ".join(f"{key}={one_line(value, 60)}" for key, value in found.tags) or "no tags"
    talk(f"job {found.id} ({found.name}): {told}", quiet=loaded.settings.quiet)
    shown = command_line(loaded, "costs", found.name, "--by", f"tag:{(change[0][0] if change else gone[0])}")
    talk(f"see: {shown}", quiet=loaded.settings.quiet)
