"""Days, in UTC."""

from datetime import UTC, date, datetime

from batchrunner.core.clock import SECOND, SystemClock


def today() -> date:
    """Return the day that it is in UTC."""
    return datetime.fromtimestamp(SystemClock().now() / SECOND, UTC).date()


def microseconds(day: date | datetime) -> int:
    """Return the beginning of a day, in UTC."""
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND
