"""How the calls went: pace, latency, failures, what was expected of them. The second half of a report."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from batchrunner.core.clock import DAY, MINUTE, SECOND
from batchrunner.core.figures import Figures, Flow, Foreseen, Latency
from batchrunner.formats.markup import Html, element, joined, text
from batchrunner.formats.reportcells import (
    bare,
    lasting,
    lasting_text,
    money,
    number,
    percent,
    places_of,
    short,
    tokens,
)  # fmt: skip
from batchrunner.formats.reportcharts import LOW, Chart, Column, Mark, Series, figure
from batchrunner.formats.reporttables import Head, name_of, table

_CALLS: Final = (Series("Answered", "good"), Series("Turned away as too many", "slow"), Series("Failed", "bad"))
_STEPS: Final = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
_EDGES: Final[tuple[int, ...]] = (0, *(step * 10**power for power in range(9) for step in _STEPS))
"""Milliseconds at which the columns of latencies begin, ten in a decade."""
_SHARES: Final = (50, 90, 95, 99)


def pace(figures: Figures) -> Html:
    """Return how many calls ended when, and how many of them were turned away."""
    if not figures.flows:
        return element("p", "No call has ended yet.", class_="nothing")
    flows, span = _filled(figures.flows), _span(figures.stretch)
    names = [_moment(flow.stretch * figures.stretch, figures.zone) for flow in flows]
    short_names = _short_names(flows, figures)
    heads = [Head("From", figures=False), *(Head(one.name) for one in _CALLS), Head("Tokens")]
    rows = [
        [name, *(number(n) for n in (flow.answered, flow.throttled, flow.failed)), tokens(flow.tokens)]
        for name, flow in zip(names, flows, strict=True)
        if any(flow[1:])
    ]
    calls = Chart(
        key="calls",
        title=f"Calls per {span}",
        description="By how they ended; refusals for being too many (429, 503, 529) are shown apart.",
        series=_CALLS,
        columns=[Column(name, label, flow[1:4]) for name, label, flow in zip(names, short_names, flows, strict=True)],
        told=lambda amount: f"{amount:,}",
        tick=lambda amount, _: bare(short(amount)),
    )
    throughput = calls._replace(
        key="throughput",
        title=f"Tokens per {span}",
        description="In and out, of the calls whose provider told them, or by our estimate.",
        series=[Series("Tokens", "s0")],
        keyed=False,
        height=LOW,
        columns=[
            Column(name, label, (flow.tokens,)) for name, label, flow in zip(names, short_names, flows, strict=True)
        ],
        told=short,
    )
    zone = datetime.fromtimestamp(figures.made / SECOND, figures.zone).tzname() or "UTC"
    timeline = table("pace-table", f"Calls and tokens per {span}, times in {zone}", heads, rows)
    small = figure(
        throughput,
        table(
            "throughput-table",
            f"Tokens per {span}, times in {zone}",
            [heads[0], heads[-1]],
            [[row[0], row[-1]] for row in rows],
        ),
    )
    return joined(figure(calls, timeline), small)


def _filled(flows: Sequence[Flow]) -> list[Flow]:
    """Return every stretch from the first to the last: where nothing ended there is a gap to be seen."""
    known = {flow.stretch: flow for flow in flows}
    return [known.get(at) or Flow(at, 0, 0, 0, 0) for at in range(min(known), max(known) + 1)]


def _span(stretch: int) -> str:
    for unit, name in ((DAY, "day"), (60 * MINUTE, "hour"), (MINUTE, "minute"), (SECOND, "second")):
        if stretch % unit == 0:
            return name if stretch == unit else f"{stretch // unit} {name}s"
    return f"{stretch / SECOND:g} seconds"


def _moment(at: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(at / SECOND, zone):%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _short_names(flows: Sequence[Flow], figures: Figures) -> list[str]:
    moments = [datetime.fromtimestamp(flow.stretch * figures.stretch / SECOND, figures.zone) for flow in flows]
    if moments[-1] - moments[0] > timedelta(days=2):
        return [f"{moment.day} {moment:%b}" for moment in moments]
    return [f"{moment:%H:%M:%S}" if figures.stretch < MINUTE else f"{moment:%H:%M}" for moment in moments]


def latency(figures: Figures) -> Html:
    """Return how long answers took: all of them as a distribution, each model by its percentiles."""
    if not figures.latencies:
        return element("p", "No answer has come yet.", class_="nothing")
    by_model: dict[str, list[Latency]] = defaultdict(list)
    bins: dict[int, int] = defaultdict(int)
    for one in figures.latencies:
        by_model[one.model].append(one)
        bins[bisect_right(_EDGES, one.milliseconds) - 1] += one.answers
    places = range(min(bins), max(bins) + 1)
    columns = [Column(_from_to(at), _edge(at), (bins.get(at, 0),)) for at in places]
    round_ones = [at - places[0] for at in places if _is_round(_EDGES[at], few=len(places) <= 12)]
    chart = Chart(
        key="latency",
        title="Answers by how long they took",
        description="From the send to the whole answer. Each column is about a quarter longer than the one before.",
        series=[Series("Answers", "s0")],
        keyed=False,
        columns=columns,
        told=lambda amount: f"{amount:,} answers",
        tick=lambda amount, _: bare(short(amount)),
        marks=[Mark(_place(figures.latencies, share, places), f"{share} %") for share in (50, 95)],
        labelled=round_ones or [0],
    )
    whole = sum(bins.values())
    rows = [[column.name, number(column.amounts[0]), percent(column.amounts[0], whole)] for column in columns]
    heads = [Head("Time", figures=False), Head("Answers"), Head("Share")]
    beneath = figure(chart, table("latency-table", "Answers by how long they took", heads, rows))
    return joined(beneath, _percentiles(by_model, figures.latencies))


def _is_round(edge: int, *, few: bool) -> bool:
    digits = str(edge).rstrip("0")
    return digits in (("1", "2", "5") if few else ("1",))


def _from_to(at: int) -> str:
    return f"{_edge(at)} to {_edge(at + 1)}" if at + 1 < len(_EDGES) else f"{_edge(at)} and more"


def _edge(at: int) -> str:
    return bare(lasting_text(_EDGES[at]))


def percentile(latencies: Sequence[Latency], share: int) -> int:
    """Return the milliseconds within which so many percent of the answers came, to two digits."""
    ordered, seen = sorted((one.milliseconds, one.answers) for one in latencies), 0
    wanted = share * sum(answers for _, answers in ordered)
    for milliseconds, answers in ordered:
        seen += answers
        if 100 * seen >= wanted:
            return milliseconds
    raise ValueError("there are no answers")


def _place(latencies: Sequence[Latency], share: int, places: range) -> float:
    """Return where a percentile lies across the chart."""
    milliseconds = percentile(latencies, share)
    at = bisect_right(_EDGES, milliseconds) - 1
    upper = _EDGES[at + 1] if at + 1 < len(_EDGES) else 2 * _EDGES[at]
    return (at - places[0] + (milliseconds - _EDGES[at]) / (upper - _EDGES[at])) / len(places)


def _percentiles(by_model: dict[str, list[Latency]], every: Sequence[Latency]) -> Html:
    def cells(found: Sequence[Latency]) -> list[Html]:
        answers = sum(one.answers for one in found)
        slowest = max(one.milliseconds for one in found)
        return [number(answers), *(lasting(percentile(found, share)) for share in _SHARES), lasting(slowest)]

    order = sorted(by_model.items(), key=lambda each: -sum(one.answers for one in each[1]))[:40]
    heads = [Head("Model", figures=False), Head("Answers"), *(Head(f"{share} %") for share in _SHARES), Head("Slowest")]
    rows = [[name_of(model), *cells(found)] for model, found in order]
    caption = "Time within which so many percent of the answers came, to two digits"
    return table("latencies", caption, heads, rows, foot=[["All", *cells(every)]])


def failures(figures: Figures) -> Html:
    """Return the calls that brought no answer, by kind."""
    if not figures.failures:
        said = "Every call brought an answer." if figures.total.attempts else "No call has ended yet."
        return element("p", said, class_="nothing")
    whole, found = figures.total.attempts, figures.failures
    places = places_of(amount for one in found for amount in (one.wasted, one.possibly_billed))
    rows = [
        [
            text(one.kind, 60),
            "–" if one.status is None else str(one.status),
            number(one.calls),
            percent(one.calls, whole),
            money(one.possibly_billed, places),
            money(one.wasted, places),
            element("span", text(one.example), class_="said"),
        ]
        for one in found[:40]
    ]
    heads = [Head("Kind", figures=False), Head("Status"), Head("Calls"), Head("Share of calls")]
    heads += [Head("Possibly billed"), Head("Wasted"), Head("What the first of them said", figures=False)]
    return table("failures", "Calls without an answer, by kind; most were tried again", heads, rows)


def _known(one: Foreseen, amount: int, places: int) -> Html:
    return money(amount, places) if one.priced else element("data", "–", value="", class_="nil")


def foreseen(figures: Figures) -> Html:
    """Return what was expected before the calls beside what they used."""
    if not figures.foreseen:
        return element("p", "No answer told yet what it used.", class_="nothing")
    whole = Foreseen("", *(sum(column) for column in zip(*(one[1:] for one in figures.foreseen), strict=True)))
    places = places_of((whole.hold, whole.cost))
    heads = [
        Head("Model", figures=False),
        Head("Answers"),
        Head("Tokens in, expected"),
        Head("Tokens in"),
        Head("of expected"),
    ]
    heads += [Head("Tokens out, bound"), Head("Tokens out"), Head("of bound")]
    heads += [Head("Cost at worst"), Head("Cost"), Head("of worst")]

    def cells(one: Foreseen) -> list[Html]:
        return [
            *(
                number(one.answers),
                tokens(one.input_expected),
                tokens(one.input),
                percent(one.input, one.input_expected),
            ),
            *(tokens(one.output_bound), tokens(one.output), percent(one.output, one.output_bound)),
            *(_known(one, one.hold, places), _known(one, one.cost, places), percent(one.cost, one.hold)),
        ]

    order = sorted(figures.foreseen, key=lambda one: -one.answers)[:40]
    caption = "Before the call and after it, of answers that told what they used; output as far as it was bounded"
    rows = [[name_of(one.model), *cells(one)] for one in order]
    return table("foreseen", caption, heads, rows, foot=[["All", *cells(whole)]])
