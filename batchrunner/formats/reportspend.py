"""What was spent, when and on what: the first half of a report."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final, NamedTuple

from batchrunner.core.figures import Figures, Slice
from batchrunner.core.pricing import PICO, dollars
from batchrunner.formats.markup import Html, element, joined
from batchrunner.formats.reportcells import bars, money, number, percent, percent_text, places_of, short, tokens
from batchrunner.formats.reportcharts import HEIGHT, LOW, Chart, Column, Series, figure, legend
from batchrunner.formats.reporttables import (
    SUMS,
    Head,
    Sliced,
    amount_of,
    measure_of,
    merged,
    name_of,
    named,
    sliced,
    table,
)

COLOURS: Final = 8
"""Models that have a colour of their own; the others share one."""
_LONG: Final = 11
"""Letters of a key figure that have room in full size."""
MOST_COLUMNS: Final = 92
"""Columns of a chart; a longer time is shown by week, then by month."""
MOST_VALUES: Final = 15
"""Values of a tag that are listed: there may be many tags."""
_YEAR: Final = 365
_TOKENS: Final = ("Input, fresh", "Input, cached", "Output", "Reasoning")
_MEANT: Final = {
    "recorded": "answers that were used, by the provider's own count of tokens",
    "estimated": "answers that were used and came without a count, by our estimate",
    "possibly_billed": "calls that broke off after they were sent, at worst",
}


def coloured(models: Sequence[Slice]) -> tuple[str, ...]:
    """Return the models that have a colour of their own, the same in every chart; the others share one.

    Most are the dearest, and some are for what is only estimated.
    """
    order = sorted(models, key=lambda one: (*(getattr(one, name) for name in SUMS), one.attempts), reverse=True)
    names = [one.key[0] or "" for one in order]
    estimated = sorted((one for one in order if one.estimated), key=lambda one: -one.estimated)
    chosen = dict.fromkeys([*names[: COLOURS - 2], *(one.key[0] or "" for one in estimated[:2]), *names])
    return tuple(chosen)[:COLOURS]


def key_figures(figures: Figures) -> Html:
    """Return the figures that somebody wants who reads nothing else."""
    total, every = figures.total, figures.requests
    asked, answered = sum(one.total for one in every), sum(one.succeeded for one in every)
    failed = sum(one.failed for one in every)
    places = places_of(getattr(total, name) for name in SUMS)
    throttled = sum(flow.throttled for flow in figures.flows)
    waiting = sum(one.open for one in every)
    unpriced = f"; {total.unpriced:,} calls unpriced" if total.unpriced else ""
    cells = [
        _key("Recorded", amount_of(total, "recorded", places), f"by the provider's own usage{unpriced}", "first"),
        _key("Estimated", amount_of(total, "estimated", places), "came without usage"),
        _key("Possibly billed", amount_of(total, "possibly_billed", places), "at most, for calls that broke off"),
        _key("Wasted", amount_of(total, "wasted", places), _of_wasted(total, places)),
        _key("Requests answered", number(answered), _of_requests(answered, asked, failed, waiting)),
        _key("Calls", number(total.attempts), _share(throttled, total.attempts, "turned away as too many")),
        _key("Tokens in", tokens(total.input), _cached(figures, places)),
        _key("Tokens out", tokens(total.output), _share(total.reasoning, total.output, "of them reasoning")),
    ]
    return element("dl", *cells, class_="keys")


def _key(name: str, value: Html, note: str, style: str | None = None) -> Html:
    long = len(re.sub(r"<[^>]*>", "", value)) > _LONG
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_="value long" if long else "value"),
        element("dd", note, class_="note"),
        class_=style,
        id=f"key-{name.lower().replace(' ', '-')}",
    )


def _of_wasted(total: Slice, places: int) -> str:
    guessed = f", {dollars(total.wasted_estimated, places)} of it by estimate" if total.wasted_estimated else ""
    return f"paid, and the answer not used{guessed}"


def _share(part: int, whole: int, what: str) -> str:
    return f"{percent_text(part, whole)} {what}" if whole else ""


def _cached(figures: Figures, places: int) -> Html:
    share = _share(figures.total.cached, figures.total.input, "of them cached")
    return joined(share, *((", which saved ", money(figures.saved, places)) if figures.saved > 0 else ()))


def _of_requests(answered: int, asked: int, failed: int, waiting: int) -> str:
    if not asked:
        return "none is loaded"
    said = [f"{percent_text(answered, asked)} of {asked:,}"]
    said += [f"{failed:,} failed"] if failed else []
    return ", ".join([*said, *([f"{waiting:,} open"] if waiting > 0 else [])])


def by_day(figures: Figures) -> Html:
    """Return the sums of each day by model: a chart for each sum that there is, since they are never mixed."""
    models, days = coloured(figures.models), _spans([one.key[0] or "" for one in figures.daily])
    if not days.columns:
        return element("p", "No call has ended yet.", class_="nothing")
    charts = [_chart(figures, measure, models, days) for measure in _MEANT if getattr(figures.total, measure)]
    return joined(*charts) if charts else element("p", "None of these calls has a known cost.", class_="nothing")


class _Spans(NamedTuple):
    """Days, weeks or months, one for each column."""

    word: str
    columns: Mapping[str, date]
    """By the name of a column, its first day."""
    of_day: Mapping[str, str]
    """The column that a day belongs to."""

    def label(self, day: date) -> str:
        """Return what stands beneath a column: a long time needs its years more than its days."""
        days = list(self.columns.values())
        return _short(day) if (days[-1] - days[0]).days < _YEAR else f"{day:%b %Y}"


def _spans(days: Sequence[str]) -> _Spans:
    if not days:
        return _Spans("day", {}, {})
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    every = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    if len(every) <= MOST_COLUMNS:
        word, start = "day", {day: day for day in every}
    elif len(every) <= 7 * MOST_COLUMNS:
        word, start = "week", {day: day - timedelta(days=day.weekday()) for day in every}
    else:
        word, start = "month", {day: day.replace(day=1) for day in every}
    name = {day: _short(day) + f" {day.year}" for day in start.values()}
    columns = {name[day]: day for day in start.values()}
    return _Spans(word, columns, {day.isoformat(): name[begin] for day, begin in start.items()})


def _short(day: date) -> str:
    return f"{day.day} {day:%b}"


def _chart(figures: Figures, measure: str, models: Sequence[str], spans: _Spans) -> Html:
    series, columns = _stacked(figures, measure, models, spans)
    places = places_of(sum(column.amounts) for column in columns)
    rows = [
        [column.name, *(money(part, places) for part in (*column.amounts, sum(column.amounts)))] for column in columns
    ]
    whole = [sum(amounts) for amounts in zip(*(column.amounts for column in columns), strict=True)]
    heads = [Head(spans.word.capitalize(), figures=False), *(Head(one.name) for one in series), Head("Total")]
    title = f"{named(measure)} per {spans.word}, by model"
    foot = [["Total", *(money(part, places) for part in (*whole, sum(whole)))]]
    chart = Chart(
        key=f"daily-{measure}",
        title=title,
        description=f"USD. {_MEANT[measure].capitalize()}.",
        series=series,
        columns=columns,
        told=partial(dollars, places=places),
        tick=_tick,
        height=HEIGHT if named(measure).lower() == measure_of(figures.total)[1] else LOW,
    )
    return figure(chart, table(f"daily-{measure}-table", f"{title}, in USD", heads, rows, foot=foot))


def _stacked(figures: Figures, measure: str, models: Sequence[str], spans: _Spans) -> tuple[list[Series], list[Column]]:
    """Return the models that have any of a sum, and their columns; the models without a colour are one series."""
    spent = {one.key[1] or "" for one in figures.daily if getattr(one, measure)}
    shared = sorted(spent - set(models))
    series = [Series(name or "no name", f"s{place}") for place, name in enumerate(models) if name in spent]
    place = {name: at for at, name in enumerate(name for name in models if name in spent)}
    if shared:
        series.append(Series(f"{len(shared)} other models" if len(shared) > 1 else shared[0] or "no name", "rest"))
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * len(series))
    for one in figures.daily:
        if amount := getattr(one, measure):
            sums[spans.of_day[one.key[0] or ""]][place.get(one.key[1] or "", -1)] += amount
    return series, [Column(name, spans.label(day), tuple(sums[name])) for name, day in spans.columns.items()]


def _tick(amount: int, step: int) -> str:
    """Return an amount on an axis with no more decimals than the distance between two of them asks for."""
    places = next((places for places in (0, 1, 2, 4, 6, 9) if step * 10**places % PICO == 0), 12)
    return dollars(amount, 2 if places == 1 else places) if amount else "$0"


def slices(figures: Figures) -> Html:
    """Return the tables by model, job, endpoint and provider."""
    if not figures.total.attempts:
        return element("p", "No call has ended yet.", class_="nothing")
    tables = (
        Sliced("models", "By model", ("Model",), figures.models),
        Sliced("jobs", "By job", ("Database", "Job") if len(figures.databases) > 1 else ("Job",), figures.jobs),
        Sliced("endpoints", "By endpoint", ("Endpoint",), figures.endpoints),
        Sliced("accounts", "By provider and account", ("Provider", "Account"), figures.accounts),
    )
    return joined(*(sliced(asked, figures.total) for asked in tables))


def by_tag(figures: Figures) -> Html:
    """Return a table for each key of a tag; what does not have it is a row like any other."""
    if not figures.tags:
        advice = element("code", "--tag team=search")
        return element("p", "No call carries a tag. Give jobs tags when you load them: ", advice, ".", class_="nothing")
    tables = [
        sliced(Sliced(f"tag-{place}", f"By tag: {key}", (key,), values, MOST_VALUES), figures.total)
        for place, (key, values) in enumerate(figures.tags)
    ]
    return joined(*tables)


def token_classes(figures: Figures) -> Html:
    """Return what tokens were made of, by model, as bars on one scale beside their figures."""
    if not figures.total.attempts:
        return element("p", "No call has ended yet.", class_="nothing")
    kinds = [Series(name, f"s{place}") for place, name in enumerate(_TOKENS)]
    models = sorted(figures.models, key=lambda one: one.input + one.output, reverse=True)
    shown, rest = models[:40], models[40:]
    most = max((one.input + one.output for one in models), default=0)
    heads = [Head("Model", figures=False), Head("All tokens", figures=False), *(Head(name) for name in _TOKENS)]
    heads += [Head("Cached share of input"), Head("Out per answer")]
    rows = [[name_of(one.key[0]), *_classes(one, most)] for one in shown]
    foot = [[f"{len(rest):,} more", *_classes(merged((), rest), 0)]] if rest else []
    foot.append(["Total", *_classes(figures.total, 0)])
    caption = "Tokens by class and model; the parts of input and of output are counted once"
    return joined(legend(kinds), table("tokens", caption, heads, rows, foot=foot))


def _classes(one: Slice, most: int) -> list[Html]:
    parts = (one.input - one.cached, one.cached, one.output - one.reasoning, one.reasoning)
    drawn = bars(enumerate(parts), most) if most else Html("")
    each = one.output // one.succeeded if one.succeeded else 0
    return [
        element(
            "span", drawn, element("data", short(one.input + one.output), value=one.input + one.output), class_="share"
        ),
        *(tokens(part) for part in parts),
        percent(one.cached, one.input),
        number(each),
    ]
