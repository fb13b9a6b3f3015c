"""The budgets of a report: what may be spent, what is committed of it, and what is left."""

from datetime import UTC, datetime
from typing import Final

from batchrunner.core.clock import SECOND
from batchrunner.core.figures import Capped, Figures
from batchrunner.formats.markup import Html, element, joined, text
from batchrunner.formats.reportcells import bar, money, number, percent, places_of
from batchrunner.formats.reporttables import Head, table

MOST: Final = 40
"""Budgets that are listed, those nearest to their end first."""


def budgets(figures: Figures) -> Html:
    """Return every budget with its cap, and what counts against it, in the words of ``budget list``."""
    if not figures.budgets:
        advice = element("code", "batchrunner budget set 200 --month")
        return element("p", "No budget is set; to cap what is spent: ", advice, ".", class_="nothing")
    order = fullest_first(figures)
    several, unpriced = len(figures.databases) > 1, any(one.spent.unpriced for one in order)
    heads = [Head("Database", figures=False)] * several + [Head("Budget", figures=False)]
    heads += map(Head, ("Cap", "Committed", "Of the cap", "Spent", "Possibly billed", "Held", "Left"))
    heads += [Head("Unpriced calls")] * unpriced
    places = places_of(one.budget.cap for one in order)
    rows = [
        [*([text(one.database, 80)] * several), name_of_budget(one), *_amounts(one, places)]
        + [number(one.spent.unpriced)] * unpriced
        for one in order[:MOST]
    ]
    at = datetime.fromtimestamp(figures.made / SECOND, UTC)
    more = f" (the fullest {MOST} of {len(order):,})" if len(order) > MOST else ""
    caption = f"Budgets as they stood on {at:%Y-%m-%d at %H:%M} UTC{more}"
    return table("budgets", caption, heads, rows, titled=1 + several)


def fullest_first(figures: Figures) -> list[Capped]:
    """Return the budgets, those of which the largest share is committed first."""
    return sorted(figures.budgets, key=lambda one: (-(one.spent.committed * 10**12 // (one.budget.cap or 1)), one[:3]))


def name_of_budget(one: Capped) -> Html:
    """Return what people call a budget, and its state where it is more than half a cap."""
    name = text(one.budget.name, 80)
    named = joined(name, " (", text(one.job, 60), ")") if one.job else name
    state = _state(one)
    return joined(named, " ", element("span", state, class_="flag")) if state else named


def used_up(one: Capped) -> bool:
    """Whether nothing more of it will be bought."""
    return one.left <= 0


def _state(one: Capped) -> str:
    if used_up(one):
        return "used up"
    passed = [level for level in one.budget.warn if 100 * one.spent.committed >= level * one.budget.cap]
    return f"{max(passed)} % passed" if passed else ""


def _amounts(one: Capped, places: int) -> list[Html]:
    cap, spent = one.budget.cap, one.spent
    share = element("span", bar(spent.committed, cap), percent(spent.committed, cap), class_="share")
    amounts = (spent.settled, spent.possibly, spent.open, one.left)
    return [money(cap, places), money(spent.committed, places), share, *(money(amount, places) for amount in amounts)]
