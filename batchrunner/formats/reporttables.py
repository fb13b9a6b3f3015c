"""Tables of a report: a caption, headings that say what they head, rows that can be sorted, sums at the foot."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from batchrunner.core.figures import Slice
from batchrunner.formats.markup import Html, element, text
from batchrunner.formats.reportcells import bar, money, number, percent, places_of, tokens

SUMS: Final = ("recorded", "estimated", "possibly_billed", "wasted")
"""The sums of money, as they are called in a slice."""
MOST_ROWS: Final = 40
"""Rows of one table; what is cheaper stands in one more, so that a table still adds up."""


class Head(NamedTuple):
    """The heading of a column."""

    name: str
    figures: bool = True
    """Whether it holds figures, which stand to the right."""


class Merged(NamedTuple):
    """Slices that stand in one row."""

    key: tuple[str | None, ...]
    attempts: int = 0
    succeeded: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    recorded: int = 0
    estimated: int = 0
    possibly_billed: int = 0
    wasted: int = 0
    unpriced: int = 0
    wasted_estimated: int = 0
    images: int = 0
    pixels: int = 0
    milliseconds: int = 0
    characters: int = 0
    searches: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0


def named(measure: str) -> str:
    """Return the name of a sum as people read it."""
    return measure.replace("_", " ").capitalize()


def name_of(part: str | None) -> Html:
    """Return a part of a slice's key as it is shown: of a tag that is not there, and of a model without a name, too."""
    if part is None:
        return element("em", "unallocated")
    return text(part, 80) if part else element("em", "no name")


def merged(key: tuple[str | None, ...], slices: Sequence[Slice]) -> Merged:
    """Return the sum of slices, each figure for itself."""
    return Merged(key, *(sum(getattr(one, name) for one in slices) for name in Merged._fields[1:]))


def table(
    key: str,
    caption: str,
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    *,
    foot: Sequence[Sequence[str]] = (),
    titled: int = 1,
) -> Html:
    """Return a table that scrolls by itself where it is wider than the page.

    The first ``titled`` cells of a row are its heading. ``foot`` are rows that stay below, however it is sorted.
    """
    columns = [element("th", head.name, scope="col", class_="figure" if head.figures else None) for head in heads]
    body = [_row(heads, row, titled) for row in rows]
    below = element("tfoot", *(_row(heads, row, titled) for row in foot)) if foot else Html("")
    made = element(
        "table",
        element("caption", element("span", caption), id=f"{key}-caption"),
        element("thead", element("tr", *columns)),
        element("tbody", *body),
        below,
        class_="sorted" if len(rows) > 1 else None,
        id=key,
    )
    return element("div", made, class_="scroll", role="group", aria_labelledby=f"{key}-caption", tabindex=0)


def _row(heads: Sequence[Head], cells: Sequence[str], titled: int) -> Html:
    made = [
        element("th", cell, scope="row", class_="figure" if head.figures else None)
        if place < titled
        else element("td", cell, class_="figure" if head.figures else None)
        for place, (head, cell) in enumerate(zip(heads, cells, strict=True))
    ]
    return element("tr", *made)


class Sliced(NamedTuple):
    """A table of slices of the costs."""

    key: str
    caption: str
    heads: Sequence[str]
    """Of the parts of a slice's key."""
    slices: Sequence[Slice]
    most: int = MOST_ROWS


def sliced(asked: Sliced, total: Slice) -> Html:
    """Return the slices, dearest first, with the share that each has of the whole, and the whole at the foot."""
    ordered = sorted(asked.slices, key=_dearness, reverse=True)
    shown, rest = ordered[: asked.most], ordered[asked.most :]
    measure, word = measure_of(total)
    unpriced, places = total.unpriced > 0, places_of(getattr(total, name) for name in SUMS)
    names = [Head(name, figures=False) for name in asked.heads]
    sums = ("Recorded", f"Share of {word}", "Estimated", "Possibly billed", "Wasted")
    amounts = ("Calls", "Tokens in", "Cached", "Tokens out")
    heads = [*names, *map(Head, (*sums, *(["Unpriced calls"] * unpriced), *amounts))]

    def cells(one: Slice) -> list[Html]:
        part, whole = measure(one), measure(total)
        told = percent(part, 0 if _is_unknown(one) else whole)
        share = element("span", bar(part, whole), told, class_="share")
        recorded, *others = (amount_of(one, name, places) for name in SUMS)
        known = [number(one.unpriced)] if unpriced else []
        used = (tokens(one.input), tokens(one.cached), tokens(one.output))
        return [recorded, share, *others, *known, number(one.attempts), *used]

    width = len(asked.heads)
    rows = [[*(name_of(part) for part in one.key), *cells(one)] for one in shown]
    foot = []
    if rest:
        foot.append([f"{len(rest):,} more", *[""] * (width - 1), *cells(merged((), rest))])
    foot.append(["Total", *[""] * (width - 1), *cells(total)])
    return table(asked.key, asked.caption, heads, rows, foot=foot, titled=width)


def measure_of(total: Slice) -> tuple[Callable[[Slice], int], str]:
    """Return by which sum shares are told, and its name: sums are never mixed, so it is the first that there is."""
    name = next((name for name in SUMS if getattr(total, name)), "attempts")
    return attrgetter(name), "calls" if name == "attempts" else name.replace("_", " ")


def _dearness(one: Slice) -> tuple[int, ...]:
    return (*(getattr(one, name) for name in SUMS), one.unpriced, one.attempts)


def amount_of(one: Slice, name: str, places: int) -> Html:
    """Return a sum; where nothing but calls of unknown cost is known, no amount: $0 would say that they were free."""
    if _is_unknown(one):
        return element("data", "unpriced", value="", class_="nil")
    return money(getattr(one, name), places)


def _is_unknown(one: Slice) -> bool:
    return one.unpriced > 0 and not any(getattr(one, name) for name in SUMS)
