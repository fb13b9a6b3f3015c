"""The statements of the claim: pure reads, by keyset along the partial indexes.

States are spelled as the indexes spell them: a bound parameter would not use a partial index. A leading ``+`` keeps
SQLite from choosing an index for that column.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, func, literal_column, select, text, tuple_

from batchrunner.core.request import Head
from batchrunner.store.base import Selection
from batchrunner.store.rows import WITH_FILES, id_list
from batchrunner.store.selecting import CHOSEN, listed, selected
from batchrunner.store.tables import continuations, requests

_HEAD: tuple[ColumnElement[Any], ...] = (
    *(requests.c.id, requests.c.job_id, requests.c.model_id, requests.c.endpoint, requests.c.tag_set_id),
    *(requests.c.tries, requests.c.attempts, requests.c.priority, requests.c.est_in, requests.c.max_out),
    *(requests.c.digest, requests.c.units),
    literal_column("0").label("continues"),
)
# A step of an attempt that is open already takes nothing from the lane's tokens: they were taken when it was bought.
_GOES_ON = continuations.c.attempt_id.is_not(None)
_DUE_HEAD: tuple[ColumnElement[Any], ...] = (
    *_HEAD[:8],
    case((_GOES_ON, 0), else_=requests.c.est_in),
    case((_GOES_ON, 0), else_=requests.c.max_out),
    *(requests.c.digest, requests.c.units),
    func.coalesce(continuations.c.attempt_id, 0),
)
_IN_ORDER = (requests.c.priority, requests.c.id)
_OF_LANE = (requests.c.job_id == bindparam("job_id"), requests.c.model_id == bindparam("lane_id"))
_ITSELF = requests.c.copy_of.is_(None)
_FRESH = (
    select(*_HEAD)
    .where(text("state = 'queued' AND not_before = 0"), *_OF_LANE, _ITSELF)
    .order_by(*_IN_ORDER)
    .limit(bindparam("limit"))
)
_SAME_PRIORITY = _FRESH.where(requests.c.priority == bindparam("priority"), requests.c.id > bindparam("id"))
_NEXT_PRIORITY = _FRESH.where(requests.c.priority > bindparam("priority"))
_FRESH_CHOSEN = (
    select(*_HEAD)
    .where(
        text("state = 'queued' AND not_before = 0"),
        CHOSEN,
        _ITSELF,
        literal_column("+requests.job_id") == bindparam("job_id"),
        literal_column("+requests.model_id") == bindparam("lane_id"),
        tuple_(*_IN_ORDER) > tuple_(bindparam("priority"), bindparam("id")),
    )
    .order_by(*_IN_ORDER)
    .limit(bindparam("limit"))
)
_BEFORE_ALL = (-(2**63), 0)

_WAITING = (
    text("state = 'queued' AND not_before > 0"),
    requests.c.model_id == bindparam("lane_id"),
    requests.c.job_id.in_(listed("jobs")),
)
_DUE = (
    select(*_DUE_HEAD)
    .outerjoin_from(requests, continuations, continuations.c.request_id == requests.c.id)
    .where(*_WAITING, requests.c.not_before <= bindparam("now"))
    .order_by(requests.c.not_before)
    .limit(bindparam("limit"))
)
_NEXT_DUE = select(func.min(requests.c.not_before)).where(*_WAITING, requests.c.not_before > bindparam("after"))


LOOKED_AT = 1_000
"""Queued requests of each kind, fresh and waiting, whose bodies are asked whether they refer to files."""
_WITH_FILES = """SELECT 1 FROM (
 SELECT id FROM (SELECT id FROM requests INDEXED BY requests_ready
  WHERE state = 'queued' AND not_before = 0 AND job_id = :job_id LIMIT :most)
 UNION ALL
 SELECT id FROM (SELECT id FROM requests INDEXED BY requests_due
  WHERE state = 'queued' AND not_before > 0 AND job_id = :job_id LIMIT :most)
 ) AS r CROSS JOIN bodies AS b ON b.request_id = r.id WHERE b.codec = :codec LIMIT 1"""


def refers_to_files(connection: Connection, job_id: int) -> bool:
    """Whether one of the first queued requests of a job refers to local files; few bodies are looked at."""
    values = {"job_id": job_id, "most": LOOKED_AT, "codec": WITH_FILES}
    return connection.execute(text(_WITH_FILES), values).first() is not None


def fresh(
    connection: Connection, lane: dict[str, int], after: tuple[int, int] | None, limit: int, selection: Selection
) -> list[Head]:
    """Return fresh requests of a job and lane (``job_id``, ``lane_id``) past the keyset ``after``."""
    if selection.ids is not None:
        priority, request_id = after or _BEFORE_ALL
        values = {**lane, "ids": id_list(selection.ids), "priority": priority, "id": request_id, "limit": limit}
        return _heads(connection, _FRESH_CHOSEN, values)
    conditions, values = selected(selection)
    values |= lane
    if after is None:
        return _heads(connection, _FRESH.where(*conditions), {**values, "limit": limit})
    priority, request_id = after
    values["priority"] = priority
    heads = _heads(connection, _SAME_PRIORITY.where(*conditions), {**values, "id": request_id, "limit": limit})
    if len(heads) < limit:
        heads += _heads(connection, _NEXT_PRIORITY.where(*conditions), {**values, "limit": limit - len(heads)})
    return heads


def due(
    connection: Connection, jobs: Sequence[int], lane_id: int, until: tuple[int, int], selection: Selection
) -> list[Head]:
    """Return requests that wait no longer: ``until`` is the time and how many at most."""
    conditions, values = selected(selection)
    now, limit = until
    values |= {"jobs": id_list(jobs), "lane_id": lane_id, "now": now, "limit": limit}
    return _heads(connection, _DUE.where(*conditions), values)


def next_due(connection: Connection, jobs: Sequence[int], lane_id: int, after: int, selection: Selection) -> int | None:
    """Return the earliest ``not_before`` past ``after``, or None."""
    conditions, values = selected(selection)
    values |= {"jobs": id_list(jobs), "lane_id": lane_id, "after": after}
    earliest: int | None = connection.execute(_NEXT_DUE.where(*conditions), values).scalar_one()
    return earliest


def _heads(connection: Connection, statement: Select[Any], values: dict[str, Any]) -> list[Head]:
    return list(map(Head._make, connection.execute(statement, values)))
