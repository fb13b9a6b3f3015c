"""The live view: a panel on a terminal, a line every 30 seconds elsewhere, or one JSON object a second."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import anyio
import click
import msgspec

from batchrunner.api import Snapshot
from batchrunner.cli.pauses import short_text
from batchrunner.cli.pipes import until_unread
from batchrunner.cli.render import escaped
from batchrunner.cli.text import count, duration, one_line, plural, safe
from batchrunner.core.pricing import dollars

if TYPE_CHECKING:
    from rich.panel import Panel
    from rich.table import Table

    from batchrunner.api import BudgetView, LaneView

Mode = Literal["auto", "live", "plain", "json", "none"]
PLAIN_EVERY = 30.0
STILL = 2.0
"""Seconds that the program may stand still (a blocking callback, a stopped process, a starved machine) unmentioned."""
FRAME = 0.25
FRAMED = 4
"""Columns of a terminal that the panel's frame takes."""
GAP = 2
"""Columns between those of the table of lanes."""
SHORTEST = 8
ROOMY = ("model", "in flight", "requests/min", "tokens/min", "waits for")
NARROW = ("model", "air", "req/min", "tok/min", "waits for")


def choose(mode: Mode, *, quiet: bool) -> Mode:
    """Resolve ``auto``: a panel on a terminal, plain lines elsewhere."""
    if quiet:
        return "none"
    if mode != "auto":
        return mode
    return "live" if sys.stderr.isatty() else "plain"


async def show(snapshot: Callable[[], Snapshot], mode: Mode) -> None:
    """Show a run until cancelled, or until nobody listens on stderr any more: the run goes on without."""
    shower = {"live": _show_panel, "plain": _show_lines, "json": _show_json}.get(mode)
    if shower is not None:
        with until_unread(sys.stderr):
            await shower(snapshot)


def last_line(picture: Snapshot) -> str:
    """Return one line that says it all, for logs and for the end."""
    cost = _cost(picture) + _at_the_end(picture)
    eta = f", {duration(picture.eta)} left" if picture.eta else ""
    failed = f", {picture.failed:,} failed" if picture.failed else ""
    pace = (
        f"{picture.calls_per_second:.1f} calls/s, {picture.air}/{picture.concurrency} in flight{_first_token(picture)}"
    )
    still = f", stood still for {duration(picture.lag.most)}" if picture.lag.most > STILL else ""
    old = f", {_old(picture)}" if picture.tail.old else ""
    limit = f"limit: {picture.bottleneck}"
    return f"{picture.done:,}/{picture.total:,} done{failed}, {pace}, {cost}, {limit}{eta}{old}{still}"


async def _show_lines(snapshot: Callable[[], Snapshot]) -> None:
    told: set[str] = set()
    while True:
        await anyio.sleep(PLAIN_EVERY)
        picture = snapshot()
        click.echo(safe(last_line(picture)), err=True)
        for note in picture.notes:
            if note not in told:
                click.echo(safe(f"note: {note}"), err=True)
        told.update(picture.notes)


async def _show_json(snapshot: Callable[[], Snapshot]) -> None:
    while True:
        await anyio.sleep(1.0)
        click.echo(escaped(msgspec.json.encode(snapshot()).decode()), err=True)


async def _show_panel(snapshot: Callable[[], Snapshot]) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=1 / FRAME, transient=True, auto_refresh=False) as live:
        while True:
            live.update(panel(snapshot(), console.width), refresh=True)
            await anyio.sleep(FRAME)


def panel(picture: Snapshot, width: int) -> "Panel":
    """Return what is shown of a run on a terminal so wide."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(f"{picture.done:,}/{picture.total:,}"),
        ProgressBar(total=max(1, picture.total), completed=picture.done, width=30),
        Text(f"{picture.done / max(1, picture.total):.0%}"),
        Text(f"{duration(picture.eta)} left" if picture.eta else "estimating"),
        Text(f"{duration(picture.elapsed)} so far", style="dim"),
    )
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(picture):
        facts.add_row(Text(name, style="dim"), Text(value))
    title = "batchrunner"
    if picture.stopping:
        title = f"stopping: {plural(picture.air, 'call')} in flight; Ctrl-C again drops them (they may be billed)"
    return Panel(
        Group(head, facts, _lanes(picture, width - FRAMED)),
        title=title,
        border_style="yellow" if picture.stopping else "cyan",
    )


def _facts(picture: Snapshot) -> list[tuple[str, str]]:
    tokens = f"{count(picture.tokens_in_per_second)} in, {count(picture.tokens_out_per_second)} out tok/s"
    facts = [
        ("speed", f"{picture.calls_per_second:.1f} calls/s   {tokens}{_first_token(picture)}"),
        ("in flight", f"{picture.air}/{picture.concurrency}   limited by {one_line(picture.bottleneck, 60)}"),
        ("spent", _cost(picture) + _at_the_end(picture) + _before(picture)),
        *(("budget", _budget(view)) for view in picture.budgets),
        ("rows", f"{picture.succeeded:,} done, {picture.failed:,} failed, {picture.retried:,} retried"),
    ]
    if picture.tail.old:
        facts.append(("tail", _old(picture)))
    facts.extend(("paused", one_line(short_text(view), 100)) for view in picture.pauses)
    facts.extend(("note", one_line(note, 100)) for note in picture.notes)
    if picture.errors:
        kinds = sorted(picture.errors.items(), key=lambda item: -item[1])
        facts.append(("errors", "   ".join(f"{kind} {number:,}" for kind, number in kinds[:5])))
    return facts


def _first_token(picture: Snapshot) -> str:
    """Return how soon streamed answers begin; nothing where there are none."""
    return "" if picture.ttft is None else f", first token after {picture.ttft:.2f} s"


def _old(picture: Snapshot) -> str:
    """Return the tail: what has been out for long."""
    return f"{plural(picture.tail.old, 'row')} older than 10 min, the oldest {duration(picture.tail.longest)}"


def _lanes(picture: Snapshot, width: int) -> "Table":
    """Return the lanes with most in flight. What they wait for and their limits stay readable on a narrow terminal: who
    set a limit goes first, then the front of long names of models.
    """
    from rich.table import Table
    from rich.text import Text

    rows = _lane_rows(picture, ROOMY, who=True)
    if _wide(rows) > width:
        rows = _lane_rows(picture, NARROW, who=False)
    names = max(SHORTEST, width - _wide([("", *row[1:]) for row in rows]))
    table = Table(box=None, padding=(0, GAP, 0, 0), show_edge=False, header_style="dim")
    for column in rows[0]:
        table.add_column(column, no_wrap=True)
    for model, *cells in rows[1:]:
        table.add_row(Text(_end_of(model, names)), *map(Text, cells))
    return table


def _lane_rows(picture: Snapshot, heads: tuple[str, ...], *, who: bool) -> list[tuple[str, ...]]:
    rows = [heads]
    for lane in sorted(picture.lanes, key=lambda lane: -lane.air)[:8]:
        names = ("concurrency", "rpm", "tpm")
        limits = (_headroom(lane.limits.get(name), lane.who.get(name) if who else None) for name in names)
        rows.append((one_line(lane.model, 60), *limits, waits_text(lane, 60 if who else 24)))
    return rows


def _wide(rows: Sequence[Sequence[str]]) -> int:
    """Return the columns of the terminal that a table takes; a character may take two."""
    from rich.cells import cell_len

    return sum(max(map(cell_len, column)) + GAP for column in zip(*rows, strict=True))


def _end_of(name: str, width: int) -> str:
    """Return a model's name, without who made it and then cut in front where it is too long: sizes stand at the end."""
    if len(name) > width:
        name = name.rpartition("/")[2]
    return name if len(name) <= width else "…" + name[len(name) - width + 1 :]


def waits_text(lane: "LaneView", width: int) -> str:
    """Return what keeps a lane from sending more, and when it is tried again."""
    if lane.note:
        return f"stopped: {one_line(lane.note, width)}"
    return lane.bottleneck if lane.resumes is None else f"{lane.bottleneck}, again in {duration(lane.resumes)}"


def _headroom(limit: tuple[float, float] | None, who: str | None) -> str:
    """Return what is used of a limit, and who set it: you, what was learned, or the provider's header."""
    if limit is None:
        return "no limit"
    return f"{count(limit[0])}/{count(limit[1])}" + (f" {one_line(who, 20)}" if who else "")


def limits_now(lane: "LaneView") -> str:
    """Return the limits in force, and who set each, for a line of text."""
    parts = [(name, limit[1], lane.who.get(name, "")) for name, limit in lane.limits.items()]
    return ", ".join(
        f"{name} {count(limit)}" + (f" ({one_line(who, 20)})" if who else "") for name, limit, who in parts
    )


def _at_the_end(picture: Snapshot) -> str:
    """Return what the run will have cost at its end, as its answers tell; nothing where nothing tells."""
    return "" if picture.projected is None else f" of about {dollars(picture.projected)}"


def _before(picture: Snapshot) -> str:
    """Return what was estimated before the run; nothing where nobody did."""
    return "" if picture.expected is None else f"   estimated before: {dollars(picture.expected)}"


def _budget(view: "BudgetView") -> str:
    used_up = ", used up" if view.used_up else ""
    return f"{one_line(view.name, 60)}: {dollars(view.committed)} of {dollars(view.cap)} committed{used_up}"


def _cost(picture: Snapshot) -> str:
    parts = [dollars(picture.recorded)]
    if picture.estimated:
        parts.append(f"+ {dollars(picture.estimated)} estimated")
    if picture.possibly_billed:
        parts.append(f"+ up to {dollars(picture.possibly_billed)} possibly billed")
    if picture.wasted:
        parts.append(f"+ {dollars(picture.wasted)} wasted")
    if picture.unpriced:
        parts.append(f"+ {picture.unpriced:,} unpriced calls")
    return " ".join(parts)
