"""The sums of what is queued on SQLite, as estimates need them: by lane, other units and long prompts apart."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, text, true

from batchrunner.core.request import Lane
from batchrunner.core.usage import OTHERS
from batchrunner.store.base import ALL, LENGTHS, LongPrompts, Selection, Workload
from batchrunner.store.moneytables import counts
from batchrunner.store.pausing import held
from batchrunner.store.rows import workload_units
from batchrunner.store.selecting import of_jobs, selected, told
from batchrunner.store.sqlite import Session
from batchrunner.store.tables import continuations, models, requests
from batchrunner.store.tables import jobs as job_table

_BOUGHT: Final = continuations.c.attempt_id.is_not(None)
"""Whether a request goes on with an attempt that is open: it takes nothing any more."""


def _at(index: str, waits: str) -> Select[Any]:
    """Select the queued requests of a lane and job that lie along one of the two indexes."""
    return (
        select()
        .select_from(requests)
        .with_hint(requests, f"INDEXED BY {index}", "sqlite")
        .where(
            text(f"state = 'queued' AND {waits}"),
            requests.c.job_id == bindparam("job_id"),
            requests.c.model_id == bindparam("lane_id"),
            requests.c.copy_of.is_(None),
        )
    )


class _Place(NamedTuple):
    """One of the two indexes along which queued requests lie."""

    rows: Select[Any]
    bought: ColumnElement[bool] | None
    """None: nothing there goes on with anything."""

    def select(self, columns: Sequence[ColumnElement[Any]], *conditions: ColumnElement[bool]) -> Select[Any]:
        """Select of what is still to be bought."""
        fresh = [] if self.bought is None else [~self.bought]
        return self.rows.add_columns(*columns).where(*fresh, *conditions)


# A lane and job at a time, along an index: grouping all queued rows would sort them, in memory that grows with them.
_PLACES: Final = (
    _Place(_at("requests_ready", "not_before = 0"), None),
    _Place(
        _at("requests_due", "not_before > 0").outerjoin(continuations, continuations.c.request_id == requests.c.id),
        _BOUGHT,
    ),
)


def _sums(only: ColumnElement[bool]) -> list[ColumnElement[Any]]:
    """Return the columns of ``LongPrompts``, of the requests for which ``only`` holds."""
    bound, given = requests.c.max_out, requests.c.est_in
    return [
        func.count().filter(only),
        func.coalesce(func.sum(given).filter(only), 0),
        func.coalesce(func.sum(bound).filter(only), 0),
        func.count().filter(only & bound.is_(None)),
        func.coalesce(func.max(given).filter(only), 0),
    ]


_SUMS: Final = tuple(place.select([*_sums(true()), func.count(requests.c.units)]) for place in _PLACES)
_GOING_ON: Final = _PLACES[1].rows.add_columns(func.count()).where(_BOUGHT)
_CLASSES: Final = (*pairwise(LENGTHS), (LENGTHS[-1], 2**62))
_WIDTH: Final = len(LongPrompts._fields)


# Few queues need these, and making them takes as long as importing all else of the store: so not before they are asked.


@cache
def _units(place: int) -> Select[Any]:
    columns = [func.coalesce(func.sum(told(name)), 0) for name in OTHERS]
    rows = _PLACES[place].select(columns, requests.c.units.is_not(None))
    return rows.group_by(told("pixel_steps").op("/")(told("pixels")))  # steps are whole numbers: there are few groups


@cache
def _long(place: int) -> Select[Any]:
    columns = [column for low, high in _CLASSES for column in _sums(requests.c.est_in.between(low, high - 1))]
    return _PLACES[place].select(columns, requests.c.est_in >= LENGTHS[0])


class _Sums:
    """What was found of one lane."""

    def __init__(self) -> None:
        self.whole = LongPrompts(0, 0, 0, 0, 0)
        self.counted = 0
        self.going_on = 0
        self.units: list[Any] = []
        self.long = [self.whole] * len(_CLASSES)

    def workload(self, lane: Lane) -> Workload:
        """Return it as a value."""
        requests_, est_in, max_out, unbounded, _ = self.whole
        long = tuple(each for each in self.long if each.requests)
        units = workload_units(self.units)
        return Workload(
            lane, requests_ + self.going_on, est_in, max_out, unbounded, self.counted, units, self.going_on, long
        )


class WorkloadReads:
    """The part of ``Reader`` that tells what is to do, over one read-only session."""

    _session: Session

    def workload(self, jobs: Sequence[int] | None, selection: Selection = ALL) -> list[Workload]:
        """Return what is queued and held back by no person, by lane."""
        lanes = (
            select(models.c.id, models.c.provider, models.c.model, counts.c.job_id)
            .join_from(counts, models, models.c.id == counts.c.model_id)
            .join(job_table, job_table.c.id == counts.c.job_id)
            .where(counts.c.state == "queued", counts.c.n > 0, of_jobs(jobs))
            .order_by(models.c.id)
        )
        conditions, values = selected(selection)
        found: dict[Lane, _Sums] = {}
        with self._session.read() as connection:
            is_held = held(connection)
            for *lane, job_id in connection.execute(lanes).all():
                if not is_held(job_id, lane[1], lane[2]):
                    chosen = {**values, "job_id": job_id, "lane_id": lane[0]}
                    _add(found.setdefault(Lane(*lane), _Sums()), connection, conditions, chosen)
        return [work for lane, sums in found.items() if (work := sums.workload(lane)).requests]


def _add(
    sums: _Sums, connection: Connection, conditions: Sequence[ColumnElement[bool]], chosen: Mapping[str, Any]
) -> None:
    """Add what a job has queued in a lane."""
    for place, columns in enumerate(_SUMS):
        *row, counted = connection.execute(columns.where(*conditions), chosen).one()
        part = LongPrompts._make(row)
        sums.whole, sums.counted = sums.whole.plus(part), sums.counted + counted
        if counted:
            sums.units += connection.execute(_units(place).where(*conditions), chosen).all()
        if part.longest >= LENGTHS[0]:
            flat = connection.execute(_long(place).where(*conditions), chosen).one()
            parts = [LongPrompts._make(flat[n : n + _WIDTH]) for n in range(0, len(flat), _WIDTH)]
            sums.long = [one.plus(other) for one, other in zip(sums.long, parts, strict=True)]
    sums.going_on += connection.execute(_GOING_ON.where(*conditions), chosen).scalar_one()
