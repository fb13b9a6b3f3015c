"""The billed attempts with what each used: for whoever computes anew what they cost."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from batchrunner.core.slices import EVERYTHING, Within, checked_slices
from batchrunner.core.usage import OTHERS, Usage
from batchrunner.store.costs import day_in, having, slicing
from batchrunner.store.driver import driver
from batchrunner.store.moneyvalues import Billed
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import models

PAGE = 20_000
"""Attempts that one transaction reads: a run beside it is never held up by more."""

_TOLD: Final = (
    *("id", "model_id", "class", "use", "usage_from", "cost", "tin", "tcached", "tout", "treason", "attempt_id"),
    *(*OTHERS, "stated_cost", "job_id", "ifnull(tag_set_id, 0)"),
)
_TOKENS: Final = 6
_UNITS: Final = 11
_JOB, _TAGS, _KEYS = len(_TOLD) - 2, len(_TOLD) - 1, len(_TOLD)
_GONE: Final = ("(deleted)", "(deleted)")


def billed(
    session: Session, by: Sequence[str] = (), job_id: int | None = None, within: Within = EVERYTHING
) -> Iterator[Billed]:
    """Yield every billed attempt that is counted, each with its slice, in the order in which they were opened.

    Raises ConfigurationError for a slice or a time zone that does not exist.
    """
    with session.read() as connection:
        columns, key_of = slicing(connection, checked_slices(by))
        counts, lanes = having(connection, within), _lanes(connection)
        query = _query(columns, day_in(connection, within.zone), job_id, within)
    keys: dict[Any, tuple[str | None, ...]] = {}
    last = 0
    while True:
        with session.read() as connection:
            rows = driver(connection).execute(query, (last,)).fetchall()
        for row in rows:
            if within.tags and not counts(row[_JOB], row[_TAGS]):
                continue
            place = row[_KEYS:]
            if place not in keys:
                keys[place] = key_of(place)
            provider, model = lanes.get(row[1], _GONE)
            yield Billed._make((keys[place], provider, model, *row[2:_TOKENS], _usage(row)))
        if len(rows) < PAGE:
            return
        last = rows[-1][0]


def _query(columns: Sequence[str], day: str, job_id: int | None, within: Within) -> str:
    special = {"day": day, "tag_set_id": "ifnull(tag_set_id, 0)"}
    where = ["id > ?", "ended IS NOT NULL", "billing = 'billed'"]
    where += [] if job_id is None else [f"job_id = {int(job_id)}"]
    where += [] if within.since is None else [f"{day} >= {int(within.since)}"]
    where += [] if within.until is None else [f"{day} <= {int(within.until)}"]
    told = ", ".join((*_TOLD, *(special.get(name, name) for name in columns)))
    return (
        f"SELECT {told} FROM attempts LEFT JOIN units ON attempt_id = id"  # noqa: S608 - made of constants and numbers
        f" WHERE {' AND '.join(where)} ORDER BY id LIMIT {PAGE}"
    )


def _lanes(connection: Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute(select(models.c.id, models.c.provider, models.c.model))
    return {row[0]: (row[1], row[2]) for row in rows}


def _usage(row: Any) -> Usage | None:
    """Return what an attempt used, None where that is not known; most used nothing but tokens."""
    given, cached, made, thought, units = row[_TOKENS:_UNITS]
    if units is None:
        return None if given is None else Usage(given, cached, made, thought)
    return Usage(given or 0, cached or 0, made or 0, thought or 0, *row[_UNITS:_JOB])
