"""``resume``: go on with what was paused."""

import click

from batchrunner.cli.options import aim_options, json_option, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line
from batchrunner.config import Loaded


@verb()
@click.argument("job", metavar="[JOB]", required=False)
@aim_options
@wait_option
@json_option
def command(
    loaded: Loaded,
    *,
    job: str | None,
    lane_model: str | None,
    lane_provider: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Go on with what `pause` held back: a job, a model, a provider, or without any of them all of it.

    A run that is going on goes on with it at once. What a run paused by itself, for a refused key or an empty account,
    ends with its cause.

    \b
    Examples:
      batchrunner resume nightly
      batchrunner resume --model openai/gpt-oss-20b
      batchrunner resume
    """
    from batchrunner.api import reads, verbs
    from batchrunner.cli.held import name_of, pause_facts

    done = verbs.resume(loaded, job, model=lane_model, provider=lane_provider, wait=wait)
    quiet = loaded.settings.quiet
    if as_json:
        facts = {"resumed": [pause_facts(pause) for pause in done.pauses], "live": done.live}
        print_json({"schema": "batchrunner.resume/1", **facts})
    with reads(loaded) as read:
        jobs = read.jobs()
    for pause in done.pauses:
        talk(f"resumed {name_of(pause, jobs)}", quiet=quiet)
    if not done.pauses:
        talk("nothing of it was paused by hand", quiet=quiet)
    elif done.live:
        talk("the run that is going on goes on with it", quiet=quiet)
    else:
        talk(f"next: {command_line(loaded, 'run', *([job] if job else []))}", quiet=quiet)
