"""``costs --reprice``: what was booked, beside what the same calls would cost at the prices of another day."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchrunner.cli.days import microseconds
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.config import Loaded
from batchrunner.core.pricing import PICO, dollars

if TYPE_CHECKING:
    from batchrunner.api.repricing import Repriced, Sums

_KINDS = ("recorded", "estimated", "wasted")


def show_repriced(loaded: Loaded, job: str | None, by: Sequence[str], day: datetime, *, as_json: bool) -> None:
    """Show both sums of each slice, and their difference. Nothing is written."""
    from batchrunner.api import price_book, reads
    from batchrunner.api.repricing import reprice, total

    at = microseconds(day)
    with reads(loaded) as read:
        found = None if job is None else read.job(job)
        rows = reprice(read.billed(found), price_book(loaded.settings, read.prices()), at, by)
    whole, name = total(rows), day.date().isoformat()
    if as_json:
        facts = {"on": name, "job": None if found is None else found.name, "by": tuple(by)}
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
    shown = [*((row.key, row) for row in rows if by), (("total", *[""] * (len(by) - 1)) if by else (), whole)]
    amounts = (*whole.booked[:3], *whole.repriced[:3])
    places = 6 if max(amounts) < PICO else None
    headers = [*by, "calls"]
    for kind in _KINDS:
        headers += [kind, "repriced", "difference"]
    lines = [(*(one_line(part, 60) for part in key), *_cells(row, places)) for key, row in shown]
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
