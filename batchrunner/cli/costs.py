"""``costs``: the four sums, whole or in slices."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from batchrunner.cli.facts import cost_facts, job_facts
from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.reprice import show_repriced
from batchrunner.cli.text import count, one_line
from batchrunner.cli.units import Column, used
from batchrunner.config import Loaded
from batchrunner.core.pricing import PICO, dollars

if TYPE_CHECKING:
    from batchrunner.store.base import CostRow

LEGEND: Final = (
    "recorded: used answers, by the provider's own usage",
    "estimated: used answers that came without usage, by our estimate or by what was asked for",
    "possibly billed: at most this for calls that broke off after they were sent, or were open when a runner died",
    "wasted: billed, but the answer was of no use",
)
"""What the sums mean; they are never added up."""

UNPRICED: Final = (
    "unpriced: calls of unknown cost, in none of the sums: their model has no price (put one into your price_files),"
    " or they broke off and nothing says what their answer would have come to (max_tokens bounds it)"
)

HEADERS: Final = (
    "calls", "tokens in", "cached", "tokens out", "recorded", "estimated", "possibly billed", "wasted", "unpriced",
)  # fmt: skip


TOKEN_COLUMNS: Final = 4
"""Columns of ``HEADERS`` before those of other units, which are shown where there are any."""


@verb()
@click.argument("job", metavar="[JOB]", required=False)
@click.option(
    "--by",
    metavar="SLICE",
    multiple=True,
    help="model, job, day, endpoint, provider or account; repeat it, or separate by commas.",
)
@click.option(
    "--reprice",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="Beside it what the same calls would cost at the prices of this day, UTC. Changes nothing.",
)
@json_option
def command(loaded: Loaded, *, job: str | None, by: tuple[str, ...], reprice: datetime | None, as_json: bool) -> None:
    """Show what it cost, of one job or of all, sliced as you like. Failed calls count too.

    Recorded, estimated, possibly billed and wasted are four sums and are never mixed. Pictures, megapixels, minutes of
    sound or film, characters and searches have columns of their own where there are any. Days are UTC.

    \b
    Examples:
      batchrunner costs --by model
      batchrunner costs quickstart --by day,endpoint
      batchrunner costs --by job --json
      batchrunner costs --by model --reprice 2026-12-01
    """
    from batchrunner.api import reads

    slices = tuple(dict.fromkeys(name.strip() for each in by for name in each.split(",") if name.strip()))
    if reprice is not None:
        show_repriced(loaded, job, slices, reprice, as_json=as_json)
        return
    with reads(loaded) as queue:
        found = None if job is None else queue.job(job)
        rows = queue.costs(slices, found)
    total = add_up(rows)
    if as_json:
        print_json(
            {
                "schema": "batchrunner.costs/1",
                "job": None if found is None else job_facts(found),
                "by": slices,
                "rows": [{**dict(zip(slices, row.key, strict=True)), **cost_facts(row)} for row in rows],
                "total": cost_facts(total),
            }
        )
        return
    _show(slices, rows, total)
    for line in (*LEGEND, *([UNPRICED] if total.unpriced else [])):
        talk(line, quiet=loaded.settings.quiet)


def add_up(rows: Sequence["CostRow"]) -> "CostRow":
    """Return the sums over all slices, each of its own kind."""
    from batchrunner.store.base import CostRow

    numbers = zip(*(row[1:] for row in rows), strict=True)
    sums: list[Any] = [sum(column) for column in numbers] or [0] * (len(CostRow._fields) - 1)
    return CostRow((), *sums)


def _show(slices: Sequence[str], rows: Sequence["CostRow"], total: "CostRow") -> None:
    width = len(slices)
    shown = [(row.key, row) for row in rows] if slices else []
    shown.append((("total", *[""] * (width - 1)) if slices else (), total))
    places = 6 if max(_sums(total)) < PICO else None  # a small job costs less than a hundredth of a cent
    units = used(total)
    headers = [*HEADERS[:TOKEN_COLUMNS], *(unit.header for unit in units), *HEADERS[TOKEN_COLUMNS:]]
    if not total.unpriced:
        headers.pop()
    lines = [(*(one_line(part, 60) for part in key), *_cells(row, units, places)[: len(headers)]) for key, row in shown]
    table((*slices, *headers), lines, right=range(width, width + len(headers)))


def _sums(row: "CostRow") -> tuple[int, int, int, int]:
    return row.recorded, row.estimated, row.possibly_billed, row.wasted


def _cells(row: "CostRow", units: Sequence[Column], places: int | None) -> tuple[str, ...]:
    sums = _sums(row)
    # Nothing but calls of unknown cost: a row of $0.00 would say that they were free.
    amounts = ["unpriced"] * 4 if row.unpriced and not any(sums) else [dollars(amount, places) for amount in sums]
    tokens = (count(row.input), count(row.cached), count(row.output))
    others = [unit.shown(amount) if (amount := getattr(row, unit.name)) else "-" for unit in units]
    return (f"{row.attempts:,}", *tokens, *others, *amounts, f"{row.unpriced:,}")
