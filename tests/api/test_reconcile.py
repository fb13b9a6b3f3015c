"""An invoice against the books: what was billed for certain, and from which cent on it is told otherwise."""

import pytest

from batchrunner.api.ledgers import nothing
from batchrunner.api.reconcile import CENT, Reconciliation

BOOKS = nothing()._replace(
    recorded=70 * CENT, estimated=20 * CENT, wasted=9 * CENT, wasted_estimated=4 * CENT, possibly_billed=30 * CENT
)
"""75 cents by the provider's usage (5 of them wasted), 24 by our estimate (4 of them wasted), 30 more at most."""


def found(invoice: int) -> Reconciliation:
    return Reconciliation(invoice=invoice, books=BOOKS, parts=())


def test_what_was_wasted_was_billed_too_and_stands_with_what_it_is_certain_by() -> None:
    of = found(100 * CENT)
    assert (of.certain, of.estimated, of.most) == (75 * CENT, 24 * CENT, 129 * CENT)
    assert of.difference == CENT


@pytest.mark.parametrize(
    ("invoice", "verdict"),
    [
        (98 * CENT, "below"),
        (98 * CENT + 1, "agrees"),
        (100 * CENT - 1, "agrees"),
        (100 * CENT, "explained"),
        (130 * CENT, "explained"),
        (130 * CENT + 1, "above"),
    ],
)
def test_less_than_a_cent_agrees_and_what_broke_off_explains_no_more_than_its_holds(invoice: int, verdict: str) -> None:
    assert found(invoice).verdict == verdict
