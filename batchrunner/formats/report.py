"""The cost report: figures become one HTML file that needs nothing else, neither a network nor a script.

Its policy (CSP) allows one style and one script, both by their hash, and nothing else: no image, no font, no address.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from batchrunner.core.clock import SECOND
from batchrunner.core.figures import Figures
from batchrunner.formats.markup import Html, element, joined
from batchrunner.formats.reportbudgets import budgets
from batchrunner.formats.reportpace import failures, foreseen, latency, pace
from batchrunner.formats.reportprices import prices
from batchrunner.formats.reportshort import in_short
from batchrunner.formats.reportspend import by_day, by_tag, key_figures, slices, token_classes
from batchrunner.formats.reportunits import other_units
from batchrunner.formats.reportunknown import unknown

HEAD: Final = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="batchrunner report">'
)
"""What every report begins with: by this one is known from other people's pages, and may be replaced."""
END: Final = "</html>\n"

_TERMS: Final = (
    (
        "Recorded",
        "Used answers, by the provider's own usage. With what was wasted, this should be on its invoice.",
    ),
    ("Estimated", "Used answers that came without usage, by our estimate or by what was asked for."),
    (
        "Possibly billed",
        "At most this, for calls that broke off after they were sent, or were open when a run died.",
    ),
    (
        "Wasted",
        "Billed calls whose answer was of no use: replaced by a repair, too late, or a refusal that costs."
        " They are on the invoice too, and in no other sum.",
    ),
    ("Unpriced", "Calls of unknown cost. Unknown is not zero: they are in none of the sums."),
    ("Call", "One purchase. A request that is tried again makes several, and each is counted."),
)

_BUDGETS: Final = "Of the day or month (UTC) in which this was made, whatever period the rest is of."


class _Section(NamedTuple):
    key: str
    title: str
    lead: str
    content: Html


def page(figures: Figures) -> str:
    """Return the report as one HTML file. The same figures give the same bytes."""
    sections = _sections(figures)
    body = element(
        "body",
        element("a", "To the figures", href="#main", class_="skip"),
        element("div", _top(figures, sections), _main(sections), _foot(figures), class_="page"),
        Html(f"<script>{_file('report.js')}</script>"),
    )
    return f"{HEAD}{_meta(figures)}</head>\n{body}{END}"


def _sections(figures: Figures) -> list[_Section]:
    return [
        _Section("figures", "Key figures", "", joined(key_figures(figures), in_short(figures))),
        _Section("days", "Spend over time", "The sums are of different kinds and are never added up.", by_day(figures)),
        _Section("unknown", "Unpriced and unallocated", "", unknown(figures)),
        _Section("budgets", "Budgets", _BUDGETS if figures.budgets else "", budgets(figures)),
        _Section("slices", "Where it went", "Failed calls are in here too.", slices(figures)),
        _Section("tags", "By tag", "", by_tag(figures)),
        _Section("token-classes", "Tokens", "", joined(token_classes(figures), other_units(figures))),
        _Section("pace", "Throughput and throttling", "", pace(figures)),
        _Section("time", "Latency", "", latency(figures)),
        _Section("failed", "Failures", "", failures(figures)),
        _Section("estimates", "Estimate and outcome", "", foreseen(figures)),
        _Section("rates", "Prices", "", prices(figures)),
        _Section("terms", "What the words mean", "", _terms()),
    ]


def _main(sections: Sequence[_Section]) -> Html:
    made = [
        element(
            "section",
            element("h2", one.title, id=f"{one.key}-title"),
            element("p", one.lead, class_="lead") if one.lead else Html(""),
            one.content,
            id=f"section-{one.key}",
            aria_labelledby=f"{one.key}-title",
        )
        for one in sections
    ]
    return element("main", *made, id="main")


def _top(figures: Figures, sections: Sequence[_Section]) -> Html:
    links = [element("li", element("a", one.title, href=f"#section-{one.key}")) for one in sections]
    return element(
        "header",
        element("h1", "Cost report"),
        element("p", _about(figures), class_="about"),
        element("nav", element("ul", *links), aria_label="Parts of this report"),
    )


def _about(figures: Figures) -> Html:
    days = sorted(one.key[0] or "" for one in figures.daily)
    first, last = figures.since or (days[0] if days else ""), figures.until or (days[-1] if days else "")
    when = _from_to(first, last)
    names = element("bdi", ", ".join(_cut(name) for name in figures.databases))
    return joined(names, f" · {when}, days in {_zone(figures)}" if when else "")


def _from_to(first: str, last: str) -> str:
    if first and last:
        return first if first == last else f"{first} to {last}"
    return f"from {first}" if first else f"up to {last}" if last else ""


def _cut(name: str) -> str:
    return name if len(name) <= 80 else name[:79] + "…"


def _zone(figures: Figures) -> str:
    return str(figures.zone)


def _foot(figures: Figures) -> Html:
    made = datetime.fromtimestamp(figures.made / SECOND, figures.zone)
    return element(
        "footer",
        f"Made {made:%Y-%m-%d %H:%M %Z} by batchrunner {figures.version}.",
        " Amounts are in US dollars and rounded to be shown; each holds its exact value.",
    )


def _terms() -> Html:
    return element(
        "dl", *(joined(element("dt", word), element("dd", meaning)) for word, meaning in _TERMS), class_="terms"
    )


def _meta(figures: Figures) -> Html:
    style, script = _file("report.css"), _file("report.js")
    own = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    return joined(
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        element("title", f"Cost report: {_cut(', '.join(figures.databases))}"),
        Html(f"<style>{style}</style>"),
    )


@cache
def _file(name: str) -> str:
    """Return a file of this folder that becomes a part of the page."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return the hash by which a policy knows an inline style or script (Content Security Policy Level 3, 6.7.3.3)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
