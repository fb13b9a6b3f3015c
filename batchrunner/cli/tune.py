"""``tune``: other limits for a run that is going on."""

from typing import Any

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.params import COUNT_OR_AUTO, MONEY, RATE_OR_AUTO
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.config import Loaded
from batchrunner.core.pricing import PICO, dollars


@verb()
@click.option("--model", "lane_model", metavar="ID", help="Only this model.  [default: all of the run]")
@click.option("--concurrency", "calls", type=COUNT_OR_AUTO, help="Calls in flight; auto learns how many are welcome.")
@click.option("--rpm", "requests", type=RATE_OR_AUTO, help="Requests a minute for each model: 600, 3k, auto.")
@click.option("--tpm", "tokens", type=RATE_OR_AUTO, help="Tokens a minute for each model: 250k, 2M, auto.")
@click.option("--max-cost", "most", type=MONEY, help="What the run may spend, with what it has spent so far: 20.")
@json_option
def command(
    loaded: Loaded,
    *,
    lane_model: str | None,
    calls: Any,
    requests: Any,
    tokens: Any,
    most: int | None,
    as_json: bool,
) -> None:
    """Change the limits of the run that is going on, within a second and until it ends.

    What is in flight beyond a lower limit lands. --max-cost takes the place of the one that the run was given. Limits
    for the next runs belong on their command line or into the configuration.

    \b
    Examples:
      batchrunner tune --concurrency 16
      batchrunner tune --model openai/gpt-oss-20b --rpm 3k --tpm auto
      batchrunner tune --max-cost 20
    """
    from batchrunner.api import verbs

    limits = {"concurrency": calls, "rpm": requests, "tpm": tokens}
    _check(limits, lane_model, most)
    done = verbs.tune(loaded, model=lane_model, concurrency=calls, rpm=requests, tpm=tokens, max_cost=most)
    if as_json:
        told = {**limits, "max_cost": None if most is None else exact(most)}
        facts = {"limits": told, "lanes": list(done.lanes), "concurrency_over_all": done.concurrency}
        print_json({"schema": "batchrunner.tune/1", **facts})
    said = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
    if most is not None:
        talk(f"at most {dollars(most)} in this run (--max-cost)", quiet=loaded.settings.quiet)
    if not said:
        return
    lanes = ", ".join(one_line(lane, 80) for lane in done.lanes[:5])
    more = f" and {plural(len(done.lanes) - 5, 'more model')}" if len(done.lanes) > 5 else ""
    talk(f"{said} for {lanes}{more}", quiet=loaded.settings.quiet)
    if calls is not None:
        talk(f"at most {plural(done.concurrency or 0, 'call')} in flight over all models", quiet=loaded.settings.quiet)


def _check(limits: dict[str, Any], model: str | None, most: int | None) -> None:
    from batchrunner.core.budget import MOST_MONEY

    named = any(value is not None for value in limits.values())
    if most is None and not named:
        raise click.UsageError("name a limit: --concurrency, --rpm, --tpm or --max-cost")
    if most is not None and model is not None and not named:
        raise click.UsageError("--max-cost is of the whole run: leave --model out")
    if most is not None and most > MOST_MONEY:
        raise click.BadParameter(f"it must be at most {MOST_MONEY // PICO:,} dollars", param_hint="--max-cost")
