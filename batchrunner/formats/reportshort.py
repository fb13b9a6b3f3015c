"""A report in five lines: what it was mostly for, whether that is all, and whether it was as expected."""

from collections import Counter
from collections.abc import Sequence

from batchrunner.core.figures import Figures, Slice
from batchrunner.formats.markup import Html, element, joined, text
from batchrunner.formats.reportbudgets import fullest_first, name_of_budget, used_up
from batchrunner.formats.reportcells import money, number, percent_text, places_of
from batchrunner.formats.reporttables import SUMS, measure_of, name_of


def in_short(figures: Figures) -> Html:
    """Return the answers to what is asked first of any bill; nothing where there was no call."""
    if not figures.total.attempts:
        return Html("")
    answers = (
        ("Mostly for", _mostly(figures), "slices"),
        ("Is that all?", _complete(figures), "unknown"),
        ("As expected?", _expected(figures), "estimates"),
        ("Wasted", _wasted(figures), "failed"),
        ("Budgets", _budgets(figures), "budgets"),
    )
    lines = [
        element(
            "div",
            element("dt", element("a", asked, href=f"#section-{where}")),
            element("dd", told, id=f"short-{where}"),
        )
        for asked, told, where in answers
    ]
    return element("dl", *lines, class_="short")


def _mostly(figures: Figures) -> Html:
    measure, word = measure_of(figures.total)
    whole, found = measure(figures.total), list[Html]()
    days = Counter[str | None]()
    for one in figures.daily:
        days[one.key[0]] += measure(one)

    def add(what: str, name: str | None, part: int) -> None:
        found.append(joined(f"{what} ", element("b", name_of(name), dir="auto"), f" ({percent_text(part, whole)})"))

    for what, slices in (("model", figures.models), ("job", figures.jobs)):
        if top := _dearest(slices, figures):
            add(what, top.key[-1], measure(top))
    if len(days) > 1:
        add("day", *max(days.items(), key=lambda each: (each[1], each[0] or "")))
    return joined(_listed(found), f" of {whole:,} calls" if word == "calls" else f" of what is {word}", ".")


def _dearest(slices: Sequence[Slice], figures: Figures) -> Slice | None:
    measure, _ = measure_of(figures.total)
    return max(slices, key=measure, default=None)


def _listed(parts: Sequence[Html]) -> Html:
    return joined(*(joined(", " if place else "", part) for place, part in enumerate(parts)))


def _complete(figures: Figures) -> Html:
    total, places = figures.total, places_of(getattr(figures.total, name) for name in SUMS)
    beside = list[Html]()
    if total.possibly_billed:
        beside.append(joined("up to ", money(total.possibly_billed, places), " may be billed beside it"))
    if total.estimated:
        beside.append(joined(money(total.estimated, places), " is an estimate"))
    if waiting := sum(one.open for one in figures.requests):
        beside.append(joined(number(waiting), " request is" if waiting == 1 else " requests are", " still open"))
    if total.unpriced:
        share = percent_text(total.unpriced, total.attempts)
        calls = joined(number(total.unpriced), " call" if total.unpriced == 1 else " calls")
        unknown = element("span", "No: ", calls, f" ({share}) of unknown cost, in none of the sums", class_="flag")
        return joined(_listed([unknown, *beside]), ".")
    if beside:
        return joined("Not quite: ", _listed(beside), ".")
    return joined("Yes: every call has a known cost, by the provider's own usage.")


def _expected(figures: Figures) -> Html:
    told = figures.foreseen
    given, expected = (sum(getattr(one, name) for one in told) for name in ("input", "input_expected"))
    cost, hold = (sum(getattr(one, name) for one in told) for name in ("cost", "hold"))
    said = []
    if expected:
        said.append(joined("Input was ", element("b", percent_text(given, expected)), " of what was expected"))
    if hold:
        said.append(joined("answers cost ", element("b", percent_text(cost, hold)), " of their worst case"))
    return joined(_listed(said), ".") if said else joined("Not known: no answer told what it used.")


def _wasted(figures: Figures) -> Html:
    total, places = figures.total, places_of(getattr(figures.total, name) for name in SUMS)
    failed = sum(one.calls for one in figures.failures)
    share = f"{percent_text(failed, total.attempts)} of the calls brought no answer"
    if not total.wasted:
        return joined(f"Nothing that is known of; {share}.")
    most = max(figures.failures, key=lambda one: one.wasted, default=None)
    kind = Html("")
    if most is not None and 2 * most.wasted >= total.wasted:
        kind = joined(
            ", most of it by ", element("b", text(most.kind, 60), dir="auto"), " (", money(most.wasted, places), ")"
        )
    return joined(money(total.wasted, places), " for answers that were not used", kind, f"; {share}.")


def _budgets(figures: Figures) -> Html:
    if not figures.budgets:
        return joined("None is set.")
    fullest, *others = fullest_first(figures)
    share = percent_text(fullest.spent.committed, fullest.budget.cap)
    first = joined(element("b", name_of_budget(fullest), dir="auto"), f" ({share} committed)")
    if not others:
        return joined(first, ".")
    over = sum(map(used_up, figures.budgets))
    return joined(f"{over:,}" if over else "None", f" of {len(others) + 1:,} used up; the fullest: ", first, ".")
