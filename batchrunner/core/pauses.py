"""Patience: which causes a run waits for and how often it looks again, when it gives up, and when it has to end."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.clock import SECOND

OnPause = Literal["wait", "exit"]

FIRST_PROBE = 60.0
"""Seconds from a pause to the first probe; each one that fails doubles the next interval."""
LONGEST_PROBE = 900.0
"""Seconds; no interval is longer, so that a night's pause ends within a quarter of an hour of its cause."""
LONG_WAIT = 900.0
"""Seconds; a rate limit that asks for more than this is a quota that is used up, and a pause."""
OUTAGE_SHOWS = 60.0
"""Seconds after which an outage is a pause that people are told of; most are over sooner."""

_ACTED_ON = frozenset(
    {FailureKind.AUTH, FailureKind.NO_CREDIT, FailureKind.MODEL_UNAVAILABLE, FailureKind.MISCONFIGURED}
)
_DAILY = re.compile(
    r"\b(?:RPD|TPD)\b|\b(?:requests|tokens|queries) (?:per|a) day\b|\bdaily\b[^.]{0,40}\b(?:limit|quota)\b"
)
_SEARCHED = 4000
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


def needs_a_person(kind: FailureKind) -> bool:
    """Whether such a cause stays until a person acts: a refused key, empty credit, a vanished model, a wrong host."""
    return kind in _ACTED_ON


def probe_interval(failed: int) -> float:
    """Return the seconds to the next probe of a pause whose last ``failed`` probes changed nothing: 1 to 15 minutes."""
    return min(LONGEST_PROBE, FIRST_PROBE * (1 << min(max(failed, 0), 10)))


def quota_wait(failure: Failure) -> float | None:
    """Return the seconds to wait for a quota of the day; None where a failure is no such thing.

    A 429 that asks for more than a quarter of an hour, or that names a limit per day (OpenAI writes RPD and TPD). What
    names a day but no time is probed like any other pause: such windows roll, and may be over sooner than the day.
    """
    if failure.kind is not FailureKind.RATE_LIMITED:
        return None
    if failure.retry_after is not None and failure.retry_after > LONG_WAIT:
        return failure.retry_after
    if _DAILY.search(failure.message, 0, _SEARCHED):
        return max(FIRST_PROBE, failure.retry_after or 0.0)
    return None


def next_time(text: str, now: int, zone: tzinfo | None = None) -> int:
    """Return when it is next ``06:30`` local time, or the moment of an ISO 8601 date-time, in microseconds UTC.

    ``zone`` is the machine's own where it is None. On the night when the clocks change, a time that does not exist
    means the moment at which it would have been, and one that comes twice the first of them that lies ahead.
    Raises ValueError for text that is neither.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return _moment(text, zone)
    hour, minute, second = (int(part or 0) for part in match.groups())
    today = datetime.fromtimestamp(now / SECOND, zone).replace(tzinfo=None).date()
    days = (datetime.combine(today + timedelta(days=n), datetime.min.time()) for n in range(-1, 3))
    moments = (_moments(day.replace(hour=hour, minute=minute, second=second), zone) for day in days)
    return min(moment for each in moments for moment in each if moment > now)


def _moments(local: datetime, zone: tzinfo | None) -> list[int]:
    """Return the moments of a local time: two where the clocks were set back over it."""
    first, second = (_micros(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    again = datetime.fromtimestamp(second / SECOND, zone).replace(tzinfo=None, fold=0)
    return [first, second] if again == local else [first]  # the second reading of a time that is skipped is too early


def _moment(text: str, zone: tzinfo | None) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("it must be a time such as 06:30, or a date and time such as 2026-03-01T06:30") from None
    return _micros(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))


def _micros(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.astimezone()
    return round((aware.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a run meets what stops it. Spans are in seconds."""

    on_pause: OnPause | None = None
    """None: wait for outages and quotas, end for what a person has to act on."""
    give_up_after: float | None = None
    """A pause that is waited for, or an outage, that lasts longer ends its part of the run."""
    until: str | None = None
    """Local time or ISO date-time at which the run ends."""
    run_for: float | None = None
    """The longest that the run may take."""
    row_timeout: float | None = None
    """The age at which a row that keeps failing by itself is given up."""
    poll_for: float = 21_600.0
    """Waiting that is spent on a purchase which is not whole yet, before it is given up."""

    def waits(self, kind: FailureKind) -> bool:
        """Whether a pause of this cause is waited for."""
        return self.on_pause == "wait" if self.on_pause is not None else not needs_a_person(kind)

    def seconds(self, now: int) -> float | None:
        """Return the seconds that a run which starts at ``now`` (microseconds UTC) may take; None: no deadline."""
        spans = [] if self.run_for is None else [self.run_for]
        if self.until is not None:
            spans.append(max(0.0, (next_time(self.until, now) - now) / SECOND))
        return min(spans, default=None)


PATIENCE = Patience()
"""That of a run for which nobody set anything."""
