"""Cost slices, from the totals: a million attempts are a few rows there.

The database adds up by ids, and what they are called is put in here: names, months and tags, whose values may be many
and lie in JSON. The totals know days in UTC: for those of another time zone, the attempts between two midnights are
looked up and put into the day before or after.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import add
from typing import Any

from sqlalchemy import Connection, func, select

from batchrunner.core.clock import DAY
from batchrunner.core.slices import EVERYTHING, Within, checked_slices, day_text, known_zone, offsets, tag_key
from batchrunner.core.usage import OTHERS
from batchrunner.store.base import CostRow
from batchrunner.store.rollups import by_days
from batchrunner.store.tables import attempts, jobs, models
from batchrunner.store.tagging import TagOf

_BILLED, _USED, _TOLD = "billing = 'billed'", "use = 'used'", "usage_from = 'provider'"
_COLUMNS = {
    "model": ("model_id",),
    "provider": ("model_id",),
    "job": ("job_id",),
    "day": ("day",),
    "month": ("day",),
    "endpoint": ("endpoint",),
    "account": ("account",),
    "outcome": ("outcome",),
}
"""The columns of the totals that a slice is made of."""
TAGGED = ("job_id", "tag_set_id")
"""Those that tags are found by."""

Values = tuple[Any, ...]
Key = tuple[str | None, ...]
Label = Callable[[Values], str | None]


def _sum(column: str, *conditions: str) -> str:
    where = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
    return f"ifnull(sum({column}){where}, 0)"


_SUMS = (
    _sum("n"),
    _sum("n", "outcome = 'reply'", _USED),
    *(_sum(name) for name in ("tin", "tcached", "tout", "treason")),
    _sum("cost", _BILLED, _USED, _TOLD),
    _sum("cost", _BILLED, _USED, f"NOT {_TOLD}"),
    _sum("hold", "billing = 'unknown'"),
    _sum("cost", _BILLED, f"NOT {_USED}"),
    _sum("unpriced"),
    *(_sum(name) for name in OTHERS),
    _sum("cost", _BILLED, f"NOT {_USED}", f"NOT {_TOLD}"),
    _sum("n", "billing = 'unknown'"),
)
_NOTHING = CostRow((), *[0] * (len(CostRow._fields) - 1))


def costs(connection: Connection, by: Sequence[str], job_id: int | None, within: Within = EVERYTHING) -> list[CostRow]:
    """Return cost slices, ordered by their keys; without ``by`` one row, even where nothing was spent.

    Raises ConfigurationError for a slice or a time zone that does not exist.
    """
    names = checked_slices(by)
    columns, key_of = slicing(connection, names)
    found: dict[Key, Values] = {}
    width = len(columns)
    for row in grouped(connection, columns, _SUMS, job_id, within):
        key, sums = key_of(row), row[width:]
        found[key] = tuple(map(add, found[key], sums)) if key in found else sums
    if not names and not found:
        return [_NOTHING]
    ordered = sorted(found.items(), key=lambda item: tuple((part is None, part or "") for part in item[0]))
    return [CostRow(key, *sums) for key, sums in ordered]


def slicing(connection: Connection, names: Sequence[str]) -> tuple[tuple[str, ...], Callable[[Values], Key]]:
    """Return the columns of the totals that these slices are made of, and what tells the key of a row of them."""
    columns = tuple(dict.fromkeys(column for name in names for column in _COLUMNS.get(name, TAGGED)))
    labels = [_label(connection, name, columns) for name in names]
    return columns, lambda row: tuple([label(row) for label in labels])


def having(connection: Connection, within: Within) -> Callable[[int, int], bool]:
    """Return what tells whether a job and a set of tags of a line have all the tags that are asked for."""
    wanted = [(TagOf(connection, key).of, value) for key, value in within.tags]
    return lambda job_id, set_id: all(tag(job_id, set_id) == value for tag, value in wanted)


def grouped(
    connection: Connection,
    columns: Sequence[str],
    sums: Sequence[str],
    job_id: int | None,
    within: Within,
    source: tuple[str, str] | None = None,
) -> Iterator[Values]:
    """Yield sums of the totals by these columns: a row may come in several parts where tags are asked for.

    ``source``: what else to read, as the beginning of a statement and the name of a table in it.
    """
    width = len(columns)
    keys = tuple(dict.fromkeys((*columns, *(TAGGED if within.tags else ()))))
    head, where = source or _source(connection, within), _conditions(within)
    values: list[Any] = []
    if job_id is not None:
        where, values = [*where, "job_id = ?"], [job_id]
    by = f" GROUP BY {', '.join(keys)}" if keys else ""
    query = f"{head[0]}SELECT {', '.join((*keys, *sums))} FROM {head[1]} WHERE {' AND '.join(where)}{by}"  # noqa: S608
    rows = connection.exec_driver_sql(query, tuple(values))
    if not within.tags:
        yield from map(tuple, rows)
        return
    counts, job_at, set_at = having(connection, within), keys.index("job_id"), keys.index("tag_set_id")
    for row in rows:
        if counts(row[job_at], row[set_at]):
            yield (*row[:width], *row[len(keys) :])


def _source(connection: Connection, within: Within) -> tuple[str, str]:
    """Return what goes before the query, and the table that it reads."""
    return ("", "totals") if within.zone == "UTC" else (f"WITH {by_days(day_in(connection, within.zone))} ", "t")


def _conditions(within: Within) -> list[str]:
    bounds = ((">=", within.since), ("<=", within.until))
    return ["n > 0", *(f"day {sign} {int(day)}" for sign, day in bounds if day is not None)]


def day_in(connection: Connection, name: str) -> str:
    """Return an expression of the day on which an attempt was opened, as a time zone has it."""
    zone = known_zone(name)
    first, last = connection.execute(select(func.min(attempts.c.opened), func.max(attempts.c.opened))).one()
    if first is None:
        return f"opened / {DAY}"
    (_, offset), *later = offsets(zone, first, last)
    cases = [f"WHEN opened >= {since} THEN {shift}" for since, shift in reversed(later)]
    shift = f"CASE {' '.join(cases)} ELSE {offset} END" if cases else str(offset)
    return f"(opened + {shift}) / {DAY}"


def _label(connection: Connection, name: str, columns: Sequence[str]) -> Label:
    """Return what tells a slice's part of a key from a row that begins with these columns."""
    if (key := tag_key(name)) is not None:
        tag, job_at, set_at = TagOf(connection, key).of, columns.index("job_id"), columns.index("tag_set_id")
        return lambda row: tag(row[job_at], row[set_at])
    at = columns.index(_COLUMNS[name][0])
    if name in ("model", "provider"):
        lanes = {row[0]: row[1] for row in connection.execute(select(models.c.id, models.c[name]))}
        return lambda row: lanes.get(row[at], "(deleted)")
    if name == "job":
        known = {row[0]: row[1] for row in connection.execute(select(jobs.c.id, jobs.c.name))}
        return lambda row: known.get(row[at], "(deleted)")
    if name in ("day", "month"):
        length, text = (10 if name == "day" else 7), cache(day_text)
        return lambda row: text(row[at])[:length]
    return lambda row: str(row[at])
