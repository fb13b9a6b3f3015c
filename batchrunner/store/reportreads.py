"""What a report reads beside the costs, on SQLite: the pace of calls, how long they took, how they failed.

Sums of money come from the totals. These figures come from the attempts themselves, each in one walk along them that
keeps nothing but its groups.
"""

from contextlib import AbstractContextManager
from typing import Any

import msgspec

from batchrunner.core.figures import FailedCalls, Flow, Foreseen, Latency, Rate, Requests
from batchrunner.core.pricing import RateCard
from batchrunner.store.reportbase import EVER, Period
from batchrunner.store.sqlite import Session

_SPAN = "SELECT min(ended), max(ended) FROM attempts WHERE ended IS NOT NULL AND opened BETWEEN ? AND ?"
_FLOWS = """SELECT ended / ?, sum(outcome = 'reply'),
 sum(outcome <> 'reply' AND ifnull(failure, '') IN ('rate_limited', 'overloaded')),
 sum(outcome <> 'reply' AND ifnull(failure, '') NOT IN ('rate_limited', 'overloaded')),
 sum(ifnull(tin, 0) + ifnull(tout, 0))
 FROM attempts WHERE ended IS NOT NULL AND opened BETWEEN ? AND ? GROUP BY 1 ORDER BY 1"""
# Two significant digits, in whole numbers: SQLite has logarithms only where it was built with them.
_LATENCIES = """SELECT m.model, CASE WHEN t < 100 THEN t WHEN t < 1000 THEN t / 10 * 10
 WHEN t < 10000 THEN t / 100 * 100 WHEN t < 100000 THEN t / 1000 * 1000 WHEN t < 1000000 THEN t / 10000 * 10000
 ELSE t / 100000 * 100000 END, count(*) FROM (SELECT model_id, (ended - opened) / 1000 AS t FROM attempts
 WHERE outcome = 'reply' AND ended >= opened AND opened BETWEEN ? AND ?)
 JOIN models AS m ON m.id = model_id GROUP BY 1, 2 ORDER BY 1, 2"""
_FAILURES = """SELECT failure, status, count(*),
 ifnull(sum(CASE billing WHEN 'billed' THEN cost END), 0), ifnull(sum(CASE billing WHEN 'unknown' THEN hold END), 0),
 error, min(id) FROM attempts WHERE outcome <> 'reply' AND opened BETWEEN ? AND ?
 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"""  # SQLite takes the bare column, the error, from the row with the lowest id
_FORESEEN = """SELECT m.model, count(*), sum(r.est_in), sum(a.tin), count(r.max_out), ifnull(sum(r.max_out), 0),
 ifnull(sum(CASE WHEN r.max_out IS NOT NULL THEN a.tout END), 0), sum(a.hold IS NOT NULL AND a.cost IS NOT NULL),
 ifnull(sum(CASE WHEN a.cost IS NOT NULL THEN a.hold END), 0),
 ifnull(sum(CASE WHEN a.hold IS NOT NULL THEN a.cost END), 0)
 FROM attempts AS a JOIN requests AS r ON r.id = a.request_id JOIN models AS m ON m.id = a.model_id
 WHERE a.use = 'used' AND a.outcome = 'reply' AND a.usage_from = 'provider' AND a.tin IS NOT NULL
 AND a.opened BETWEEN ? AND ? GROUP BY 1 ORDER BY 1"""
_RATES = """SELECT r.card, count(*) FROM attempts AS a JOIN rates AS r ON r.id = a.rate_id
 WHERE a.ended IS NOT NULL AND a.billing <> 'not_billed' AND a.opened BETWEEN ? AND ? GROUP BY r.id"""
_REQUESTS = """SELECT j.name, sum(c.n), ifnull(sum(c.n) FILTER (WHERE c.state = 'succeeded'), 0),
 ifnull(sum(c.n) FILTER (WHERE c.state IN ('failed', 'quarantined')), 0),
 ifnull(sum(c.n) FILTER (WHERE c.state = 'cancelled'), 0)
 FROM counts AS c JOIN jobs AS j ON j.id = c.job_id GROUP BY j.id ORDER BY j.id"""
_TAG_KEYS = """SELECT DISTINCT t.key FROM (SELECT tags FROM tag_sets UNION ALL SELECT tags FROM jobs) AS s,
 json_each(s.tags) AS t ORDER BY 1"""


class ReportReads:
    """``ReportReader`` over one read-only session."""

    _session: Session

    def still(self) -> AbstractContextManager[None]:
        """Let all reads inside see one state, whatever a live run writes meanwhile: their sums agree."""
        return self._session.still()

    def span(self, period: Period = EVER) -> Period | None:
        """Return when the first and the last call ended, of those opened in the period; None: there are none."""
        ((first, last),) = self._rows(_SPAN, *period)
        return None if first is None else Period(first, last)

    def flows(self, stretch: int, period: Period = EVER) -> list[Flow]:
        """Return the calls of each stretch of so many microseconds in which any ended, oldest first."""
        return [Flow._make(row) for row in self._rows(_FLOWS, stretch, *period)]

    def latencies(self, period: Period = EVER) -> list[Latency]:
        """Return how many answers took how long, by model."""
        return [Latency._make(row) for row in self._rows(_LATENCIES, *period)]

    def failed_calls(self, period: Period = EVER) -> list[FailedCalls]:
        """Return the calls that brought no answer by kind and status, most frequent first."""
        rows = self._rows(_FAILURES, *period)
        return [FailedCalls._make((kind or "unknown", *rest, error or "")) for kind, *rest, error, _ in rows]

    def foreseen(self, period: Period = EVER) -> list[Foreseen]:
        """Return what was expected of used answers, and what they used, by model."""
        return [Foreseen._make(row) for row in self._rows(_FORESEEN, *period)]

    def rates(self, period: Period = EVER) -> list[Rate]:
        """Return the rate cards that calls were priced by, with the number of those that were or may be billed."""
        return [Rate(msgspec.json.decode(card, type=RateCard), calls) for card, calls in self._rows(_RATES, *period)]

    def requests(self) -> list[Requests]:
        """Return where the requests of each job stand, oldest job first."""
        return [Requests._make(row) for row in self._rows(_REQUESTS)]

    def tag_keys(self) -> list[str]:
        """Return the keys of all tags that jobs or lines carry."""
        return [str(key) for (key,) in self._rows(_TAG_KEYS)]

    def _rows(self, statement: str, *values: int) -> list[tuple[Any, ...]]:
        with self._session.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement, values)]
