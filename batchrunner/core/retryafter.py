"""Reads for how long a provider asks us to stay away."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 3600.0
"""Seconds; a longer wish is clamped to this. Whoever means a day will say so again in an hour."""

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,3})?")
_WEEKDAY = re.compile(r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?", re.IGNORECASE)
_LONGEST = 200
"""Characters of a header value that are looked at; an honest one has at most 60."""


def retry_after(headers: Mapping[str, str], received_us: int) -> float | None:
    """Return the seconds to stay away, 0 to MAX_RETRY_AFTER, or None where the headers don't say so readably.

    In this order: ``retry-after-ms`` (milliseconds, OpenAI's and Azure's habit), ``Retry-After`` in seconds,
    ``Retry-After`` as a date (RFC 9110 10.2.3), which is read against the response's own ``Date``, since the server's
    clock need not be ours, and against ``received_us`` (wall time, microseconds) where that is missing. A date in the
    past means 0. Of values joined by commas the first readable one counts. Header names are lower-case. Never raises.
    """
    for value in _values(headers.get("retry-after-ms")):
        milliseconds = _number(value)
        if milliseconds is not None:
            return min(milliseconds / 1000, MAX_RETRY_AFTER)
    for value in _values(headers.get("retry-after")):
        seconds = _number(value)
        if seconds is None:
            seconds = _until(value, headers.get("date"), received_us)
        if seconds is not None:
            return min(seconds, MAX_RETRY_AFTER)
    return None


def _values(header: str | None) -> Iterator[str]:
    """Yield the values of a header that may have been sent several times; the comma inside a date parts nothing."""
    weekday = ""
    for piece in (header or "")[:_LONGEST].split(","):
        text = piece.strip()
        if _WEEKDAY.fullmatch(text):
            weekday = text
        else:
            yield f"{weekday}, {text}" if weekday else text
            weekday = ""


def _number(text: str) -> float | None:
    """Read a plain decimal number; None for anything else: signs, words, NaN, what no float holds."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _until(text: str, date: str | None, received_us: int) -> float | None:
    """Return the seconds from the response to the date in ``text``, None where that is no HTTP date."""
    until = _date(text)
    if until is None:
        return None
    sent = _date((date or "").strip()[:_LONGEST])
    return max(0.0, until - (received_us / 1e6 if sent is None else sent))


def _date(text: str) -> float | None:
    """Read one of the three forms of an HTTP date (RFC 9110 5.6.7) as seconds since the epoch; all of them are UTC."""
    weekday = re.match("[A-Za-z]+", text)
    if weekday is None or not _WEEKDAY.fullmatch(weekday[0]):
        return None
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # what the standard library's reader makes of junk
        return None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return ((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - epoch).total_seconds()
