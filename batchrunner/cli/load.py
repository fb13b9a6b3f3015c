"""``load``: queue a job file."""

import click

from batchrunner.cli.facts import job_facts
from batchrunner.cli.options import job_options, json_option, provider_options, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import command_line, plural
from batchrunner.config import Loaded


@verb()
@click.argument("file", metavar="FILE")
@provider_options
@job_options
@wait_option
@json_option
def command(loaded: Loaded, file: str, name: str | None, add: bool, wait: bool, as_json: bool) -> None:
    """Queue a job file without sending anything.

    A file that is queued already is found again, not queued twice. FILE may be - for standard input, and end in
    .gz. While a run is going on it is that run which reads FILE, and works on it if it drains the whole queue.

    \b
    Examples:
      batchrunner load big.jsonl
      batchrunner load big.jsonl --name nightly --tag team=search
      batchrunner load big.jsonl --add                             it grew: take its new lines too
    """
    from batchrunner.api import verbs
    from batchrunner.cli.recipes import refuse_data

    refuse_data(file)
    done = verbs.load(loaded, file, name=name, add=add, wait=wait)
    result = done.loaded
    assert result is not None  # noqa: S101 - for the type checker: a load that was done has loaded
    if as_json:
        counts = {"added": result.added, "changed": result.changed, "gone": result.gone}
        counts |= {"copies": result.copies, "live": done.live}
        print_json({"schema": "batchrunner.load/1", "job": job_facts(result.job), **counts})
    else:
        job = result.job
        headers = ("job", "name", "provider", "requests", "new")
        row = (str(job.id), job.name, job.options.provider, f"{job.lines:,}", f"{result.added:,}")
        table(headers, [row], right=(0, 3, 4))
    quiet = loaded.settings.quiet
    if not result.added:
        talk("nothing new: it is queued already", quiet=quiet)
    if result.copies:
        talk(f"{plural(result.copies, 'line')} repeat an earlier one: sent once, and free", quiet=quiet)
    if result.changed:
        talk(f"{plural(result.changed, 'line')} differ from what was loaded and were left as they were", quiet=quiet)
    if result.gone:
        talk(f"{plural(result.gone, 'request')} of the job are not in the file any more and stay queued", quiet=quiet)
    if done.live:
        talk("the run that is going on takes it in", quiet=quiet)
    else:
        talk(f"next: {command_line(loaded, 'run', result.job.name)}", quiet=quiet)
