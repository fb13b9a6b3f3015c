"""``pause``: hold something back."""

import click

from batchrunner.cli.options import aim_options, json_option, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, plural
from batchrunner.config import Loaded


@verb()
@click.argument("job", metavar="[JOB]", required=False)
@aim_options
@click.option("--reason", metavar="TEXT", default="", help="Why, for whoever reads the status.")
@wait_option
@json_option
def command(
    loaded: Loaded,
    *,
    job: str | None,
    lane_model: str | None,
    lane_provider: str | None,
    reason: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Hold back a job, a model or a provider until `resume`: no call of it is begun, by this run or any later one.

    A run that is going on stops sending it within a second; calls in flight land. Without JOB, --model or --provider
    every job that is not finished is paused.

    \b
    Examples:
      batchrunner pause nightly --reason "the source data is wrong"
      batchrunner pause --model openai/gpt-oss-20b
      batchrunner pause
    """
    from batchrunner.api import reads, verbs
    from batchrunner.cli.held import name_of, pause_facts

    done = verbs.pause(loaded, job, model=lane_model, provider=lane_provider, reason=reason, wait=wait)
    quiet = loaded.settings.quiet
    if as_json:
        facts = {"paused": [pause_facts(pause) for pause in done.pauses], "in_flight": done.air}
        print_json({"schema": "batchrunner.pause/1", **facts})
    with reads(loaded) as read:
        jobs = read.jobs()
    for pause in done.pauses:
        talk(f"paused {name_of(pause, jobs)}", quiet=quiet)
    if not done.pauses:
        talk("it was paused already", quiet=quiet)
    if done.air:
        talk(f"{plural(done.air, 'call')} in flight will land", quiet=quiet)
    talk(f"go on with: {command_line(loaded, 'resume', *_same(job, lane_model, lane_provider))}", quiet=quiet)


def _same(job: str | None, model: str | None, provider: str | None) -> list[str]:
    words = [job] if job else []
    for flag, value in (("--model", model), ("--provider", provider)):
        words += [flag, value] if value else []
    return words
