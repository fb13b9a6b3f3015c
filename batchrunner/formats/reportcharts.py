"""Charts of a report: columns in SVG that stretch with the page, while their words keep their size.

Each has a title and a description for those who hear it, and a table with the same figures beneath it. Across, places
are percentages; upwards they are pixels. So nothing has to be measured where it is shown, and no style is inline.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from batchrunner.formats.markup import Html, element, joined, text

HEIGHT: Final = 232
LOW: Final = 168
"""Pixels, with the words beneath."""
_TOP: Final = 14
_FOOT: Final = 26
_AXIS: Final = 64
"""How wide the axis is at least, so that charts stand below each other."""
_LETTER: Final = 7
"""How wide a figure of an axis is at most."""
_TICKS: Final = 4
_WIDEST: Final = 14.0
"""How wide a column is at most, in percent: a single day is no wall."""
_LABELS: Final = 5
"""Words beneath a chart at most: so many find room on a telephone."""


class Series(NamedTuple):
    """One colour of a chart."""

    name: str
    style: str
    """The class that colours it."""


class Column(NamedTuple):
    """One column of a chart."""

    name: str
    """What it is, for who points at it."""
    label: str
    """What stands beneath it, where there is room."""
    amounts: tuple[int, ...]
    """One for each series, from the bottom up."""


class Mark(NamedTuple):
    """A line across a chart from top to bottom."""

    at: float
    """How far from the left, as a share of the width."""
    label: str


class Chart(NamedTuple):
    """A chart, and the words around it."""

    key: str
    """By which its parts refer to each other; unique on the page."""
    title: str
    description: str
    series: Sequence[Series]
    columns: Sequence[Column]
    told: Callable[[int], str]
    """An amount as words."""
    tick: Callable[[int, int], str]
    """An amount on the axis as words, with the distance between two of them."""
    marks: Sequence[Mark] = ()
    height: int = HEIGHT
    labelled: Sequence[int] | None = None
    """Which columns have words beneath them; None: some, evenly."""
    keyed: bool = True
    """Whether its colours have a legend."""


def figure(chart: Chart, table: Html) -> Html:
    """Return a chart with its heading, its legend and the table that holds the same figures."""
    return element(
        "figure",
        element("figcaption", element("strong", chart.title), " ", element("span", chart.description)),
        legend(chart.series) if chart.keyed else Html(""),
        drawn(chart),
        element("details", element("summary", "The same figures as a table"), table),
    )


def legend(series: Sequence[Series]) -> Html:
    """Return the names of colours."""
    entries = [element("li", element("span", class_=f"key {one.style}"), text(one.name, 60)) for one in series]
    return element("ul", *entries, class_="legend")


def drawn(chart: Chart) -> Html:
    """Return the chart itself: the axis to its left, which never shrinks, and the columns."""
    step, top = _scale(max((sum(column.amounts) for column in chart.columns), default=0))
    ticks = range(0, top + 1, step)
    words = [
        element("text", chart.tick(at, step), x="100%", dx=-8, y=f"{_y(chart, at, top) + 4:.1f}", text_anchor="end")
        for at in ticks
    ]
    heights = [f"{_y(chart, at, top):.1f}" for at in ticks]
    grid = [element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid") for y in heights]
    names = (f"{chart.key}-title", f"{chart.key}-desc")
    plot = element(
        "svg",
        element("title", chart.title, id=names[0]),
        element("desc", chart.description, id=names[1]),
        *grid,
        *(_column(chart, place, top) for place in range(len(chart.columns))),
        *(_marked(chart, mark) for mark in chart.marks),
        *_labels(chart),
        class_="plot",
        height=chart.height,
        role="img",
        aria_labelledby=" ".join(names),
    )
    wide = _LETTER * max(len(chart.tick(at, step)) for at in ticks) + 12
    axis = element("svg", *words, class_="axis", width=max(wide, _AXIS), height=chart.height, aria_hidden="true")
    return element("div", axis, plot, class_="chart")


def _scale(most: int) -> tuple[int, int]:
    """Return the distance of two lines, 1, 2 or 5 times a power of ten, and how high the chart is."""
    step = 1
    while step * _TICKS < most:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step, max(most, 1)


def _y(chart: Chart, amount: int, top: int) -> float:
    return _TOP + (chart.height - _TOP - _FOOT) * (1 - amount / top)


def _column(chart: Chart, place: int, top: int) -> Html:
    column, wide = chart.columns[place], 100 / len(chart.columns)
    drawn_wide = min(0.82 * wide, _WIDEST)
    x, width = f"{(place + 0.5) * wide - drawn_wide / 2:.2f}%", f"{drawn_wide:.2f}%"
    rects, below = [], 0
    for series, amount in zip(chart.series, column.amounts, strict=True):
        if amount > 0:
            upper, lower = _y(chart, below + amount, top), _y(chart, below, top)
            name = f"{series.name}: " if chart.keyed else ""
            tip = element("title", text(f"{column.name} · {name}{chart.told(amount)}"))
            place_of = {"x": x, "y": f"{upper:.1f}", "width": width, "height": f"{max(lower - upper, 0.6):.1f}"}
            rects.append(element("rect", tip, class_=series.style, **place_of))
        below += amount
    return joined(*rects)


def _marked(chart: Chart, mark: Mark) -> Html:
    at, late = f"{100 * mark.at:.2f}%", mark.at > 0.8
    return joined(
        element("line", x1=at, x2=at, y1=_TOP, y2=chart.height - _FOOT, class_="mark"),
        element(
            "text",
            mark.label,
            x=at,
            dx=-5 if late else 5,
            y=_TOP + 9,
            text_anchor="end" if late else "start",
            class_="mark",
        ),
    )


def _labels(chart: Chart) -> list[Html]:
    """Return the words beneath the columns: those at the ends stay inside."""
    number = len(chart.columns)
    every = max(1, -(-number // _LABELS))
    places = range(0, number, every) if chart.labelled is None else chart.labelled
    return [_label(chart, chart.columns[place].label, (place + 0.5) / number) for place in places]


def _label(chart: Chart, words: str, middle: float) -> Html:
    if middle < 0.06:
        return element("text", words, x=0, y=chart.height - 7, text_anchor="start")
    if middle > 0.94:
        return element("text", words, x="100%", y=chart.height - 7, text_anchor="end")
    return element("text", words, x=f"{100 * middle:.2f}%", y=chart.height - 7, text_anchor="middle")
