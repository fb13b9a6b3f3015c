"""Which costs are counted, as people say it: days, months, tags, a time zone."""

from collections.abc import Sequence

from batchrunner.cli.params import Parsed
from batchrunner.core import slices
from batchrunner.core.clock import DAY, SystemClock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.slices import Within, period

Period = tuple[int, int]
Tag = tuple[str, str | None]


def _tag(text: str) -> Tag:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"{text!r} is no tag; write KEY=VALUE, or KEY= for what has no such tag")
    return key.strip(), value.strip() or None


def _period(text: str) -> Period:
    return period(text, SystemClock().now() // DAY)


def _spans(text: str) -> Period | None:
    if text.strip() == "previous":
        return None
    first, dots, last = text.partition("..")
    return (_period(first)[0], _period(last)[1]) if dots else _period(first)


PERIOD = Parsed("day|month", _period)
"""First and last day: ``2026-11-05``, ``2026-11``."""
SPAN = Parsed("period", lambda text: (_spans(text),))
"""A period to compare with, in a tuple of its own: None is the one before; ``2026-10``, ``2026-10-01..2026-10-15``."""
HAVING = Parsed("key=value", _tag)
"""A tag that counts; None as a value: none of that name."""


def within(
    since: Period | None, until: Period | None, month: Period | None, tags: Sequence[Tag], zone: str | None
) -> Within:
    """Return what these options come to. Raises ConfigurationError for a period that ends before it begins."""
    if month is not None and (since is not None or until is not None):
        raise ConfigurationError("--month is a period of its own", hint="leave --since and --until out")
    first, last = month or (since and since[0], until and until[1])
    return slices.within(first, last, tags, zone or "UTC")
