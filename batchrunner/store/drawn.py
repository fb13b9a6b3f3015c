"""Reads for estimates on SQLite: what rows that were drawn came to, what lanes taught, how long calls take."""

from collections.abc import Sequence

from batchrunner.core.request import Lane, RequestState
from batchrunner.core.usage import units_value
from batchrunner.store.driver import driver
from batchrunner.store.estimatevalues import DrawnRow, Pace
from batchrunner.store.rows import id_list
from batchrunner.store.sqlite import Session

LATEST = 2_000
"""The last attempts by which it is told how long a call takes."""

_ROWS = """SELECT m.id, m.provider, m.model, r.est_in, r.max_out, r.units, r.state, count(a.id),
 ifnull(sum(a.tin), 0), ifnull(sum(a.tout), 0),
 ifnull(sum(a.cost) FILTER (WHERE a.billing = 'billed' AND a.use = 'used' AND a.usage_from = 'provider'), 0),
 ifnull(sum(a.cost) FILTER (WHERE a.billing = 'billed' AND a.use = 'used' AND a.usage_from <> 'provider'), 0),
 ifnull(sum(a.hold) FILTER (WHERE a.billing = 'unknown'), 0),
 ifnull(sum(a.cost) FILTER (WHERE a.billing = 'billed' AND a.use = 'wasted'), 0),
 ifnull(sum(CASE a.billing WHEN 'billed' THEN a.cost IS NULL WHEN 'unknown' THEN a.hold IS NULL ELSE 0 END), 0),
 ifnull(sum(a.billing = 'billed' AND a.cost IS NULL), 0), ifnull(sum(a.ended - a.opened), 0)
 FROM json_each(?) AS j CROSS JOIN requests AS r ON r.id = j.value JOIN models AS m ON m.id = r.model_id
 LEFT JOIN attempts AS a ON a.request_id = r.id AND a.opened >= ? AND a.ended IS NOT NULL
 GROUP BY r.id ORDER BY r.id"""
_PACES = """SELECT model_id, count(*), sum(ended - opened) FROM
 (SELECT model_id, opened, ended, outcome FROM attempts ORDER BY id DESC LIMIT ?)
 WHERE outcome = 'reply' AND ended >= opened GROUP BY model_id"""
_LEARNED = "SELECT learned FROM models WHERE provider = ? AND model = ?"


class DrawnReads:
    """``EstimateReader`` over one read-only session."""

    _session: Session

    def drawn(self, ids: Sequence[int], since: int) -> list[DrawnRow]:
        """Return what these requests came to, by their attempts that were opened since then and have ended."""
        with self._session.read() as connection:
            rows = driver(connection).execute(_ROWS, (id_list(ids), since)).fetchall()
        return [
            DrawnRow(Lane(*row[:3]), row[3], row[4], units_value(row[5]), RequestState(row[6]), *row[7:])
            for row in rows
        ]

    def paces(self) -> list[Pace]:
        """Return how long the last answered calls took, by lane; those of the last ``LATEST`` calls of all."""
        with self._session.read() as connection:
            return [Pace._make(row) for row in driver(connection).execute(_PACES, (LATEST,)).fetchall()]

    def learned(self, provider: str, model: str) -> bytes | None:
        """Return what was learned of a lane (JSON); None: nothing, or there is no such lane."""
        with self._session.read() as connection:
            row = driver(connection).execute(_LEARNED, (provider, model)).fetchone()
        return None if row is None or row[0] is None else row[0].encode()
