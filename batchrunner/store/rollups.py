"""The two rollups: ``counts`` of requests by state, ``totals`` of closed attempts. They move with what they sum up.

Status, work and costs read these few rows; nothing ever scans the requests or attempts for a figure. ``check`` counts
them anew.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.clock import DAY
from batchrunner.core.errors import DatabaseError
from batchrunner.core.usage import OTHERS
from batchrunner.store.driver import driver
from batchrunner.store.failures import DAMAGED
from batchrunner.store.moneytables import TOTALS_KEY, TOTALS_SUMS
from batchrunner.store.rows import id_list

CountKey = tuple[int, int, str]
"""Job, lane, state."""
Counts = dict[CountKey, int]
TotalKey = tuple[int | str, ...]
Totals = dict[TotalKey, list[int]]

_KEY = ", ".join(TOTALS_KEY)
_FIRST_UNIT = len(TOTALS_SUMS) - len(OTHERS)
_SUMS = ", ".join(TOTALS_SUMS)
_WHERE_KEY = " AND ".join(f"{name} = ?" for name in TOTALS_KEY)

_FEWER = "UPDATE counts SET n = n + ? WHERE job_id = ? AND model_id = ? AND state = ?"
_MORE = """INSERT INTO counts (n, job_id, model_id, state) VALUES (?, ?, ?, ?)
 ON CONFLICT (job_id, model_id, state) DO UPDATE SET n = n + excluded.n"""
_ADD = (
    f"INSERT INTO totals ({_KEY}, {_SUMS}) VALUES ({', '.join('?' * len(TOTALS_KEY + TOTALS_SUMS))})"  # noqa: S608
    f" ON CONFLICT ({_KEY}) DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in TOTALS_SUMS)}"
)  # S608 here and below: made of constants
_TAKE = f"UPDATE totals SET {', '.join(f'{name} = {name} - ?' for name in TOTALS_SUMS)} WHERE {_WHERE_KEY}"  # noqa: S608

# What closed attempts come to, by the totals' key: the definition that every other statement must agree with.
_OF_ATTEMPTS = f"""SELECT %s, job_id, model_id, endpoint, ifnull(tag_set_id, 0), ifnull(rate_id, 0),
 account, class, billing, use, usage_from, outcome, count(*), ifnull(sum(tin), 0), ifnull(sum(tcached), 0),
 ifnull(sum(tout), 0), ifnull(sum(treason), 0), ifnull(sum(cost), 0), ifnull(sum(hold), 0),
 sum(CASE billing WHEN 'billed' THEN cost IS NULL WHEN 'unknown' THEN hold IS NULL ELSE 0 END),
 {", ".join(f"ifnull(sum({name}), 0)" for name in OTHERS)}
 FROM attempts LEFT JOIN units ON attempt_id = id"""  # noqa: S608
_BY_KEY = f"GROUP BY {', '.join(str(n + 1) for n in range(len(TOTALS_KEY)))}"
_UTC = f"opened / {DAY}"
_OF_SOME = f"{_OF_ATTEMPTS % _UTC} WHERE id IN (SELECT value FROM json_each(?)) {_BY_KEY}"  # noqa: S608
RECOUNT_TOTALS = f"{_OF_ATTEMPTS % _UTC} WHERE ended IS NOT NULL {_BY_KEY}"
STORED_TOTALS = f"SELECT {_KEY}, {_SUMS} FROM totals WHERE n > 0"  # noqa: S608
RECOUNT_COUNTS = "SELECT job_id, model_id, state, count(*) FROM requests GROUP BY 1, 2, 3"
STORED_COUNTS = "SELECT job_id, model_id, state, n FROM counts WHERE n > 0"


def by_days(day: str) -> str:
    """Return table expressions, of which ``t`` is the totals by another rule of days, an expression of ``opened``.

    The totals stay as they are, but for the attempts that have another day by that rule: those are put from one day
    into the other. A time zone an hour off moves one attempt in 24.
    """
    columns = _OF_ATTEMPTS % f"{_UTC}, {day}"
    moved = f"{columns} WHERE ended IS NOT NULL AND {day} <> {_UTC} {_BY_KEY}, {len(TOTALS_KEY) + 1}"
    sums = ", ".join(f"sum({name})" for name in TOTALS_SUMS)
    less = ", ".join(f"-{name}" for name in TOTALS_SUMS)
    return f"""moved (utc, {_KEY}, {_SUMS}) AS MATERIALIZED ({moved}), t ({_KEY}, {_SUMS}) AS MATERIALIZED (
 SELECT {_KEY}, {sums} FROM (SELECT {_KEY}, {_SUMS} FROM totals UNION ALL SELECT {_KEY}, {_SUMS} FROM moved
 UNION ALL SELECT utc, {_KEY.removeprefix("day, ")}, {less} FROM moved) GROUP BY {_KEY})"""  # noqa: S608


def add_counts(connection: Connection, counts: Mapping[CountKey, int]) -> None:
    """Move ``counts``. Raises DatabaseError where they are not what the requests were: the transaction fails."""
    fewer = [(n, *key) for key, n in counts.items() if n < 0]
    more = [(n, *key) for key, n in counts.items() if n > 0]
    cursor = driver(connection)
    if fewer and cursor.executemany(_FEWER, fewer).rowcount != len(fewer):
        raise DatabaseError("its counts do not hold a state that requests have just left", hint=DAMAGED)
    if more:
        cursor.executemany(_MORE, more)


def move_counts(connection: Connection, moves: Iterable[tuple[int, int, str, str, int]]) -> int:
    """Move requests from the count of one state to that of another; return how many.

    ``moves`` are job, lane, the state that they leave, the one that they come to, and how many they are.
    """
    counts: Counts = defaultdict(int)
    moved = 0
    for job_id, lane_id, before, after, n in moves:
        counts[job_id, lane_id, before] -= n
        counts[job_id, lane_id, after] += n
        moved += n
    add_counts(connection, counts)
    return moved


def tally(
    totals: Totals, key: TotalKey, tokens: Sequence[Any], money: tuple[int, int, bool], units: Sequence[Any] | None
) -> None:
    """Add one attempt's sums: its tokens, where they are known; cost, hold and whether it is unpriced; other units."""
    kept = totals.get(key)
    if kept is None:
        kept = totals[key] = [0] * len(TOTALS_SUMS)
    kept[0] += 1
    tin, tcached, tout, treason = tokens
    if tin is not None:
        kept[1] += tin
        kept[2] += tcached
        kept[3] += tout
        kept[4] += treason
    if units is not None:
        kept[_FIRST_UNIT:] = map(add, kept[_FIRST_UNIT:], units)
    cost, hold, unpriced = money
    kept[5] += cost
    kept[6] += hold
    kept[7] += unpriced


def add_totals(connection: Connection, totals: Totals) -> None:
    """Move ``totals``."""
    if totals:
        driver(connection).executemany(_ADD, [(*key, *sums) for key, sums in totals.items()])


def add_closed(connection: Connection, attempt_ids: Sequence[int]) -> None:
    """Add attempts that have just been closed, as they stand in their table."""
    rows = connection.exec_driver_sql(_OF_SOME, (id_list(attempt_ids),)).all()
    if rows:
        connection.exec_driver_sql(_ADD, [tuple(row) for row in rows])


def take_closed(connection: Connection, attempt_ids: Sequence[int]) -> None:
    """Take attempts out again, as they stand in their table: they are about to be closed in another way."""
    width = len(TOTALS_KEY)
    rows = connection.exec_driver_sql(_OF_SOME, (id_list(attempt_ids),)).all()
    if rows:
        connection.exec_driver_sql(_TAKE, [(*row[width:], *row[:width]) for row in rows])
