"""Results in input order, page by page: a page is one short read transaction, so a live run's journal stays small."""

import json
import zlib
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.continuation import Artifact
from batchrunner.core.errors import DatabaseError
from batchrunner.core.request import RequestState
from batchrunner.core.usage import OTHERS, TOKENS, Usage
from batchrunner.store.base import ResultRow
from batchrunner.store.driver import driver
from batchrunner.store.failures import decoded
from batchrunner.store.rows import id_list
from batchrunner.store.sqlite import Session

PAGE = 1_000
"""Rows a transaction reads."""

_PAGE = """SELECT r.id, r.line, r.custom_id, r.state, r.endpoint, r.model_id, r.attempts, r.failure, r.attempt_id,
 a.status, a.error, a.provider_request_id, a.echoed_model, a.opened, a.ended, a.tin, a.tcached, a.tout, a.treason,
 a.usage_from, a.billing, a.cost, a.ttft, a.flags, r.copy_of, p.body, p.crc
 FROM requests AS r NOT INDEXED
 LEFT JOIN attempts AS a ON a.id = r.attempt_id
 LEFT JOIN responses AS p ON p.request_id = coalesce(r.copy_of, r.id)
 WHERE r.id > ? AND r.id <= ? AND r.job_id = ? ORDER BY r.id LIMIT ?"""
_EXTRAS = "SELECT request_id, extras FROM bodies WHERE request_id BETWEEN ? AND ? AND extras IS NOT NULL"
_JOB_EXTRAS = """SELECT r.id, b.extras FROM requests AS r NOT INDEXED JOIN bodies AS b ON b.request_id = r.id
 WHERE r.id > ? AND r.id <= ? AND r.job_id = ? ORDER BY r.id LIMIT ?"""
_REFUSALS = """SELECT d.attempt_id, d.body, d.crc, d.partial
 FROM json_each(?) AS j CROSS JOIN discards AS d ON d.attempt_id = j.value"""
_COSTS = """SELECT a.request_id, sum(a.cost) FROM json_each(?) AS j CROSS JOIN attempts AS a ON a.request_id = j.value
 GROUP BY 1"""
_ANY_UNITS = "SELECT 1 FROM units LIMIT 1"
_UNITS = f"""SELECT u.attempt_id, {", ".join(f"u.{name}" for name in OTHERS)}, u.stated_cost
 FROM json_each(?) AS j CROSS JOIN units AS u ON u.attempt_id = j.value"""  # noqa: S608 - made of constants
_ARTIFACTS = """SELECT request_id, place, sha256, type, size, name FROM artifacts
 WHERE request_id BETWEEN ? AND ? ORDER BY request_id, n"""
_ORIGINALS = "SELECT r.id, r.custom_id FROM json_each(?) AS j CROSS JOIN requests AS r ON r.id = j.value"
_LANES = "SELECT id, provider, model FROM models"
_RANGE = "SELECT first_id, last_id, extras FROM jobs WHERE id = ?"

_STATES = {state.value: state for state in RequestState}

Row = tuple[Any, ...]
_tuple = tuple.__new__
_PLAIN = Usage()[TOKENS:]
_AMOUNTS = (*(int for _ in OTHERS), int | None)
_FILE = (str, str, str, int, str)


def results(session: Session, job_id: int) -> Iterator[ResultRow]:
    """Yield every request of a job in input order.

    Raises DatabaseError for an answer that is not what was written, by its checksum.
    """
    with session.read() as connection:
        first, last, extras = connection.exec_driver_sql(_RANGE, (job_id,)).one()
    after = -1 if first is None else first - 1
    while first is not None and after < last:
        with session.read() as connection:
            page = _Page(connection, (after, last, job_id, PAGE), bool(extras), session.path)
        with decoded(session.path):
            for row in page.rows:
                yield page.result(row)
        if len(page.rows) < PAGE:
            return
        after = page.rows[-1][0]


def extras(session: Session, job_id: int) -> Iterator[bytes]:
    """Yield what a job's lines have beside their bodies, in input order, in short read transactions."""
    with session.read() as connection:
        first, last, some = connection.exec_driver_sql(_RANGE, (job_id,)).one()
    after = -1 if first is None else first - 1
    while some and first is not None and after < last:
        with session.read() as connection:
            page = driver(connection).execute(_JOB_EXTRAS, (after, last, job_id, PAGE)).fetchall()
        yield from (found for _, found in page if isinstance(found, bytes))
        if len(page) < PAGE:
            return
        after = page[-1][0]


class _Page:
    """Some rows, and what only a few of them have."""

    def __init__(self, connection: Connection, bounds: Row, extras: bool, path: str) -> None:
        self._path = path
        cursor = driver(connection)
        self._lanes = {row[0]: (row[1], row[2]) for row in cursor.execute(_LANES)}
        self.rows: list[Row] = cursor.execute(_PAGE, bounds).fetchall()
        self._extras: dict[int, bytes] = {}
        if extras and self.rows:
            ends = (self.rows[0][0], self.rows[-1][0])
            self._extras = dict(cursor.execute(_EXTRAS, ends))
        self._artifacts: dict[int, tuple[Artifact, ...]] = {}
        if self.rows:
            for request_id, *facts in cursor.execute(_ARTIFACTS, (self.rows[0][0], self.rows[-1][0])):
                file = Artifact(*_checked(facts, _FILE, path))
                self._artifacts[request_id] = (*self._artifacts.get(request_id, ()), file)
        refused = [row[8] for row in self.rows if row[3] != "succeeded" and row[8] is not None]
        self._refusals: dict[int, Row] = {}
        if refused:
            found = cursor.execute(_REFUSALS, (id_list(refused),))
            self._refusals = {row[0]: (row[1], row[2], bool(row[3])) for row in found}
        self._units: dict[int, Row] = {}
        if cursor.execute(_ANY_UNITS).fetchone() is not None:
            settled = id_list([row[8] for row in self.rows if row[8] is not None])
            self._units = {row[0]: _checked(row[1:], _AMOUNTS, path) for row in cursor.execute(_UNITS, (settled,))}
        copied = {row[24] for row in self.rows if row[24] is not None}
        self._originals: dict[int, str] = {}
        if copied:
            self._originals = dict(cursor.execute(_ORIGINALS, (id_list(list(copied)),)))
        repeated = [row[0] for row in self.rows if row[6] > (row[8] is not None)]
        self._costs: dict[int, int | None] = {}
        if repeated:
            self._costs = dict(cursor.execute(_COSTS, (id_list(repeated),)))

    def result(self, row: Row) -> ResultRow:
        # fmt: off
        (
            request_id, line, custom_id, state, endpoint, lane_id, attempts, failure, attempt_id, status, message,
            provider_id, echoed, opened, ended, tin, cached, tout, reason, usage_from, billing, cost, ttft, flags,
            copy_of, body, crc,
        ) = row
        # fmt: on
        partial = False
        if body is None:
            body, crc, partial = self._refusals.get(attempt_id, (None, None, False))
        if body is not None and zlib.crc32(body) != crc:
            raise DatabaseError(
                f"{self._path}: the answer to {custom_id!r} (line {line}, request {request_id}) is damaged",
                hint="run `batchrunner db check`, and look at the disk",
            )
        provider, model = self._lanes[lane_id]
        result = ResultRow(
            request_id,
            line,
            custom_id,
            _STATES[state],
            endpoint,
            provider,
            model,
            attempts,
            status,
            body,
            failure,
            message,
            attempt_id,
            provider_id,
            echoed,
            opened,
            ended,
            # Past the constructor, which is dear for as many fields as there are.
            None if tin is None else _tuple(Usage, (tin, cached, tout, reason, *self._units.get(attempt_id, _PLAIN))),
            usage_from,
            billing,
            self._costs.get(request_id, cost),
            self._extras.get(request_id),
            ttft,
            partial,
            self._artifacts.get(request_id, ()),
            () if flags is None else tuple(map(str, json.loads(flags))),
        )
        return result if copy_of is None else self._copy(result, copy_of)

    def _copy(self, result: ResultRow, copy_of: int) -> ResultRow:
        """Return a result without what its original has bought: a copy has the answer, and is free."""
        mine = result._replace(
            opened=None, ended=None, usage=None, usage_from=None, billing=None, cost=0, ttft=None,
            copy_of=str(self._originals.get(copy_of, copy_of)),
        )  # fmt: skip
        return mine if result.attempt_id is not None else mine._replace(cost=None)


def _checked(values: Sequence[Any], kinds: Sequence[type | UnionType], path: str) -> Row:
    """Return the values of a row that few requests have, each of its kind; raises DatabaseError.

    A page of another table in the place of theirs brings anything, and nobody looks again before they are shown.
    """
    with decoded(path):
        for value, kind in zip(values, kinds, strict=True):
            if not isinstance(value, kind):
                raise TypeError(f"{type(value).__name__} in the place of {kind}")
    return tuple(values)
