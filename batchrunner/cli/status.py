"""``status``: where the jobs stand, or one job in full."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli import facts
from batchrunner.cli.held import pause_facts, tell_pauses
from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import money, table, talk, when
from batchrunner.cli.text import command_line, duration, one_line, plural, safe
from batchrunner.config import Loaded
from batchrunner.core.clock import SECOND, SystemClock
from batchrunner.core.pricing import dollars

if TYPE_CHECKING:
    from batchrunner.api import JobStatus, Snapshot
    from batchrunner.store.base import LaneRow, RunnerRow


@verb()
@click.argument("job", metavar="[JOB]", required=False)
@json_option
def command(loaded: Loaded, job: str | None, as_json: bool) -> None:
    """Show the jobs, or one job: its requests by state, what its lanes wait for, its cost, and what to do next.

    It only reads, also beside a live run. JOB is a job's number, its name or its file.

    \b
    Examples:
      batchrunner status
      batchrunner status quickstart
      batchrunner status 1 --json
    """
    from batchrunner.api import reads

    now = SystemClock().now()
    with reads(loaded) as queue:
        standing = queue.statuses(None if job is None else [queue.job(job)])
        if job is not None:
            standing = [queue.with_texts(each) for each in standing]
        runner = queue.runner()
    if as_json:
        print_json(_as_facts(standing, runner, now))
    elif job is None:
        _show_jobs(loaded, standing, runner, now)
    else:
        _show_job(loaded, standing[0], runner, now)
    if not as_json:
        pauses = dict.fromkeys(pause for each in standing for pause in each.pauses)
        tell_pauses(loaded, list(pauses), [each.job for each in standing], now)


def _as_facts(standing: Sequence["JobStatus"], runner: "RunnerRow | None", now: int) -> dict[str, Any]:
    return {
        "schema": "batchrunner.status/1",
        "jobs": [
            {
                **facts.job_facts(each.job),
                "state": _state(each, runner, now),
                "counts": facts.count_facts(each.counts),
                **({} if each.texts is None else {"texts": each.texts._asdict()}),
                "costs": facts.cost_facts(each.costs),
                "pauses": [pause_facts(pause) for pause in each.pauses],
                "lanes": [facts.lane_facts(lane) for lane in each.lanes],
            }
            for each in standing
        ],
        "runner": facts.runner_facts(runner, now),
    }


def _show_jobs(loaded: Loaded, standing: Sequence["JobStatus"], runner: "RunnerRow | None", now: int) -> None:
    rows = [
        (
            str(each.job.id),
            one_line(each.job.name, 40),
            _state(each, runner, now),
            f"{_done(each):,}/{each.counts.total:,}",
            f"{each.counts.failed + each.counts.quarantined:,}",
            money(each.costs),
            when(each.job.created) or "",
        )
        for each in standing
    ]
    table(("job", "name", "state", "done", "failed", "cost", "loaded"), rows, right=(0, 3, 4))
    _show_run(runner, now)
    if not rows:
        talk(f"no jobs yet; next: {command_line(loaded, 'load', 'FILE')}", quiet=loaded.settings.quiet)


def _show_job(loaded: Loaded, status: "JobStatus", runner: "RunnerRow | None", now: int) -> None:
    job, counts = status.job, status.counts
    table(
        ("job", str(job.id)),
        [
            ("name", one_line(job.name, 80)),
            ("state", _state(status, runner, now)),
            ("file", job.source.path),
            ("loaded", when(job.created) or ""),
            *([("tags", ", ".join(f"{key}={value}" for key, value in job.tags))] if job.tags else []),
            ("done", f"{_done(status):,} of {counts.total:,}"),
            *((name, f"{number:,}") for name, number in counts._asdict().items() if name != "total" and number),
            *(_texts(status)),
            *((f"cost {name}", amount) for name, amount in _sums(status)),
        ],
    )
    if status.lanes:
        click.echo()
        lanes = [
            (lane.lane.provider, one_line(lane.lane.model, 60), f"{lane.queued:,}", _waits(lane, now))
            for lane in status.lanes
        ]
        table(("provider", "model", "queued", "waits for"), lanes, right=(2,))
    _show_run(runner, now)
    for line in _next(loaded, status, runner, now):
        talk(line, quiet=loaded.settings.quiet)


def _texts(status: "JobStatus") -> list[tuple[str, str]]:
    """Return what became of a corpus' texts, whose requests are packs."""
    if status.texts is None:
        return []
    names = {"total": "texts", "too_long": "texts too long"}
    return [
        (names.get(name, f"texts {name}"), f"{number:,}")
        for name, number in status.texts._asdict().items()
        if number or name == "total"
    ]


def _state(status: "JobStatus", runner: "RunnerRow | None", now: int) -> str:
    """Return the state, told apart from what a dead runner left behind."""
    if status.state != "running" or (runner is not None and facts.alive(runner, now)):
        return status.state
    return "interrupted"


def _done(status: "JobStatus") -> int:
    counts = status.counts
    return counts.total - counts.queued - counts.running


def _sums(status: "JobStatus") -> list[tuple[str, str]]:
    costs = status.costs
    if costs is None:
        return [("recorded", dollars(0))]
    sums = [
        ("recorded", costs.recorded), ("estimated", costs.estimated), ("possibly billed", costs.possibly_billed),
        ("wasted", costs.wasted),
    ]  # fmt: skip
    shown = [(name, dollars(amount)) for name, amount in sums if amount or name == "recorded"]
    return [*shown, ("unpriced", plural(costs.unpriced, "call"))] if costs.unpriced else shown


def _waits(lane: "LaneRow", now: int) -> str:
    wait = max(0, lane.paused_until - now) / SECOND
    reason = one_line(lane.pause, 80) if lane.pause else ""
    if not wait:
        return reason
    return f"{reason}, {duration(wait)}" if reason else f"a pause, {duration(wait)}"


def _show_run(runner: "RunnerRow | None", now: int) -> None:
    """Show what the live runner last said of itself."""
    if runner is None or not facts.alive(runner, now):
        return
    click.echo()
    picture = facts.snapshot_of(runner)
    click.echo(f"running: pid {runner.pid} on {one_line(runner.host, 60)}, {duration((now - runner.started) / SECOND)}")
    if picture is None:
        return
    from batchrunner.cli.live import last_line
    from batchrunner.cli.pauses import pause_text

    click.echo(safe(last_line(picture)))
    for view in picture.pauses:
        click.echo(safe(pause_text(view, picture)))
    _show_views(picture)


def _show_views(picture: "Snapshot") -> None:
    from batchrunner.cli.live import limits_now, waits_text

    click.echo()
    rows = [
        (one_line(f"{view.provider} {view.model}", 60), f"{view.air:,}", waits_text(view, 80), limits_now(view))
        for view in picture.lanes
    ]
    table(("live lane", "in flight", "limited by", "limits now"), rows, right=(1,))


def _next(loaded: Loaded, status: "JobStatus", runner: "RunnerRow | None", now: int) -> list[str]:
    name, counts = status.job.name, status.counts
    lines = []
    if counts.queued + counts.running and not (runner is not None and facts.alive(runner, now)):
        lines.append(f"go on: {command_line(loaded, 'run', name)}")
    if counts.failed + counts.quarantined:
        lines.append(f"look:  {command_line(loaded, 'errors', name)}")
        lines.append(f"again: {command_line(loaded, 'retry', name)}")
    if counts.flagged:
        lines.append(f"odd:   {command_line(loaded, 'results', name, '--flagged')}")
    if counts.succeeded:
        lines.append(f"get:   {command_line(loaded, 'results', name, '-o', 'out.jsonl')}")
    return lines
