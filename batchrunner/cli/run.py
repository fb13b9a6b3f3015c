"""``run``: load if needed, work, export."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import click

from batchrunner.api import Job, Planned, Recipe, RunReport, Session, Snapshot, session, watch
from batchrunner.api.room import vectors_to_come
from batchrunner.cli import interrupts
from batchrunner.cli.confirm import confirm
from batchrunner.cli.hangup import Hangup
from batchrunner.cli.live import Mode, choose, show
from batchrunner.cli.options import (
    job_options,
    judging_options,
    limit_options,
    money_options,
    pause_options,
    provider_options,
    recipe_options,
    verb,
    wait_option,
)
from batchrunner.cli.outcome import export_all, refuse_foreign_targets, tail_text, tell_outcome, tell_rescue
from batchrunner.cli.params import COUNT
from batchrunner.cli.pauses import tell_pauses
from batchrunner.cli.recipes import recipe_of, refuse_data
from batchrunner.cli.render import talk
from batchrunner.cli.text import plural
from batchrunner.config import Loaded
from batchrunner.core.errors import ExitCode
from batchrunner.store.base import Selection

HANGUP_SEEN = 0.5
"""Seconds until the live view notes that its terminal is gone."""


@verb()
@click.argument("what", metavar="[FILE|JOB]...", nargs=-1)
@click.option("-o", "--output", metavar="OUT", help="Where the results go: .jsonl, .csv, .parquet; failures beside.")
@click.option("--force", is_flag=True, help="Replace an output that this job did not write.")
@click.option("--limit", type=COUNT, help="Work on the first N rows only; the rest waits for the next run.")
@click.option("--sample", type=COUNT, help="Work on N random rows only.")
@click.option("--template", metavar="FILE", help="FILE is data: make a request of each row with this template.")
@recipe_options
@provider_options
@limit_options
@money_options
@judging_options
@pause_options
@job_options
@wait_option
def command(
    loaded: Loaded,
    *,
    what: tuple[str, ...],
    output: str | None,
    force: bool,
    name: str | None,
    add: bool,
    wait: bool,
    template: str | None,
    **given: Any,
) -> int:
    """Load if needed, work, export. Running it again continues where it stopped.

    Without FILE or JOB the whole queue is drained. A run that is stopped, by Ctrl-C, kill -9 or a power cut, loses no
    answer: the same command goes on.

    \b
    Examples:
      batchrunner run jobs/quickstart.jsonl -o out.jsonl --yes
      batchrunner run big.jsonl --limit 100 -o look.jsonl
      batchrunner run big.jsonl --max-cost 12.50 -o out.jsonl
      batchrunner run big.jsonl --until 06:30 --notify "mail -s batch me@example.com"
      batchrunner run books.csv --template prompt.jinja --model ID --id isbn --keep title -o out.csv
      batchrunner run big.jsonl --rpm 600 --tpm 180k --concurrency 64 -o out.jsonl
    """
    recipe = recipe_of(template, **given)
    hangup = Hangup(loaded.settings.db)
    hangup.expect()
    with session(loaded, wait=wait) as held:
        tell_rescue(held)
        jobs = [job_of(held, item, recipe, name=name, add=add) for item in what] or None
        refuse_foreign_targets(held, jobs, output, force=force)
        report = work(held, jobs, hangup)
        outputs = export_all(held, jobs, output, force=force)
        tell_outcome(held, jobs, report, outputs, output)
        return report.exit_code if report is not None else standing(held, jobs)


def job_of(held: Session, item: str, recipe: Recipe | None, *, name: str | None, add: bool) -> Job:
    """Return the job that an argument means: one that is there, or a file to load, or data for a template."""
    if recipe is not None:
        loaded = held.load_prepared(item, recipe, name=name, add=add)
    else:
        known = held.find(item)
        if known is not None:
            return known
        refuse_data(item)
        loaded = held.load(item, name=name, add=add)
    quiet = held.settings.quiet
    if loaded.added:
        talk(f"loaded {plural(loaded.added, 'request')} as job {loaded.job.id} ({loaded.job.name})", quiet=quiet)
    if loaded.changed:
        talk(f"{plural(loaded.changed, 'line')} differ from what was loaded and were left as they were", quiet=quiet)
    return loaded.job


def work(held: Session, jobs: list[Job] | None, hangup: Hangup) -> RunReport | None:
    """Run what is queued; None where nothing is."""
    settings = held.settings
    return spend(held, jobs, held.select(jobs, limit=settings.limit, sample_of=settings.sample), hangup)


def spend(held: Session, jobs: list[Job] | None, selection: Selection, hangup: Hangup) -> RunReport | None:
    """Run what is selected of what is queued, once it is confirmed; None where nothing is."""
    estimate = held.estimate(jobs, selection)
    if not estimate.requests and not held.unfinished(jobs):
        return None
    planned = held.plan(jobs, selection, estimate=estimate)
    if (short := held.short_of_room(estimate, vectors_to_come(held, held.settings, jobs))) is not None:
        talk(f"warning: {short}")
    confirm(held, estimate, held.shortfalls(estimate, jobs, selection))
    with interrupts.put_off() as signals:
        report = anyio.run(partial(_watched, planned, held, hangup, signals))
        if report.interrupted is not None:
            interrupts.never()  # it is stopping already: what is left to do is to export what is there, and to say so
    return report


async def _watched(planned: Planned, held: Session, hangup: Hangup, signals: list[int]) -> RunReport:
    """Run it, shown, and stopped by the ``signals`` that are noted meanwhile."""
    mode = choose(held.settings.progress, quiet=held.settings.quiet)
    async with anyio.create_task_group() as beside:
        beside.start_soon(watch, planned.run, signals, partial(_told, planned.run.snapshot, mode))
        beside.start_soon(_show, planned.run.snapshot, mode, hangup)
        if mode in ("plain", "none") and not held.settings.quiet:
            beside.start_soon(tell_pauses, planned.run.snapshot)
        report = await planned.execute()
        beside.cancel_scope.cancel()
    return report


async def _show(snapshot: Callable[[], Snapshot], mode: Mode, hangup: Hangup) -> None:
    """Show the run; on a terminal until that goes away, and from then on as lines for the log."""
    async with anyio.create_task_group() as shown:
        shown.start_soon(show, snapshot, mode)
        while not hangup.happened:  # noqa: ASYNC110 - set by a signal handler, outside of the event loop
            await anyio.sleep(HANGUP_SEEN)
        shown.cancel_scope.cancel()
    async with anyio.create_task_group() as logged:
        if mode == "live":
            logged.start_soon(tell_pauses, snapshot)
        if mode != "none":
            logged.start_soon(show, snapshot, "plain")


def _told(snapshot: Callable[[], Snapshot], mode: Mode, times: int) -> None:
    """Say what a signal does; the panel says it by itself."""
    if mode == "live":
        return
    picture = snapshot()
    if times == 1:
        talk(
            f"\nstopping: no new calls; waiting for {plural(picture.air, 'call')} in flight{tail_text(picture.tail)}."
            " Press Ctrl-C again to drop them (they may have been billed)."
        )
    elif times == 2:
        talk(f"dropping {plural(picture.air, 'call')} in flight{tail_text(picture.tail)}")


def standing(held: Session, jobs: list[Job] | None) -> int:
    """Return the exit code where nothing was left to do."""
    failed = sum(status.counts.failed + status.counts.quarantined for status in held.statuses(jobs))
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
