"""Figures of a report as people read them, each with its exact value beside it for programs (HTML's ``data``)."""

import re
from collections.abc import Iterable
from typing import Final

from batchrunner.core.pricing import PICO, dollars
from batchrunner.formats.base import exact_usd
from batchrunner.formats.markup import Html, element

_THIN: Final = "\u00a0"
"""Between a figure and its unit, which stay on one line."""
_SPANS: Final = ((1, "ms", 1_000), (1_000, "s", 120_000), (60_000, "min", 7_200_000), (3_600_000, "h", 1 << 63))
_PLACES: Final = ((10 * PICO, 2), (PICO // 10, 4), (PICO // 1_000, 6), (PICO // 10**7, 9), (0, 12))
"""From how much on, in pico-dollars, and with how many decimals: three digits are left of what is smallest."""
_UNITS: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**4, "k"))


def places_of(amounts: Iterable[int]) -> int:
    """Return the decimals in which a column of pico-dollars is shown: what is small shows more of them."""
    most = max(amounts, default=0)
    return next(places for least, places in _PLACES if most >= least)


def money(pico: int, places: int | None = None) -> Html:
    """Return an amount, rounded for the eye; its value is exact, in USD."""
    if pico == 0:
        return element("data", "$0", value="0", class_="nil")
    return element("data", dollars(pico, places), value=exact_usd(pico))


def number(amount: int) -> Html:
    """Return a whole number with every digit."""
    return element("data", f"{amount:,}", value=amount, class_=None if amount else "nil")


def tokens(amount: int) -> Html:
    """Return a number of tokens in three digits; its value is exact."""
    return element("data", short(amount), value=amount, class_=None if amount else "nil")


def percent(part: int, whole: int) -> Html:
    """Return a share to a tenth of a percent; a dash where there is no whole. Its value has six decimals."""
    if whole <= 0:
        return element("data", "–", value="", class_="nil")
    return element("data", percent_text(part, whole), value=f"{part / whole:.6f}", class_=None if part else "nil")


def percent_text(part: int, whole: int) -> str:
    """Return a share as ``12.3 %``; what is not nothing is never shown as nothing, nor less than all as all."""
    if whole <= 0:
        return "–"
    tenths = (2_000 * part + whole) // (2 * whole)
    if part and not tenths:
        return f"<0.1{_THIN}%"
    if tenths == 1_000 and part != whole:
        return f"<100{_THIN}%" if part < whole else f">100{_THIN}%"
    return f"{tenths // 10}.{tenths % 10}{_THIN}%" if tenths % 1_000 else f"{tenths // 10:,}{_THIN}%"


def lasting(milliseconds: int | None) -> Html:
    """Return how long something took; a dash where nothing did."""
    if milliseconds is None:
        return element("data", "–", value="", class_="nil")
    return element("data", lasting_text(milliseconds), value=milliseconds)


def lasting_text(milliseconds: int) -> str:
    """Return a span to two digits in the unit that suits it: ``850 ms``, ``2.4 s``, ``12 min``, ``3.0 h``."""
    unit, name = next((unit, name) for unit, name, upto in _SPANS if milliseconds < upto)
    amount = f"{milliseconds / unit:.1f}" if unit > 1 and milliseconds < 9.95 * unit else f"{milliseconds / unit:,.0f}"
    return f"{amount}{_THIN}{name}"


def short(amount: int) -> str:
    """Return a count in about three digits: ``9,500``, ``12.3k``, ``4.50M``."""
    for unit, name in _UNITS:
        if amount >= unit:
            return f"{_three(amount / (1_000 if name == 'k' else unit))}{name}"
    return f"{amount:,}"


def bare(told: str) -> str:
    """Return a round figure without the noughts that say how exact others are: ``1.5M``, ``2 s``."""
    return re.sub(r"\.?0+(?=\D*$)", "", told) if "." in told else told


def _three(amount: float) -> str:
    """Return a number from 1 on in three digits, or all of those before the point."""
    return f"{amount:.2f}" if amount < 9.995 else f"{amount:.1f}" if amount < 99.95 else f"{amount:,.0f}"


def bar(part: int, whole: int) -> Html:
    """Return a bar as long as a share; the eye's companion of a percentage that stands beside it, and hidden else."""
    share = 100 * part / whole if whole > 0 else 0
    drawn = element("rect", width=f"{min(share, 100):.2f}", height=8) if part > 0 else Html("")
    return element("svg", drawn, class_="bar", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true")


def bars(parts: Iterable[tuple[int, int]], whole: int) -> Html:
    """Return a bar of several parts, each of a series (its number) and an amount, hidden as ``bar`` is."""
    drawn, at = [], 0.0
    for series, amount in parts:
        width = 100 * amount / whole if whole > 0 else 0.0
        if width > 0:
            drawn.append(element("rect", class_=f"s{series}", x=f"{at:.2f}", width=f"{width:.2f}", height=8))
        at += width
    return element("svg", *drawn, class_="bar", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true")
