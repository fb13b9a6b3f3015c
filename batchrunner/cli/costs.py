"""``costs``: the four sums, whole or in slices, of one period or of two."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli import costtable
from batchrunner.cli.facts import compared_facts, cost_facts, job_facts, period_facts, waste_facts
from batchrunner.cli.options import json_option, verb
from batchrunner.cli.periods import HAVING, PERIOD, SPAN, Period, Tag, within
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, talk
from batchrunner.cli.reprice import show_repriced
from batchrunner.cli.text import plural
from batchrunner.config import Loaded
from batchrunner.core.slices import Within

if TYPE_CHECKING:
    from batchrunner.api.ledgers import Ledgers
    from batchrunner.store.base import CostRow

FILES = ("csv", "parquet", "focus")


class _Costs(click.Command):
    """``costs``, and ``costs reconcile``, which takes other words; a job of that name is asked for by its number."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the words as those of whichever of the two is meant."""
        if args[:1] != ["reconcile"]:
            return super().make_context(info_name, args, parent, **extra)
        from batchrunner.cli.reconcile import command as reconcile

        return reconcile.make_context("costs reconcile", args[1:], parent, **extra)


@verb(several=True, cls=_Costs)
@click.argument("job", metavar="[JOB]", required=False)
@click.option(
    "--by",
    metavar="SLICE",
    multiple=True,
    help="model, job, day, month, endpoint, provider, account, outcome, tag:KEY, db; repeat it, or use commas.",
)
@click.option("--since", type=PERIOD, help="From this day or month on: 2026-11-05, 2026-11, yesterday.")
@click.option("--until", "last", type=PERIOD, help="To the end of this day or month.")
@click.option("--month", type=PERIOD, help="In this month: 2026-11.")
@click.option("--tag", "having", type=HAVING, multiple=True, help="Only team=search; `team=`: only without a team.")
@click.option("--tz", "zone", metavar="ZONE", help="Where days begin: Europe/Berlin.  [default: UTC]")
@click.option("--compare", "span", type=SPAN, help="Beside another period: previous, 2026-10, 2026-10-01..2026-10-15.")
@click.option(
    "--reprice",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="Beside it what the same calls would cost at the prices of this day, UTC. Changes nothing.",
)
@click.option("--csv", "as_csv", is_flag=True, help="As CSV.")
@click.option("--parquet", "as_parquet", is_flag=True, help="As a Parquet file.")
@click.option("--format", "form", type=click.Choice(FILES), help="csv, parquet, or focus: FOCUS 1.3 for finance tools.")
@click.option("-o", "--output", metavar="OUT", default="-", help="A file for these.  [default: stdout]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def command(
    loaded: Loaded,
    *,
    more: tuple[str, ...],
    job: str | None,
    by: tuple[str, ...],
    since: Period | None,
    last: Period | None,
    month: Period | None,
    having: tuple[Tag, ...],
    zone: str | None,
    span: tuple[Period | None] | None,
    reprice: datetime | None,
    as_csv: bool,
    as_parquet: bool,
    form: str | None,
    output: str,
    force: bool,
    as_json: bool,
) -> None:
    """Show what it cost, of one job or of all, sliced as you like. Failed calls count too.

    Recorded, estimated, possibly billed and wasted are four sums and are never mixed. Pictures, megapixels, minutes of
    sound or film, characters and searches have columns of their own where there are any. Days are UTC.
    `costs reconcile --help` tells of invoices.

    \b
    Examples:
      batchrunner costs --by model
      batchrunner costs quickstart --by day,endpoint
      batchrunner costs --by tag:team --month 2026-11 --compare previous
      batchrunner costs --db a.db --db b.db --by db,job --csv -o costs.csv
      batchrunner costs --month 2026-11 --format focus -o focus.csv
      batchrunner costs reconcile --invoice 123.45 --month 2026-11
      batchrunner costs --by model --reprice 2026-12-01
    """
    from batchrunner.api.ledgers import ledgers

    form = _form(form, as_csv=as_csv, as_parquet=as_parquet, as_json=as_json)
    slices = tuple(dict.fromkeys(name.strip() for each in by for name in each.split(",") if name.strip()))
    if reprice is not None and (form in FILES or span is not None):
        raise click.UsageError("--reprice is a comparison of its own, as a table or as --json")
    period = within(since, last, month, having, zone)
    asked = _Asked(slices, job, period)
    with ledgers(loaded, more) as books:
        if form in FILES:
            rows = _write(books, asked, span, form, output, force=force)
            talk(f"{plural(rows, 'row')} in {output}", quiet=loaded.settings.quiet or output == "-")
        elif reprice is not None:
            show_repriced(loaded, books, job, slices, period, reprice, as_json=as_json)
        elif span is not None:
            _compare(loaded, books, asked, span[0], as_json=as_json)
        else:
            _slices(loaded, books, asked, as_json=as_json)


class _Asked:
    """What was asked for."""

    def __init__(self, slices: tuple[str, ...], job: str | None, period: Within) -> None:
        self.slices, self.job, self.period = slices, job, period

    def than(self, span: Period | None) -> Within | None:
        """Return the period to compare with; None: the one before."""
        return None if span is None else self.period._replace(since=span[0], until=span[1])


def _form(form: str | None, *, as_csv: bool, as_parquet: bool, as_json: bool) -> str:
    chosen = [name for name, wanted in (("csv", as_csv), ("parquet", as_parquet), ("json", as_json)) if wanted]
    chosen += [form] if form else []
    if len(set(chosen)) > 1:
        raise click.UsageError(f"one format at a time: not {' and '.join(dict.fromkeys(chosen))}")
    return chosen[0] if chosen else "table"


def _slices(loaded: Loaded, books: "Ledgers", asked: _Asked, *, as_json: bool) -> None:
    rows, saved = books.costs(asked.slices, asked.job, asked.period), books.savings(asked.job, asked.period)
    total = add_up(rows)
    if as_json:
        facts = [{**dict(zip(asked.slices, row.key, strict=True)), **cost_facts(row)} for row in rows]
        print_json({**_head(books, asked), "rows": facts, **_foot(total, saved)})
        return
    costtable.show(asked.slices, rows, total)
    for line in costtable.lines_of(total, saved):
        talk(line, quiet=loaded.settings.quiet)


def _compare(loaded: Loaded, books: "Ledgers", asked: _Asked, span: Period | None, *, as_json: bool) -> None:
    from batchrunner.api.ledgers import Compared

    rows = books.compared(asked.slices, asked.job, asked.period, asked.than(span))
    traffic = sum(row.traffic for row in rows)
    total = Compared((), add_up([row.now for row in rows]), add_up([row.before for row in rows]), traffic)
    if as_json:
        facts = [{**dict(zip(asked.slices, row.key, strict=True)), **compared_facts(row)} for row in rows]
        print_json({**_head(books, asked), "rows": facts, "total": compared_facts(total)})
        return
    costtable.show_compared(asked.slices, rows, total)
    said = "change is of recorded: by traffic, more answers at what one cost before; by price, what one costs more now"
    talk(said, quiet=loaded.settings.quiet)


def _write(
    books: "Ledgers", asked: _Asked, span: tuple[Period | None] | None, form: str, output: str, *, force: bool
) -> int:
    from batchrunner.api.costfiles import compared_table, slice_table, write
    from batchrunner.api.focus import focus_table

    if form == "focus":
        table, unknown = focus_table(books, asked.job, asked.period)
        if unknown:
            talk(f"{plural(unknown, 'call')} of unknown cost can't be in it: FOCUS has no word for unknown")
    elif span is not None:
        rows = books.compared(asked.slices, asked.job, asked.period, asked.than(span[0]))
        table = compared_table(asked.slices, rows)
    else:
        table = slice_table(asked.slices, books.costs(asked.slices, asked.job, asked.period))
    parquet = form == "parquet" or output.endswith(".parquet")
    write(table, output, parquet=parquet, force=force, databases=books.paths)
    return len(table[1])


def _head(books: "Ledgers", asked: _Asked) -> dict[str, Any]:
    return {
        "schema": "batchrunner.costs/1",
        "job": None if asked.job is None else job_facts(books.job(asked.job)),
        "by": asked.slices,
        **period_facts(asked.period),
    }


def _foot(total: "CostRow", saved: int) -> dict[str, Any]:
    return {"total": cost_facts(total), "waste": waste_facts(total), "cache_savings_usd": exact(saved)}


def add_up(rows: "Iterable[CostRow]") -> "CostRow":
    """Return the sums over all slices, each of its own kind."""
    from batchrunner.store.base import CostRow

    numbers = zip(*(row[1:] for row in rows), strict=True)
    sums: Sequence[int] = [sum(column) for column in numbers] or [0] * (len(CostRow._fields) - 1)
    return CostRow((), *sums)
