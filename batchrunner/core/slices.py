"""What costs are sliced by, and which of them are counted: days, tags and a time zone. No money is touched here."""

import calendar
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from batchrunner.core.clock import DAY, SECOND
from batchrunner.core.errors import ConfigurationError

SLICES: Final = ("model", "job", "day", "month", "endpoint", "provider", "account", "outcome")
"""What costs can be sliced by, beside ``tag:KEY``; any of them together."""
TAG: Final = "tag:"
"""What stands before a tag's key in the name of a slice."""
EPOCH: Final = date(1970, 1, 1)

_PERIOD = re.compile(r"\d{4}-\d{2}(-\d{2})?", re.ASCII)


class Within(NamedTuple):
    """Which attempts are counted: those opened on these days that have all of these tags."""

    since: int | None = None
    """First day, counted from 1970 in the time zone; None: from the first on."""
    until: int | None = None
    """Last day, which is counted too; None: to the last."""
    tags: tuple[tuple[str, str | None], ...] = ()
    """Tags that an attempt has to have; None as a value: it must not have the tag at all."""
    zone: str = "UTC"
    """In which days begin and end. Any other than UTC looks at the attempts, and not at their totals alone."""

    @property
    def days(self) -> int | None:
        """How many days are counted; None where one end is open."""
        return None if self.since is None or self.until is None else self.until - self.since + 1


EVERYTHING: Final = Within()


def checked_slices(by: Sequence[str]) -> tuple[str, ...]:
    """Return the names of slices, each once. Raises ConfigurationError for one that there is not."""
    for name in by:
        if name not in SLICES and not (name.startswith(TAG) and len(name) > len(TAG)):
            raise ConfigurationError(
                f"costs can't be sliced by {name!r}", hint=f"slice by any of {', '.join(SLICES)}, {TAG}KEY"
            )
    return tuple(dict.fromkeys(by))


def tag_key(name: str) -> str | None:
    """Return the key that a slice's name asks for; None where it is no slice by a tag."""
    return name.removeprefix(TAG) if name.startswith(TAG) else None


def period(text: str, today: int) -> tuple[int, int]:
    """Read ``2026-11``, ``2026-11-05``, ``today`` or ``yesterday`` as its first and last day, counted from 1970.

    Raises ValueError with an example.
    """
    word = text.strip()
    if word in ("today", "yesterday"):
        day = today - (word == "yesterday")
        return day, day
    if not _PERIOD.fullmatch(word):
        raise ValueError(f"{text!r} is no day or month; write 2026-11-05, 2026-11, today or yesterday")
    try:
        year, month = int(word[:4]), int(word[5:7])
        if len(word) > 7:
            day = (date.fromisoformat(word) - EPOCH).days
            return day, day
        first = (date(year, month, 1) - EPOCH).days
        return first, first + calendar.monthrange(year, month)[1] - 1
    except ValueError as error:
        raise ValueError(f"there is no day or month {text!r}: {error}") from None


def day_text(day: int) -> str:
    """Return a day, counted from 1970, as ISO 8601 writes it."""
    return (EPOCH + timedelta(days=day)).isoformat()


def before(within: Within) -> Within:
    """Return the period just before: as many whole months where it is of whole months, else as many days.

    Raises ConfigurationError where an end of the period is open.
    """
    if within.since is None or within.until is None:
        raise ConfigurationError(
            "only a period with two ends has one before it", hint="give --since and --until, or --month"
        )
    first, after = EPOCH + timedelta(days=within.since), EPOCH + timedelta(days=within.until + 1)
    since = within.since - (within.until - within.since + 1)
    if first.day == after.day == 1:
        months = (after.year - first.year) * 12 + after.month - first.month
        year, month = divmod(first.year * 12 + first.month - 1 - months, 12)
        since = (date(year, month + 1, 1) - EPOCH).days
    return within._replace(since=since, until=within.since - 1)


def within(first: int | None, last: int | None, tags: Sequence[tuple[str, str | None]] = (), tz: str = "UTC") -> Within:
    """Return what is counted of these days, both ends included. Raises ConfigurationError for a period that ends before
    it begins, and for a time zone that does not exist.
    """
    if first is not None and last is not None and last < first:
        raise ConfigurationError("the period ends before it begins", hint="its last day is counted too")
    known_zone(tz)
    return Within(first, last, tuple(tags), "UTC" if tz == "Etc/UTC" else tz)


def known_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the database of IANA. Raises ConfigurationError for one it does not have."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"there is no time zone {name!r} here", hint="a name such as Europe/Berlin; days are in UTC without --tz"
        ) from None


def offsets(zone: ZoneInfo, first: int, last: int) -> list[tuple[int, int]]:
    """Return from when on which offset holds, pairs of microseconds, from ``first`` to ``last``.

    A change of offset is found to the second; two of them within one day would pass for none.
    """
    at, end = first // SECOND, -(-last // SECOND)
    found = [(first, _offset(zone, at))]
    while at < end:
        low, high = at, min(at + DAY // SECOND, end)
        at, known = high, found[-1][1]
        if _offset(zone, high) == known:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(zone, middle) == known else (low, middle)
        found.append((high * SECOND, _offset(zone, high)))
    return found


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)
