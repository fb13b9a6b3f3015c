"""``costs --reprice``: what was booked, beside what the same calls would cost at the prices of another day."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchrunner.cli.costtable import shown_key, shown_total
from batchrunner.cli.days import microseconds
from batchrunner.cli.facts import period_facts
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk
from batchrunner.cli.text import plural
from batchrunner.config import Loaded
from batchrunner.core.pricing import PICO, dollars
from batchrunner.core.slices import Within

if TYPE_CHECKING:
    from batchrunner.api.ledgers import Ledgers
    from batchrunner.api.repricing import Repriced, Sums

_KINDS = ("recorded", "estimated", "wasted")


def show_repriced(
    loaded: Loaded,
    books: "Ledgers",
    job: str | None,
    by: Sequence[str],
    period: Within,
    day: datetime,
    *,
    as_json: bool,
) -> None:
    """Show both sums of each slice, and their difference. Nothing is written."""
    from batchrunner.api.repricing import total

    rows = books.repriced(loaded.settings, microseconds(day), by, job, period)
    whole, name = total(rows), day.date().isoformat()
    if as_json:
        facts = {
            "on": name,
            "job": None if job is None else books.job(job).name,
            "by": tuple(by),
            **period_facts(period),
        }
        slices = [{**dict(zip(by, row.key, strict=True)), **_facts(row)} for row in rows]
        print_json({"schema": "batchrunner.reprice/1", **facts, "rows": slices, "total": _facts(whole)})
        return
    _show(by, rows, whole)
    quiet = loaded.settings.quiet
    talk(
        f"booked: by the prices of the moment at which each call was opened; repriced: by those of {name}", quiet=quiet
    )
    talk("nothing was changed; what was possibly billed is in neither, since nothing says what it used", quiet=quiet)
    if whole.booked.unpriced or whole.repriced.unpriced:
        talk(
            f"of unknown cost, and in none of the sums: {plural(whole.booked.unpriced, 'call')} as booked,"
            f" {whole.repriced.unpriced:,} repriced"
        )


def _show(by: Sequence[str], rows: Sequence["Repriced"], whole: "Repriced") -> None:
    shown = [*((shown_key(by, row.key), row) for row in rows if by), (shown_total(by), whole)]
    amounts = (*whole.booked[:3], *whole.repriced[:3])
    places = 6 if max(amounts) < PICO else None
    headers = [*by, "calls"]
    for kind in _KINDS:
        headers += [kind, "repriced", "difference"]
    lines = [(*key, *_cells(row, places)) for key, row in shown]
    table(headers, lines, right=range(len(by), len(headers)))


def _cells(row: "Repriced", places: int | None) -> tuple[str, ...]:
    cells = [f"{row.calls:,}"]
    for one, other in zip(row.booked[:3], row.repriced[:3], strict=True):
        cells += [dollars(one, places), dollars(other, places), dollars(other - one, places)]
    return tuple(cells)


def _facts(row: "Repriced") -> dict[str, Any]:
    difference = {kind: exact_signed(getattr(row.repriced, kind) - getattr(row.booked, kind)) for kind in _KINDS}
    return {
        "calls": row.calls,
        "booked": _sums(row.booked),
        "repriced": _sums(row.repriced),
        "difference_usd": difference,
    }


def _sums(sums: "Sums") -> dict[str, Any]:
    return {"usd": {kind: exact(getattr(sums, kind)) for kind in _KINDS}, "unpriced_calls": sums.unpriced}


def exact_signed(pico: int) -> str:
    """Return a difference in dollars with every digit."""
    return f"{'-' if pico < 0 else ''}{exact(abs(pico))}"
