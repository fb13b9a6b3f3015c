"""``costs reconcile``: an invoice against the books."""

from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.params import MONEY
from batchrunner.cli.periods import PERIOD, within
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk
from batchrunner.cli.text import one_line
from batchrunner.config import Loaded
from batchrunner.core.pricing import dollars

if TYPE_CHECKING:
    from batchrunner.api.reconcile import Reconciliation

VERDICTS = {
    "agrees": "the invoice agrees with the books to the cent",
    "explained": "the invoice is higher, by no more than what was possibly billed",
    "below": "the invoice is lower than what the books hold",
    "above": "the invoice is higher than all that the books can explain",
}


@verb(several=True)
@click.argument("job", metavar="[JOB]", required=False)
@click.option("--invoice", type=MONEY, required=True, help="What the provider asks for, in dollars: 123.45.")
@click.option("--month", type=PERIOD, required=True, help="What it is for: 2026-11.")
@click.option("--of", "whose", metavar="NAME", help="Whose invoice it is, where the books hold several providers.")
@click.option("--tz", "zone", metavar="ZONE", help="The time zone of the invoice's days.  [default: UTC]")
@json_option
def command(
    loaded: Loaded,
    *,
    more: tuple[str, ...],
    job: str | None,
    invoice: int,
    month: tuple[int, int],
    whose: str | None,
    zone: str | None,
    as_json: bool,
) -> None:
    """Hold a provider's invoice against the books: the difference, and what it is likely made of.

    \b
    Examples:
      batchrunner costs reconcile --invoice 123.45 --month 2026-11
      batchrunner costs reconcile --invoice 123.45 --month 2026-11 --of together --tz America/Los_Angeles
    """
    from batchrunner.api.ledgers import ledgers
    from batchrunner.api.reconcile import reconcile

    with ledgers(loaded, more) as books:
        found = reconcile(books, invoice, within(None, None, month, (), zone), ref=job, provider=whose)
    if as_json:
        print_json(_facts(found))
        return
    _show(found)
    talk(VERDICTS[found.verdict], quiet=loaded.settings.quiet)


def _show(found: "Reconciliation") -> None:
    lines = [
        ("invoice", dollars(found.invoice)),
        ("recorded (wasted ones too)", dollars(found.certain)),
        ("estimated (wasted ones too)", dollars(found.estimated)),
        ("difference", dollars(found.difference)),
        ("possibly billed, at most", dollars(found.books.possibly_billed)),
    ]
    table(("what", "amount"), lines, right=[1])
    if found.parts:
        click.echo()
        table(
            ("from", "to", "likely part"),
            [(_bound(part.low), _bound(part.high), one_line(part.words, 110)) for part in found.parts],
            right=[0, 1],
        )


def _bound(amount: int | None) -> str:
    return "?" if amount is None else dollars(amount)


def _facts(found: "Reconciliation") -> dict[str, Any]:
    return {
        "schema": "batchrunner.reconcile/1",
        "verdict": found.verdict,
        "usd": {
            "invoice": exact(found.invoice),
            "recorded": exact(found.certain),
            "estimated": exact(found.estimated),
            "possibly_billed": exact(found.books.possibly_billed),
            "difference": exact(found.difference),
        },
        "unpriced_calls": found.books.unpriced,
        "parts": [
            {"kind": part.kind, "words": part.words, "from": exact(part.low), "to": exact(part.high)}
            for part in found.parts
        ],
    }
