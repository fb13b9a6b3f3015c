"""``budget``: caps on money that outlive a run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import json_option, verb, wait_option
from batchrunner.cli.params import MONEY, TAG
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.config import Loaded
from batchrunner.core.pricing import PICO, dollars

if TYPE_CHECKING:
    from batchrunner.core.budget import Line, Period

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _whose(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say whose spending is meant, and how long a cap lasts."""
    for option in (
        click.option("--month", is_flag=True, help="Anew each month, in UTC."),
        click.option("--day", is_flag=True, help="Anew each day, in UTC."),
        click.option("--tag", "of_tag", type=TAG, help="What jobs or lines with this tag spend: team=search."),
        click.option("--job", "of_job", metavar="JOB", help="What one job spends."),
    ):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Caps on money: for all that this database spends, for a job or a tag; for good, or each day or month."""


@verb(name="set")
@click.argument("amount", type=MONEY)
@_whose
@click.option(
    "--warn", metavar="PERCENT", default="80", show_default=True, help="Tell at these levels: 50,80,95; none."
)
@wait_option
def set_command(loaded: Loaded, *, amount: int, warn: str, wait: bool, **whose: Any) -> None:
    """Cap spending at AMOUNT dollars. It replaces the cap that stood for the same; a run that is going on keeps to it.

    Before each call its worst case is set aside, so no cap is passed; what is used up holds its jobs back until it is
    raised, or its day or month (UTC) is over. What other databases spend is not counted.

    \b
    Examples:
      batchrunner budget set 200 --month
      batchrunner budget set 12.50 --job nightly --warn 50,90
      batchrunner budget set 5 --tag team=search --day
    """
    from batchrunner.api import verbs
    from batchrunner.core.budget import MOST_MONEY

    if amount > MOST_MONEY:
        raise click.BadParameter(f"a budget is at most {MOST_MONEY // PICO:,} dollars", param_hint="AMOUNT")
    job, tag, period = _meant(**whose)
    verbs.set_budget(loaded, amount, job=job, tag=tag, period=period, warn=_levels(warn), wait=wait)
    _tell(loaded)


@verb(name="remove")
@_whose
@wait_option
def remove_command(loaded: Loaded, *, wait: bool, **whose: Any) -> None:
    """Remove a cap: nothing holds that spending back any more.

    \b
    Examples:
      batchrunner budget remove --month
      batchrunner budget remove --job nightly
    """
    from batchrunner.api import verbs

    job, tag, period = _meant(**whose)
    verbs.remove_budget(loaded, job=job, tag=tag, period=period, wait=wait)
    _tell(loaded)


@verb(name="list")
@json_option
def list_command(loaded: Loaded, as_json: bool) -> None:
    """List the caps, and what counts against each in the day or month that it is now, in UTC.

    Committed is what was spent, what may have been billed (calls that broke off, or were lost in a crash, at their
    worst case), and what is held for calls that are open.

    \b
    Examples:
      batchrunner budget list
      batchrunner budget list --json
    """
    from batchrunner.api import reads

    with reads(loaded) as read:
        lines, jobs = read.budgets(), {str(job.id): job.name for job in read.jobs()}
    if as_json:
        print_json({"schema": "batchrunner.budgets/1", "budgets": [_facts(line) for line in lines]})
        return
    if not lines:
        talk("no budget is set: batchrunner budget set AMOUNT sets one", quiet=loaded.settings.quiet)
        return
    headers = ("budget", "cap", "committed", "spent", "possibly billed", "held", "left")
    table(headers, [_cells(line, jobs) for line in lines], right=range(1, len(headers)))
    unpriced = sum(line.spent.unpriced for line in lines)
    quiet = loaded.settings.quiet
    if unpriced:
        talk(f"{plural(unpriced, 'call')} of unknown cost can't be counted, and are in none of these", quiet=quiet)
    talk("days and months are UTC; only what this database spends is counted", quiet=quiet)


def _meant(
    *, of_job: str | None, of_tag: tuple[str, str] | None, day: bool, month: bool
) -> tuple[str | None, tuple[str, str] | None, "Period"]:
    from batchrunner.core.budget import Period

    if day and month:
        raise click.UsageError("a budget is for a day or for a month: give --day or --month, and set two for both")
    return of_job, of_tag, Period.DAY if day else Period.MONTH if month else Period.EVER


def _levels(text: str) -> tuple[int, ...]:
    if text.strip() == "none":
        return ()
    levels = [part.strip().removesuffix("%") for part in text.split(",")]
    if not all(level.isdecimal() and 1 <= int(level) <= 100 for level in levels) or len(levels) > 10:
        raise click.BadParameter("give percents such as 50,80,95, or none", param_hint="--warn")
    return tuple(map(int, levels))


def _tell(loaded: Loaded) -> None:
    from batchrunner.api import reads

    with reads(loaded) as read:
        lines = read.budgets()
    for line in lines:
        spent, cap = line.spent, line.budget.cap
        over = ": nothing more of it will be bought" if spent.committed >= cap else ""
        talk(
            f"budget {one_line(line.budget.name, 100)}: {dollars(spent.committed)} of {dollars(cap)} committed"
            f" ({dollars(spent.settled)} spent){over}",
            quiet=loaded.settings.quiet,
        )
    if not lines:
        talk("no budget is set", quiet=loaded.settings.quiet)


def _cells(line: "Line", jobs: dict[str, str]) -> tuple[str, ...]:
    budget, spent = line.budget, line.spent
    name = one_line(budget.name, 80)
    if budget.scope == "job" and budget.ref in jobs:
        name += f" ({one_line(jobs[budget.ref], 40)})"
    amounts = (budget.cap, spent.committed, spent.settled, spent.possibly, spent.open, budget.cap - spent.committed)
    return (name, *map(dollars, amounts))


def _facts(line: "Line") -> dict[str, Any]:
    budget, spent = line.budget, line.spent
    return {
        "scope": budget.scope.value,
        "ref": budget.ref,
        "period": budget.period.value,
        "cap": exact(budget.cap),
        "committed": exact(spent.committed),
        "spent": exact(spent.settled),
        "possibly_billed": exact(spent.possibly),
        "held": exact(spent.open),
        "left": exact(budget.cap - spent.committed),
        "unpriced_calls": spent.unpriced,
        "warn_percent": list(budget.warn),
    }


for _part in (set_command, remove_command, list_command):
    command.add_command(_part)
