"""Cost slices, from the totals only: a million attempts are a few rows there."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.usage import OTHERS
from batchrunner.store.base import CostRow
from batchrunner.store.moneytables import totals
from batchrunner.store.tables import jobs, models

_KEYS: dict[str, ColumnElement[Any]] = {
    "model": models.c.model,
    "job": func.coalesce(jobs.c.name, "(deleted)"),
    "day": totals.c.day,
    "endpoint": totals.c.endpoint,
    "provider": models.c.provider,
    "account": totals.c.account,
}

_billed = totals.c.billing == "billed"
_used = totals.c.use == "used"
_reported = totals.c.usage_from == "provider"


def _sum(column: ColumnElement[int], *conditions: ColumnElement[bool]) -> ColumnElement[int]:
    value = case((and_(*conditions), column), else_=0) if conditions else column
    return func.coalesce(func.sum(value), 0)


_SUMS = (
    _sum(totals.c.n),
    _sum(totals.c.n, totals.c.outcome == "reply", _used),
    _sum(totals.c.tin),
    _sum(totals.c.tcached),
    _sum(totals.c.tout),
    _sum(totals.c.treason),
    _sum(totals.c.cost, _billed, _used, _reported),
    _sum(totals.c.cost, _billed, _used, ~_reported),
    _sum(totals.c.hold, totals.c.billing == "unknown"),
    _sum(totals.c.cost, _billed, ~_used),
    _sum(totals.c.unpriced),
    *(_sum(totals.c[name]) for name in OTHERS),
)


def costs(connection: Connection, by: Sequence[str], job_id: int | None) -> list[CostRow]:
    """Return cost slices, ordered by their keys; without ``by`` one row, even where nothing was spent.

    Raises ConfigurationError for a slice that does not exist.
    """
    unknown = [name for name in by if name not in _KEYS]
    if unknown:
        raise ConfigurationError(f"costs can't be sliced by {unknown[0]!r}", hint=f"by any of: {', '.join(_KEYS)}")
    keys = [_KEYS[name].label(f"key_{name}") for name in dict.fromkeys(by)]
    slices = (
        select(*keys, *_SUMS)
        .select_from(totals)
        .outerjoin(jobs, jobs.c.id == totals.c.job_id)
        .outerjoin(models, models.c.id == totals.c.model_id)
        .group_by(*keys)
        .order_by(*keys)
    )
    if job_id is not None:
        slices = slices.where(totals.c.job_id == job_id)
    days = [place for place, name in enumerate(dict.fromkeys(by)) if name == "day"]
    return [_row(tuple(row), len(keys), days) for row in connection.execute(slices)]


def _row(row: tuple[Any, ...], width: int, days: Sequence[int]) -> CostRow:
    key = tuple(_date(part) if place in days else str(part) for place, part in enumerate(row[:width]))
    return CostRow(key, *row[width:])


def _date(day: int) -> str:
    """Return a day, counted from 1970 in UTC, as ISO 8601 writes it."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
