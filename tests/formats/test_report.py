"""The cost report as a page: valid, closed, readable by ear and by programs; and nothing in it is more than text."""

import base64
import hashlib
import html
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.budget import Budget, Period, Scope, Spent
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.figures import Capped, FailedCalls, Figures, Flow, Foreseen, Latency, Rate, Requests
from batchrunner.core.pricing import RateCard
from batchrunner.core.terms import Tier
from batchrunner.formats import report
from batchrunner.formats.markup import Html, element, joined, text
from batchrunner.formats.report import page
from batchrunner.formats.reportcells import bare, lasting_text, percent_text, places_of, short
from batchrunner.formats.reportfile import check_target, write
from batchrunner.formats.reportpace import percentile
from batchrunner.formats.reporttables import MOST_ROWS, SUMS, Merged, merged
from tests.formats.pages import Page

USD = 10**12
HOSTILE = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    "</style></title></textarea></svg><img src=x onerror=window.pwned=1>",
    '" onmouseover="window.pwned=1" x="',
    "' autofocus onfocus='window.pwned=1",
    "<svg onload=window.pwned=1><title>",
    "]]><!-- --!> <![CDATA[",
    "javascript:window.pwned=1",
    "&lt;b&gt; &#60;i&#62; &amp;amp;",
    "<a href=//evil.example>here</a>",
    "{{7*7}} ${7*7} `ls`",
    "\u202eevil\u2066 \u200b\ufeff \x00\x1b[2J\r\n\t\x7f \ud800 \ue000",
    "a\u2028b\u2029c",
    "=cmd|' /C calc'!A0",
    "x" * 5_000,
    "",
)


def row(*key: str | None, recorded: int = USD, **changes: Any) -> Merged:
    given = {"attempts": 10, "succeeded": 9, "input": 1_000, "cached": 100, "output": 500, "reasoning": 50}
    return Merged(key, **(given | {"recorded": recorded} | changes))


def made(name: str = "a-model", error: str = "no", rows: int = 1, **changes: Any) -> Figures:
    """Figures in which everything that comes from elsewhere is called ``name``, or said ``error``."""
    one = row(name, estimated=3, possibly_billed=5, wasted=7, unpriced=1)
    total = merged((), [one] * rows)
    card = RateCard(provider=name, model=name, valid_from=0, source=error, input=2, hour=5)
    given: dict[str, Any] = {
        "made": 1_700_000_000_000_000,
        "version": "1.2",
        "databases": (name,),
        "zone": ZoneInfo("UTC"),
        "total": total,
        "saved": 9,
        "daily": [one._replace(key=("2026-11-03", name))] * rows,
        "models": [one] * rows,
        "jobs": [one] * rows,
        "endpoints": [one] * rows,
        "accounts": [one._replace(key=(name, name))] * rows,
        "tags": [(name, [one, one._replace(key=(None,))])],
        "budgets": [Capped(name, name, Budget(Scope.JOB, "1", Period.MONTH, 20 * USD), Spent(12 * USD, 5 * USD, USD))],
        "requests": [Requests(name, 10, 9, 1, 0)],
        "stretch": 3_600_000_000,
        "flows": [Flow(400_000, 9, 2, 1, 1_500)],
        "latencies": [Latency(name, 1_200, 5), Latency(name, 80, 4)],
        "failures": [FailedCalls(error, 400, 1, 7, 5, error)],
        "foreseen": [Foreseen(name, 9, 900, 1_000, 9, 4_000, 500, 9, 3 * USD, USD)],
        "rates": [Rate(card, 10)],
    }
    return Figures(**(given | changes))


def many(number: int, **changes: Any) -> Figures:
    """Figures of so many models and jobs, each a dollar dearer than the one before."""
    rows = [row(f"m-{n}", recorded=n * USD, unpriced=n % 2) for n in range(number)]
    daily = [one._replace(key=("2026-11-03", one.key[0])) for one in rows]
    return made(total=merged((), rows), models=rows, jobs=rows, daily=daily, **changes)


# ------------------------------------------------------------------------------------------------------------- the page


def test_a_page_is_well_formed_and_says_what_it_is() -> None:
    shown = Page(page(made()))

    assert shown.doctypes == ["doctype html"]
    assert shown.tags[0].attributes == {"lang": "en"}
    assert len(shown.named("h1")) == 1
    assert len(shown.named("main")) == 1


def test_the_same_figures_give_the_same_bytes() -> None:
    assert page(made()) == page(made())


def test_the_policy_allows_the_one_style_and_the_one_script_by_their_hashes_and_nothing_else() -> None:
    html = page(made())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)

    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{hashed}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_a_page_refers_to_nothing_beyond_itself_and_styles_nothing_inline() -> None:
    shown = Page(page(made()))
    attributes = [(name, value) for tag in shown.tags for name, value in tag.attributes.items()]

    active = ("style", "src", "srcset", "action", "formaction", "data", "ping")
    assert [pair for pair in attributes if pair[0].startswith("on") or pair[0] in active] == []
    links = [value for name, value in attributes if name in ("href", "xlink:href")]
    ids = [value for name, value in attributes if name == "id"]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert not re.search(r"url\(|@import|https?:", page(made()))


def test_what_refers_to_an_id_finds_it_once() -> None:
    shown = Page(page(made()))
    ids = [tag.attributes["id"] for tag in shown.tags if "id" in tag.attributes]
    named = [key for tag in shown.tags for key in tag.attributes.get("aria-labelledby", "").split()]

    assert len(ids) == len(set(ids))
    assert named
    assert set(named) <= set(ids)


def test_every_table_has_a_caption_and_every_heading_says_what_it_heads() -> None:
    shown = Page(page(made()))
    tables = shown.named("table")

    assert len(tables) > 10
    assert len(shown.named("caption")) == len(tables)
    assert {tag.attributes.get("scope") for tag in shown.named("th")} == {"col", "row"}
    assert all(tag.attributes["scope"] == "col" for tag in shown.named("th") if "thead" in tag.path)


def test_every_drawing_has_a_name_and_a_description_or_is_hidden_from_those_who_only_hear() -> None:
    shown = Page(page(made()))
    ids = {tag.attributes["id"]: tag.name for tag in shown.tags if "id" in tag.attributes}

    for drawing in shown.named("svg"):
        if drawing.attributes.get("role") == "img":
            assert [ids[key] for key in drawing.attributes["aria-labelledby"].split()] == ["title", "desc"]
        else:
            assert drawing.attributes["aria-hidden"] == "true"


def test_every_chart_has_a_table_with_its_figures() -> None:
    shown = Page(page(made()))

    charts = [tag for tag in shown.named("svg") if tag.attributes.get("role") == "img"]
    inside = [tag for tag in shown.named("table") if "figure" in tag.path]
    assert len(charts) == len(inside) == 6


def test_nothing_spent_yet_is_a_page_too() -> None:
    nothing = made(
        total=Merged(()), saved=0, daily=[], models=[], jobs=[], endpoints=[], accounts=[], tags=[], requests=[],
        flows=[], latencies=[], failures=[], foreseen=[], rates=[], budgets=[],
    )  # fmt: skip
    shown = Page(page(nothing))

    assert "No call has ended yet." in shown.text
    assert shown.key_figures()["recorded"] == "0"


# -------------------------------------------------------------------------------------------------- nothing but text


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
def test_what_comes_from_elsewhere_stays_text_wherever_it_stands(payload: str) -> None:
    plain = Page(page(made("a-model", "an error")))

    shown = Page(page(made(payload, payload)))

    assert [tag for tag in shown.shape if tag[0] != "em"] == [tag for tag in plain.shape if tag[0] != "em"]
    assert "window.pwned" not in "".join(text for where, text in shown.texts if where in ("script", "style"))
    page(made(payload, payload)).encode()  # half a character would stand in no file


@pytest.mark.parametrize("payload", [one for one in HOSTILE if one and one.isprintable() and len(one) < 60])
def test_what_comes_from_elsewhere_is_shown_as_it_is(payload: str) -> None:
    shown = Page(page(made(payload, payload)))

    said = [text for where, text in shown.texts if where in ("th", "span", "b", "title", "td")]
    assert said.count(payload) > 10
    assert any(text.startswith("3 Nov 2026 · ") and payload in text for where, text in shown.texts if where == "title")


def test_what_would_turn_the_direction_of_its_surroundings_is_made_visible() -> None:
    assert text("a\u202eb\x00\u2028\ud800") == "a\\u202eb\\u0000\\u2028\\ud800"
    assert text("two\nlines") == "two lines"


def test_a_long_text_is_cut_where_it_is_shown_and_never_inside_an_entity() -> None:
    assert text("<" * 300) == "&lt;" * 199 + "…"


@given(st.text(), st.text())
def test_an_element_holds_whatever_text_it_is_given(content: str, value: str) -> None:
    shown = Page(element("p", content, title=value))

    assert [(tag.name, list(tag.attributes)) for tag in shown.tags] == [("p", ["title"])]


def test_markup_is_only_what_was_made_as_markup() -> None:
    assert joined("<b>", Html("<i>"), element("b", "&")) == "&lt;b&gt;<i><b>&amp;</b>"


# ---------------------------------------------------------------------------------------------------------- the figures


def usd(pico: int) -> Decimal:
    return Decimal(pico) / USD


@pytest.mark.parametrize("number", [3, MOST_ROWS, MOST_ROWS + 25])
def test_the_rows_of_a_table_add_up_to_its_foot_exactly(number: int) -> None:
    figures = many(number)
    rows = Page(page(figures)).table("jobs")

    *parts, whole = rows
    assert len(parts) == min(number, MOST_ROWS + 1)
    assert Decimal(whole["Recorded"].value or "") == usd(figures.total.recorded)
    assert sum(Decimal(part["Recorded"].value or "0") for part in parts) == usd(figures.total.recorded)
    assert sum(int(part["Calls"].value or "") for part in parts) == figures.total.attempts


def test_the_dearest_stands_first_and_what_has_no_tag_is_a_row() -> None:
    assert [cells["Job"].text for cells in Page(page(many(3))).table("jobs")] == ["m-2", "m-1", "m-0", "Total"]
    assert [cells["a-model"].text for cells in Page(page(made())).table("tag-0")] == ["a-model", "unallocated", "Total"]


def test_what_is_unknown_is_never_shown_as_nothing() -> None:
    free = made(models=[row("m", recorded=0, unpriced=4)], total=row(recorded=USD, unpriced=4))
    (cells, _) = Page(page(free)).table("models")

    assert [cells[name].text for name in ("Recorded", "Estimated", "Possibly billed", "Wasted")] == ["unpriced"] * 4
    assert cells["Unpriced calls"].value == "4"


@pytest.mark.parametrize("measure", SUMS[:3])
def test_the_sums_are_never_mixed_in_a_chart(measure: str) -> None:
    """With a dollar in one sum only, there is one chart, and it is that sum's."""
    only = row("m", recorded=0)._replace(**{measure: USD})
    shown = Page(page(made(total=only, models=[only], daily=[only._replace(key=("2026-11-03", "m"))])))

    charts = [tag.attributes["aria-labelledby"] for tag in shown.named("svg") if "aria-labelledby" in tag.attributes]
    assert [key for key in charts if "daily" in key] == [f"daily-{measure}-title daily-{measure}-desc"]


def test_all_models_have_their_part_in_the_chart_also_those_without_a_colour() -> None:
    shown = Page(page(many(15)))

    (day, whole) = shown.table("daily-recorded-table")
    assert "6 other models" in day
    parts = [cell.value or "0" for name, cell in day.items() if name not in ("Day", "Total")]
    assert sum(map(Decimal, parts)) == Decimal(day["Total"].value or "") == sum(range(15))
    assert whole["Total"].value == day["Total"].value


@pytest.mark.parametrize(("days", "word"), [(30, "Day"), (92, "Day"), (93, "Week"), (400, "Week"), (900, "Month")])
def test_a_long_time_is_shown_by_the_week_or_the_month_and_loses_nothing(days: int, word: str) -> None:
    from datetime import date, timedelta

    each = [(date(2024, 1, 31) + timedelta(days=number)).isoformat() for number in range(days)]
    daily = [row(day, "m", recorded=(n + 1) * USD) for n, day in enumerate(each)]
    *rows, _ = Page(page(made(daily=daily))).table("daily-recorded-table")

    assert word in rows[0]
    assert len(rows) <= 93
    assert sum(Decimal(cells["Total"].value or "0") for cells in rows) == days * (days + 1) // 2


def test_a_column_is_as_high_as_its_amount() -> None:
    daily = [row("2026-11-03", "m", recorded=4 * USD), row("2026-11-05", "m", recorded=USD)]
    shown = Page(page(made(daily=daily, models=[row("m")])))

    drawn = [tag for tag in shown.named("rect") if tag.attributes.get("class") == "s0" and "figure" in tag.path]
    heights = [float(tag.attributes["height"]) for tag in drawn[:2]]
    assert heights[0] == pytest.approx(4 * heights[1], abs=0.3)
    assert float(drawn[0].attributes["x"].rstrip("%")) < float(drawn[1].attributes["x"].rstrip("%"))


def test_a_single_day_is_a_column_and_no_wall() -> None:
    drawn = [tag for tag in Page(page(made())).named("rect") if tag.attributes.get("class") == "s0"]

    assert (drawn[0].attributes["x"], drawn[0].attributes["width"]) == ("43.00%", "14.00%")


@pytest.mark.parametrize(("last", "told"), [("2026-11-01", "3 Nov"), ("2026-11-09", "Nov 2025")])
def test_a_year_and_more_is_told_by_its_years(last: str, told: str) -> None:
    daily = [row("2025-11-03", "m"), row(last, "m")]
    beneath = [text for where, text in Page(page(made(daily=daily))).texts if where == "text"]

    assert told in beneath


TIMES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 50)), min_size=1, max_size=30)


@given(TIMES, st.sampled_from([50, 90, 99]))
def test_a_percentile_is_the_time_within_which_so_many_answers_came(found: list[tuple[int, int]], share: int) -> None:
    every = sorted(milliseconds for milliseconds, answers in found for _ in range(answers))
    wanted = -(-share * len(every) // 100)

    assert percentile([Latency("m", *one) for one in found], share) == every[wanted - 1]


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 10, "0 %"), (1, 3, "33.3 %"), (1, 9_999, "<0.1 %"), (9_999, 10_000, "<100 %"), (5, 5, "100 %"), (1, 0, "–")],
)  # fmt: skip
def test_a_share_is_never_shown_as_nothing_nor_as_all_where_it_is_not(part: int, whole: int, shown: str) -> None:
    assert percent_text(part, whole).replace("\u00a0", " ") == shown


SPANS = [
    (0, "0 ms"),
    (850, "850 ms"),
    (2_400, "2.4 s"),
    (5_000, "5.0 s"),
    (9_960, "10 s"),
    (160_000, "2.7 min"),
    (110_000, "110 s"),
    (900_000, "15 min"),
    (4 * 10**9, "1,111 h"),
]


@pytest.mark.parametrize(("milliseconds", "shown"), SPANS)
def test_times_are_told_in_the_unit_that_suits_them(milliseconds: int, shown: str) -> None:
    assert lasting_text(milliseconds).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(("told", "shown"), [("1.50M", "1.5M"), ("2.00M", "2M"), ("500k", "500k"), ("1.0 s", "1 s")])
def test_round_figures_are_told_without_noughts_that_say_nothing(told: str, shown: str) -> None:
    assert bare(told) == shown


def test_counts_in_a_column_have_three_digits_each() -> None:
    told = [short(n) for n in (12_000, 9_950_000, 35_000_000, 500_000, 999_600, 9_999, 1_004_000_000)]

    assert told == ["12.0k", "9.95M", "35.0M", "500k", "1,000k", "9,999", "1.00G"]


@given(st.integers(1, 10**25))
def test_what_is_largest_in_a_column_of_money_is_never_rounded_away(pico: int) -> None:
    least = 10 ** (12 - places_of([pico]))

    assert pico >= 100 * least or places_of([pico]) == 12


@given(st.integers(0, 10**14))
def test_a_short_count_is_within_half_a_percent_of_the_count(amount: int) -> None:
    units = {"T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3}
    told = short(amount).replace(",", "")
    value = float(told[:-1]) * units[told[-1]] if told[-1] in units else float(told)
    assert value == pytest.approx(amount, rel=0.0051)


def test_prices_are_told_with_every_digit_their_day_and_their_source() -> None:
    card = RateCard(provider="p", model="m", valid_from=1_788_220_800_000_000, source="a page", input=880_000, output=1)
    (cells,) = Page(page(made(rates=[Rate(card, 12)]))).table("prices")

    assert (cells["In, $/M"].text, cells["Out, $/M"].text, cells["Cached, $/M"].text) == ("0.88", "0.000001", "–")
    assert (cells["Valid from"].text, cells["Source"].text, cells["Calls"].value) == ("2026-09-01", "a page", "12")


TERMS = [
    ({"reasoning": 3_000_000}, "live", "3/M thought"),
    (
        {"tiers": (Tier(above_tokens=200_000, input=2_500_000, output=9 * 10**6),)},
        "live",
        "above 200,000 in the prompt: input 2.5 output 9",
    ),
    ({"processing": "batch", "discounts": (500_000, 125_000)}, "batch", "less 50%, less 12.5%"),
    ({"megapixel": 27 * 10**8, "steps": 4, "discounts": (100_000,)}, "live", "0.0027/MP (4 steps), less 10%"),
    ({"assumed": True}, "live", "assumed"),
]


@pytest.mark.parametrize(("terms", "processing", "said"), TERMS)
def test_what_a_card_holds_beside_plain_prices_is_said_as_the_price_list_says_it(
    terms: dict[str, Any], processing: str, said: str
) -> None:
    card = RateCard(provider="p", model="m", valid_from=0, input=1_250_000, output=4_000_000, **terms)
    (cells,) = Page(page(made(rates=[Rate(card, 12)]))).table("prices")

    assert (cells["Class"].text, cells["Other, $"].text) == (processing, said)
    assert (cells["In, $/M"].text, cells["In, $/M"].value, cells["Out, $/M"].text) == ("1.25", "1.25", "4.00")


def capped(cap: int, spent: Spent, name: str = "q.db", **budget: Any) -> Capped:
    given = {"scope": Scope.EVERYTHING, "ref": "", "period": Period.EVER, "warn": (50, 80)} | budget
    return Capped(name, "", Budget(cap=cap, **given), spent)


def test_budgets_stand_with_what_counts_against_them_the_fullest_first() -> None:
    small = capped(10 * USD, Spent(7 * USD, 2 * USD, 3 * USD, 4), period=Period.MONTH)
    large = capped(200 * USD, Spent(160 * USD, 0, 0), scope=Scope.TAG, ref="team=<b>")
    first, second = Page(page(made(budgets=[large, small]))).table("budgets")

    assert first["Budget"].text == "month used up"
    exact = {name: cell.value for name, cell in first.items() if name not in ("Budget", "Of the cap")}
    assert exact == {
        "Cap": "10", "Committed": "12", "Spent": "7", "Possibly billed": "2", "Held": "3", "Left": "-2",
        "Unpriced calls": "4",
    }  # fmt: skip
    assert first["Left"].text == "-$2.00"
    assert (second["Budget"].text, second["Left"].value) == ("tag team=<b> 80 % passed", "40")


def test_budgets_of_several_databases_say_whose_they_are() -> None:
    each = [capped(USD, Spent(), "a.db"), capped(USD, Spent(), "b.db")]
    figures = made(budgets=each, databases=("a.db", "b.db"), jobs=[row("a.db", "j")])
    rows = Page(page(figures)).table("budgets")

    assert ", job j (" in in_short(figures)["slices"]
    assert [(cells["Database"].text, cells["Budget"].text) for cells in rows] == [("a.db", "all"), ("b.db", "all")]


def in_short(figures: Figures) -> dict[str, str]:
    shown = page(figures)
    parts = re.findall(r'<dd id="short-(\w+)">(.*?)</dd>', shown)
    return {key: html.unescape(re.sub(r"<[^>]*>", "", told)).replace("\u00a0", " ") for key, told in parts}


@pytest.mark.parametrize(
    ("total", "told"),
    [
        (row(), "Yes: every call has a known cost, by the provider's own usage."),
        (row(possibly_billed=3 * USD), "Not quite: up to $3.0000 may be billed beside it."),
        (row(estimated=3 * USD), "Not quite: $3.0000 is an estimate."),
        (row(unpriced=1), "No: 1 call (10.0 %) of unknown cost, in none of the sums."),
    ],
)
def test_the_page_says_at_once_whether_its_sums_are_all(total: Merged, told: str) -> None:
    assert in_short(made(total=total, requests=[Requests("j", 10, 7, 2, 1)]))["unknown"] == told


def test_requests_without_an_outcome_are_not_all_yet() -> None:
    assert "2 requests are still open" in in_short(made(total=row(), requests=[Requests("j", 10, 7, 1, 0)]))["unknown"]


def test_the_page_says_at_once_what_it_was_for_and_what_was_wasted() -> None:
    days = [row(f"2026-11-0{n}", "m", recorded=n * USD) for n in (1, 3, 2)]
    failed = [FailedCalls("timeout", None, 2, 0, USD, ""), FailedCalls("bad_reply", 200, 1, 6 * USD, 0, "")]
    figures = replace(many(4), daily=days, failures=failed, total=row(recorded=6 * USD, wasted=9 * USD))
    told = in_short(figures)

    assert ", day 2026-11-03 (50.0 %)" in in_short(replace(figures, daily=days[:2]))["slices"]
    assert "day" not in in_short(replace(figures, daily=days[:1]))["slices"]

    assert told["slices"].startswith(
        "model m-3 (50.0 %), job m-3 (50.0 %), day 2026-11-03 (50.0 %) of what is recorded"
    )
    assert told["failed"] == (
        "$9.0000 for answers that were not used, most of it by bad_reply ($6.0000);"
        " 30.0 % of the calls brought no answer."
    )
    assert told["estimates"] == "Input was 111.1 % of what was expected, answers cost 33.3 % of their worst case."


def test_the_page_says_at_once_how_many_budgets_are_used_up() -> None:
    over, under = capped(USD, Spent(USD)), capped(USD, Spent(1), period=Period.DAY)

    assert in_short(made(budgets=[]))["budgets"] == "None is set."
    assert in_short(made(budgets=[under]))["budgets"] == "day (<0.1 % committed)."
    assert (
        in_short(made(budgets=[under, over]))["budgets"]
        == "1 of 2 used up; the fullest: all used up (100 % committed)."
    )


def test_what_is_all_unpriced_costs_no_amount_in_the_key_figures_either() -> None:
    unpriced = row("m", recorded=0, unpriced=10)
    shown = Page(page(made(total=unpriced, models=[unpriced])))

    assert shown.key_figures()["recorded"] == ""
    assert "$0" not in [text for where, text in shown.texts if where == "data"][:4]


def test_waste_that_is_only_estimated_is_told_as_such() -> None:
    assert "paid, and the answer not used, $2.0000 of it by estimate" in page(
        made(total=row(wasted=3 * USD, wasted_estimated=2 * USD))
    )
    assert "by estimate" not in page(made(total=row(wasted=3 * USD)))


def test_what_has_no_tag_is_told_by_its_share_of_the_money() -> None:
    tagged, rest = row("search", recorded=9 * USD, attempts=1), row(None, recorded=3 * USD, attempts=99)
    shown = Page(page(made(total=merged((), [tagged, rest]), tags=[("team", [tagged, rest]), ("env", [tagged])])))
    told = "".join(text for _, text in shown.texts)

    assert "team · 25.0 % of what is recorded: $3.00 recorded" in told.replace("\u00a0", " ")
    assert "env · nothing, every call has it" in told


def test_units_other_than_tokens_have_a_table_where_any_were_used() -> None:
    painted, heard = row("p", images=3, pixels=3_150_000), row("h", milliseconds=90_000, audio_input=70)
    total = merged((), [painted, heard, row("t")])
    *rows, whole = Page(page(made(total=total, models=[painted, heard, row("t")]))).table("units")

    assert {cells["Model"].text for cells in rows} == {"p", "h"}
    assert {name: cell.text for name, cell in whole.items()} == {
        "Model": "Total", "Pictures": "3", "Megapixels": "3.2", "Minutes": "1.5", "Audio in": "70",
    }  # fmt: skip
    assert '"units"' not in page(made())


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [
        ("2026-11-01", "2026-11-30", "2026-11-01 to 2026-11-30"),
        (None, "2026-11-30", "up to 2026-11-30"),
        ("2026-11-01", None, "from 2026-11-01"),
    ],
)
def test_a_period_in_which_nothing_was_called_is_named(since: str | None, until: str | None, told: str) -> None:
    assert f" · {told}, days in UTC" in Page(page(made(daily=[], since=since, until=until))).text


def test_words_of_an_axis_have_the_room_that_they_need() -> None:
    huge = row("m", recorded=12_345_678 * USD)
    shown = Page(page(made(total=huge, daily=[huge._replace(key=("2026-11-03", "m"))])))
    axes = [int(tag.attributes["width"]) for tag in shown.named("svg") if tag.attributes.get("class") == "axis"]

    assert axes[0] >= 7 * len("$10,000,000")
    assert min(axes) == 64


THEMES = re.findall(r":root \{(.*?)\}", Path(report.__file__).with_name("report.css").read_text("utf-8"), re.DOTALL)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_words_and_colours_of_charts_can_be_told_from_their_ground(theme: str) -> None:
    colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
    words, grounds = ("ink", "soft", "link", "warn"), ("paper", "sheet", "warnpaper")
    drawn = [name for name in colours if name not in (*words, *grounds, "faint", "rule")]

    assert len(drawn) == 12
    assert [(w, g) for w in words for g in grounds if contrast(colours[w], colours[g]) < 4.5] == []
    assert [(d, g) for d in drawn for g in grounds[:2] if contrast(colours[d], colours[g]) < 3] == []


def test_nothing_moves_on_a_page() -> None:
    assert not re.search(r"animation|transition|scroll-behavior|@keyframes|<animate|\.animate\(", page(made()))


def test_a_large_ledger_makes_a_small_page() -> None:
    names = [f"job number {n} of a very busy year" for n in range(2_000)]
    rows = [row(name) for name in names]
    flows = [Flow(at, 10, 2, 1, 5_000) for at in range(120)]
    large = replace(many(200), jobs=rows, flows=flows, tags=[(f"key-{n}", rows) for n in range(12)])

    assert len(page(large).encode()) < 500_000


# ------------------------------------------------------------------------------------------------------------- the file


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Any) -> None:
    out = tmp_path / "report.html"
    size = write(page(made()), str(out))
    assert out.stat().st_size == size
    write(page(made("another")), str(out))
    assert "another" in out.read_text(encoding="utf-8")
    assert out.stat().st_mode & 0o077 == 0

    out.write_text("<!doctype html><p>somebody's page</p>")
    with pytest.raises(ConfigurationError, match="no report"):
        write(page(made()), str(out))
    write(page(made()), str(out), force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(("name", "said"), [("queue.db", "HTML"), ("none/r.html", "folder"), ("link.html", "regular")])
def test_a_report_goes_nowhere_but_into_a_file_of_its_own(tmp_path: Any, name: str, said: str) -> None:
    (tmp_path / "link.html").symlink_to(tmp_path / "elsewhere.html")

    with pytest.raises(ConfigurationError, match=said):
        check_target(str(tmp_path / name), force=True)
