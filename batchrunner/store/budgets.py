"""Budgets and what counts against them: closed attempts from the rollup, open ones along their index.

Each figure is read from what the commits have left there, so a restart counts what every earlier run has bought.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from batchrunner.core.budget import Budget, Line, Period, Reach, Scope, Sheet, Spent, days_of, period_at, tag_reach
from batchrunner.core.clock import DAY
from batchrunner.store.moneytables import budgets
from batchrunner.store.rows import Tags, tags_value
from batchrunner.store.tables import attempts, jobs, tag_sets

_ORDER = "scope, ref, CASE period WHEN 'ever' THEN 0 WHEN 'month' THEN 1 ELSE 2 END"
_CLOSED = """SELECT ifnull(sum(CASE x.billing WHEN 'billed' THEN x.cost ELSE 0 END), 0),
 ifnull(sum(CASE x.billing WHEN 'unknown' THEN x.hold ELSE 0 END), 0), ifnull(sum(x.unpriced), 0),
 ifnull(sum(CASE x.billing WHEN 'billed' THEN x.unpriced ELSE 0 END), 0) FROM totals AS x WHERE """
_OPEN = """SELECT ifnull(sum(x.hold), 0), count(*) - count(x.hold) FROM attempts AS x
 WHERE x.ended IS NULL AND """
# Billed, and nobody knows at what price: only an attempt's own row tells its hold from those of the others. Rare.
_AT_ITS_HOLD = """SELECT ifnull(sum(x.hold), 0), count(x.hold) FROM attempts AS x
 WHERE x.billing = 'billed' AND x.cost IS NULL AND x.ended IS NOT NULL AND """
# A tag of the line stands above the job's.
_TAGGED = """:value = coalesce(
 (SELECT j.value FROM tag_sets AS t, json_each(t.tags) AS j WHERE t.id = x.tag_set_id AND j.key = :key),
 (SELECT j.value FROM jobs AS o, json_each(o.tags) AS j WHERE o.id = x.job_id AND j.key = :key))"""


def keep_budget(connection: Connection, budget: Budget, now: int) -> None:
    """Write a budget, in the place of an earlier one of the same scope and period."""
    row = {**_key(budget), "cap": budget.cap, "warn": json.dumps(budget.warn), "changed": now}
    kept = insert(budgets).values(**row)
    again = {name: kept.excluded[name] for name in ("cap", "warn", "changed")}
    connection.execute(kept.on_conflict_do_update(index_elements=["scope", "ref", "period"], set_=again))


def drop_budget(connection: Connection, budget: Budget) -> bool:
    """Remove the budget of this scope and period; return whether there was one."""
    these = [budgets.c[name] == value for name, value in _key(budget).items()]
    return connection.execute(delete(budgets).where(*these)).rowcount > 0


def all_budgets(connection: Connection) -> list[Budget]:
    """Return every budget."""
    columns = "scope, ref, period, cap, warn"
    rows = connection.exec_driver_sql(f"SELECT {columns} FROM budgets ORDER BY {_ORDER}")  # noqa: S608 - constants
    return [
        Budget(Scope(scope), ref, Period(period), cap, tuple(json.loads(warn)))
        for scope, ref, period, cap, warn in rows
    ]


def sheet(connection: Connection, now: int) -> Sheet:
    """Return all budgets, and what counts against each in the period that it is ``now`` (microseconds UTC)."""
    known = all_budgets(connection)
    lines = []
    for budget in known:
        number = period_at(budget.period, now)
        reach: Reach | None = None
        if budget.scope is Scope.JOB:
            reach = Reach(frozenset({int(budget.ref)}) if budget.ref.isdecimal() else frozenset())
        elif budget.scope is Scope.TAG:
            reach = tag_reach(budget.ref, _tags(connection, jobs), _tags(connection, tag_sets))
        lines.append(Line(budget, number, _spent(connection, budget, number), reach))
    return Sheet(tuple(lines), _newest(connection, attempts), _newest(connection, tag_sets))


def _key(budget: Budget) -> dict[str, str]:
    return {"scope": budget.scope.value, "ref": budget.ref, "period": budget.period.value}


def _newest(connection: Connection, table: Any) -> int:
    newest: int = connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
    return newest


def _tags(connection: Connection, table: Any) -> Iterator[tuple[int, Tags]]:
    return ((row.id, tags_value(row.tags)) for row in connection.execute(select(table.c.id, table.c.tags)))


def _spent(connection: Connection, budget: Budget, number: int) -> Spent:
    where, values = _reaching(budget)
    days = days_of(budget.period, number)
    values |= {"first": days[0], "last": days[1]} if days else {}
    in_days = " AND x.day BETWEEN :first AND :last" if days else ""
    in_time = f" AND x.opened / {DAY} BETWEEN :first AND :last" if days else ""
    settled, possibly, unpriced, billed = _row(connection, f"{_CLOSED}{where}{in_days}", values)
    held, unknown = _row(connection, f"{_OPEN}{where}{in_time}", values)
    if billed:
        more, priced = _row(connection, f"{_AT_ITS_HOLD}{where}{in_time}", values)
        possibly, unpriced = possibly + more, unpriced - priced
    return Spent(settled, possibly, held, unpriced + unknown)


def _row(connection: Connection, statement: str, values: dict[str, Any]) -> Sequence[int]:
    return tuple(connection.exec_driver_sql(statement, values).one())


def _reaching(budget: Budget) -> tuple[str, dict[str, Any]]:
    if budget.scope is Scope.JOB:
        return "x.job_id = :job", {"job": int(budget.ref) if budget.ref.isdecimal() else -1}
    if budget.scope is Scope.TAG:
        key, _, value = budget.ref.partition("=")
        return _TAGGED, {"key": key, "value": value}
    return "1", {}
