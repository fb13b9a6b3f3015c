"""The reader's side of the books: slices, savings and charges."""

from collections.abc import Iterator, Sequence

from batchrunner.core.slices import EVERYTHING, Within
from batchrunner.store.base import Billed, ChargeRow, CostRow
from batchrunner.store.billed import billed
from batchrunner.store.charges import charges, savings
from batchrunner.store.costs import costs
from batchrunner.store.sqlite import Session


class BookReads:
    """The part of ``Reader`` that is about money."""

    _session: Session

    def costs(self, by: Sequence[str], job_id: int | None = None, within: Within = EVERYTHING) -> list[CostRow]:
        """Return cost slices by any of ``SLICES`` and ``tag:KEY``; no ``by``: one row."""
        with self._session.read() as connection:
            return costs(connection, by, job_id, within)

    def savings(self, job_id: int | None = None, within: Within = EVERYTHING) -> int:
        """Return what cached input tokens would have cost more as fresh ones, in pico-dollars."""
        with self._session.read() as connection:
            return savings(connection, job_id, within)

    def charges(self, job_id: int | None = None, within: Within = EVERYTHING) -> list[ChargeRow]:
        """Return what was certainly billed, by day, job, model, rate card and tags, oldest day first."""
        with self._session.read() as connection:
            return list(charges(connection, job_id, within))

    def billed(
        self, by: Sequence[str] = (), job_id: int | None = None, within: Within = EVERYTHING
    ) -> Iterator[Billed]:
        """Yield every billed attempt with its slice and what it used, in short read transactions."""
        return billed(self._session, by, job_id, within)
