"""Budgets and what counts against them: closed attempts from the rollup, open ones along their index.

Each figure is read from what the commits have left there, so a restart counts what every earlier run has bought.
"""

import json
from collections.abc import Sequence
from operator import add
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from batchrunner.core.budget import Budget, Line, Period, Reach, Scope, Sheet, Spent, days_of, period_at
from batchrunner.core.clock import DAY
from batchrunner.store.moneytables import budgets
from batchrunner.store.tables import attempts, tag_sets
from batchrunner.store.tagging import TagOf

_ORDER = "scope, ref, CASE period WHEN 'ever' THEN 0 WHEN 'month' THEN 1 ELSE 2 END"
_CLOSED = """ifnull(sum(CASE x.billing WHEN 'billed' THEN x.cost ELSE 0 END), 0),
 ifnull(sum(CASE x.billing WHEN 'unknown' THEN x.hold ELSE 0 END), 0), ifnull(sum(x.unpriced), 0),
 ifnull(sum(CASE x.billing WHEN 'billed' THEN x.unpriced ELSE 0 END), 0) FROM totals AS x WHERE """
_OPEN = """ifnull(sum(x.hold), 0), count(*) - count(x.hold) FROM attempts AS x
 WHERE x.ended IS NULL AND """
# Billed, and nobody knows at what price: only an attempt's own row tells its hold from those of the others. Rare.
_AT_ITS_HOLD = """ifnull(sum(x.hold), 0), count(x.hold) FROM attempts AS x
 WHERE x.billing = 'billed' AND x.cost IS NULL AND x.ended IS NOT NULL AND """


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
    lines = []
    for budget in all_budgets(connection):
        number, reach = period_at(budget.period, now), _reach(connection, budget)
        lines.append(Line(budget, number, _spent(connection, budget, number, reach), reach))
    return Sheet(tuple(lines), _newest(connection, attempts), _newest(connection, tag_sets))


def _reach(connection: Connection, budget: Budget) -> Reach | None:
    if budget.scope is Scope.JOB:
        return Reach(frozenset({_job(budget)}))
    if budget.scope is Scope.TAG:
        key, _, value = budget.ref.partition("=")
        return TagOf(connection, key).reach(value)
    return None


def _job(budget: Budget) -> int:
    return int(budget.ref) if budget.ref.isdecimal() else -1


def _key(budget: Budget) -> dict[str, str]:
    return {"scope": budget.scope.value, "ref": budget.ref, "period": budget.period.value}


def _newest(connection: Connection, table: Any) -> int:
    newest: int = connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
    return newest


def _spent(connection: Connection, budget: Budget, number: int, reach: Reach | None) -> Spent:
    where, values = ("x.job_id = :job", {"job": _job(budget)}) if budget.scope is Scope.JOB else ("1", {})
    days = days_of(budget.period, number)
    values |= {"first": days[0], "last": days[1]} if days else {}
    in_days = " AND x.day BETWEEN :first AND :last" if days else ""
    in_time = f" AND x.opened / {DAY} BETWEEN :first AND :last" if days else ""
    tagged = reach if budget.scope is Scope.TAG else None
    settled, possibly, unpriced, billed = _sums(connection, f"{_CLOSED}{where}{in_days}", values, tagged)
    held, unknown = _sums(connection, f"{_OPEN}{where}{in_time}", values, tagged)
    if billed:
        more, priced = _sums(connection, f"{_AT_ITS_HOLD}{where}{in_time}", values, tagged)
        possibly, unpriced = possibly + more, unpriced - priced
    return Spent(settled, possibly, held, unpriced + unknown)


def _sums(connection: Connection, sums: str, values: dict[str, Any], tagged: Reach | None) -> Sequence[int]:
    """Return sums over all rows of a statement, or where it goes by a tag, over those that the tag reaches."""
    if tagged is None:
        return tuple(connection.exec_driver_sql(f"SELECT {sums}", values).one())
    by_tags = connection.exec_driver_sql(f"SELECT x.job_id, x.tag_set_id, {sums} GROUP BY 1, 2", values)
    found = [0] * (len(by_tags.keys()) - 2)
    for job_id, tag_set, *amounts in by_tags:
        if tagged.holds(job_id, tag_set):
            found = list(map(add, found, amounts))
    return found
