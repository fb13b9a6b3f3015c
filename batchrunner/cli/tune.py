"""``tune``: other limits for a run that is going on."""

from typing import Any

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.params import COUNT_OR_AUTO, RATE_OR_AUTO
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import one_line, plural
from batchrunner.config import Loaded


@verb()
@click.option("--model", "lane_model", metavar="ID", help="Only this model.  [default: all of the run]")
@click.option("--concurrency", "calls", type=COUNT_OR_AUTO, help="Calls in flight; auto learns how many are welcome.")
@click.option("--rpm", "requests", type=RATE_OR_AUTO, help="Requests a minute for each model: 600, 3k, auto.")
@click.option("--tpm", "tokens", type=RATE_OR_AUTO, help="Tokens a minute for each model: 250k, 2M, auto.")
@json_option
def command(loaded: Loaded, *, lane_model: str | None, calls: Any, requests: Any, tokens: Any, as_json: bool) -> None:
    """Change the limits of the run that is going on, within a second and until it ends.

    What is in flight beyond a lower limit lands. Limits for the next runs belong on their command line or into the
    configuration.

    \b
    Examples:
      batchrunner tune --concurrency 16
      batchrunner tune --model openai/gpt-oss-20b --rpm 3k --tpm auto
    """
    from batchrunner.api import verbs

    if calls is None and requests is None and tokens is None:
        raise click.UsageError("name a limit: --concurrency, --rpm or --tpm")
    done = verbs.tune(loaded, model=lane_model, concurrency=calls, rpm=requests, tpm=tokens)
    limits = {"concurrency": calls, "rpm": requests, "tpm": tokens}
    if as_json:
        facts = {"limits": limits, "lanes": list(done.lanes), "concurrency_over_all": done.concurrency}
        print_json({"schema": "batchrunner.tune/1", **facts})
    said = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
    lanes = ", ".join(one_line(lane, 80) for lane in done.lanes[:5])
    more = f" and {plural(len(done.lanes) - 5, 'more model')}" if len(done.lanes) > 5 else ""
    talk(f"{said} for {lanes}{more}", quiet=loaded.settings.quiet)
    if calls is not None:
        talk(f"at most {plural(done.concurrency or 0, 'call')} in flight over all models", quiet=loaded.settings.quiet)
