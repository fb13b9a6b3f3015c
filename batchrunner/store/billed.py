"""The billed attempts with what each used: for whoever computes anew what they cost."""

from collections.abc import Iterator
from typing import Any, Final

from batchrunner.core.clock import DAY
from batchrunner.core.usage import OTHERS, Usage
from batchrunner.store.moneyvalues import Billed
from batchrunner.store.sqlite import Session

PAGE = 20_000
"""Attempts that one transaction reads: a run beside it is never held up by more."""

_BILLED: Final = f"""SELECT a.id, m.provider, m.model, coalesce(j.name, '(deleted)'), a.opened / {DAY}, a.endpoint,
 a.account, a.class, a.use, a.usage_from, a.cost, a.tin, a.tcached, a.tout, a.treason, u.attempt_id,
 {", ".join(f"u.{name}" for name in OTHERS)}, u.stated_cost
 FROM attempts AS a LEFT JOIN units AS u ON u.attempt_id = a.id LEFT JOIN models AS m ON m.id = a.model_id
 LEFT JOIN jobs AS j ON j.id = a.job_id
 WHERE a.id > ? AND a.ended IS NOT NULL AND a.billing = 'billed' AND (? IS NULL OR a.job_id = ?)
 ORDER BY a.id LIMIT {PAGE}"""  # noqa: S608 - made of constants
_FACTS: Final = 10
"""Columns between the id and the tokens."""


def billed(session: Session, job_id: int | None) -> Iterator[Billed]:
    """Yield every billed attempt, of one job or of all, in the order in which they were opened."""
    last = 0
    while True:
        with session.read() as connection:
            rows = connection.exec_driver_sql(_BILLED, (last, job_id, job_id)).all()
        for row in rows:
            yield Billed._make((*row[1 : _FACTS + 1], _usage(row[_FACTS + 1 :])))
        if len(rows) < PAGE:
            return
        last = rows[-1][0]


def _usage(columns: Any) -> Usage | None:
    """Return what an attempt used, None where that is not known; most used nothing but tokens."""
    given, cached, made, thought, units, *others = columns
    if given is None and units is None:
        return None
    if units is None:
        return Usage(given, cached, made, thought)
    return Usage(given or 0, cached or 0, made or 0, thought or 0, *others)
