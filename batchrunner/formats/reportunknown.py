"""What the sums of a report do not tell: calls of unknown cost, and money that no tag tells the owner of."""

from batchrunner.core.figures import Figures
from batchrunner.formats.markup import Html, element, joined, text
from batchrunner.formats.reportcells import money, number, percent_text, places_of
from batchrunner.formats.reporttables import SUMS, measure_of, merged, name_of, named


def unknown(figures: Figures) -> Html:
    """Return the two boxes: calls of unknown cost, and money that no tag tells the owner of."""
    if not figures.total.attempts:
        return element("p", "No call has ended yet.", class_="nothing")
    return element("div", _unpriced(figures), _unallocated(figures), class_="boxes")


def _unpriced(figures: Figures) -> Html:
    without = sorted((one for one in figures.models if one.unpriced), key=lambda one: -one.unpriced)
    if not without:
        said = element("p", "Every call that was or may have been billed has a known cost.")
        return element("section", element("h3", "Unpriced"), said, class_="box", id="unpriced")
    listed = [
        element("li", element("b", name_of(one.key[0]), dir="auto"), " · ", number(one.unpriced), " calls")
        for one in without[:20]
    ]
    more = [element("li", f"{len(without) - 20:,} more models")] if len(without) > 20 else []
    return element(
        "section",
        element("h3", "Unpriced"),
        element("p", number(figures.total.unpriced), " calls are of unknown cost, and in none of the sums."),
        element("ul", *listed, *more),
        element("p", "Give their models a price: ", element("code", "batchrunner prices set"), "."),
        class_="box warn",
        id="unpriced",
    )


def _unallocated(figures: Figures) -> Html:
    items, places = [], places_of(getattr(figures.total, name) for name in SUMS)
    measure, word = measure_of(figures.total)
    of_what = "the calls" if word == "calls" else f"what is {word}"
    for key, values in figures.tags:
        rest = merged((), [one for one in values if one.key == (None,)])
        held = [(name, amount) for name in SUMS if (amount := getattr(rest, name))]
        sums = [joined(money(amount, places), f" {named(name).lower()}") for name, amount in held]
        told = joined(*(joined(", " if place else "", part) for place, part in enumerate(sums)))
        if not rest.attempts:
            items.append(element("li", element("b", text(key, 60), dir="auto"), " · nothing, every call has it"))
            continue
        share = f"{percent_text(measure(rest), measure(figures.total))} of {of_what}"
        items.append(element("li", element("b", text(key, 60), dir="auto"), f" · {share}", ": " if told else "", told))
    said = (
        element("p", "What has no such tag, by the tag's key:")
        if items
        else element("p", "No call carries a tag: all of it is unallocated.")
    )
    return element(
        "section",
        element("h3", "Unallocated"),
        said,
        element("ul", *items) if items else Html(""),
        class_="box",
        id="unallocated",
    )
