"""What rows that were run for real tell of all of them: tokens, cost and time, with an interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from batchrunner.api.estimate import Estimate
from batchrunner.api.lanecost import ASSUMED_OUTPUT, LIKELY_OUTPUT, LaneEstimate, Range
from batchrunner.core.pricing import PriceBook
from batchrunner.core.projection import Drawn, project, unseen
from batchrunner.core.request import RequestState
from batchrunner.store.base import DrawnRow, Workload

_FINISHED = (RequestState.SUCCEEDED, RequestState.FAILED, RequestState.QUARANTINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Rows that were drawn and run, and what they tell of all rows, themselves included. Money is in pico-dollars."""

    rows: int
    succeeded: int
    failed: int
    unfinished: int
    """Rows without an outcome yet: nothing is projected from them."""
    unknown: int
    """Rows with an outcome whose cost is not known: neither."""
    recorded: int
    estimated: int
    possibly_billed: int
    """Of these rows; it is in no projection, which tells what is billed for certain."""
    wasted: int
    unpriced: int
    """Calls of unknown cost."""
    requests: int
    """All rows that it was drawn from."""
    estimate: Estimate
    """Before the rows were run."""
    input: Range
    output: Range
    cost: Range | None
    """Of the models that have a price; None where no row tells."""
    unseen: int | None
    """What the cost comes to where as many rows as can be expected were not drawn and are as dear as their bounds
    allow; None where that is no more than the cost's high end, or nothing bounds them.
    """
    calls: Range
    """Microseconds that all calls will be out, added up."""

    @property
    def projected(self) -> Estimate:
        """The estimate with what was measured in it: of its parts by lane only the sums are."""
        cost = self.cost or self.estimate.cost
        return replace(
            self.estimate,
            input=self.input,
            output=self.output,
            input_tokens=self.input.likely,
            output_tokens=self.output.likely,
            low=cost.low,
            likely=cost.likely,
            high=cost.high,
        )


def sampled(
    rows: Sequence[DrawnRow], workloads: Sequence[Workload], before: Estimate, book: PriceBook, now: int
) -> Sampled | None:
    """Project what ``rows``, drawn at random of ``workloads``, came to. ``before`` is the estimate of all of them.

    None where none of them has an outcome.
    """
    finished = [row for row in rows if row.state in _FINISHED]
    if not finished:
        return None
    known, cost = _cost(finished, before, book, now)
    return Sampled(
        rows=len(rows),
        succeeded=sum(row.state is RequestState.SUCCEEDED for row in rows),
        failed=sum(row.state is not RequestState.SUCCEEDED for row in finished),
        unfinished=len(rows) - len(finished),
        unknown=sum(row.unknown > 0 for row in finished),
        recorded=sum(row.recorded for row in rows),
        estimated=sum(row.estimated for row in rows),
        possibly_billed=sum(row.possibly_billed for row in rows),
        wasted=sum(row.wasted for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        requests=before.requests,
        estimate=before,
        input=_projected(finished, workloads, lambda row: row.input, _given),
        output=_projected(finished, workloads, lambda row: row.output, _bound, most=before.output.high),
        cost=cost,
        unseen=_unseen(cost, known, before),
        calls=_projected(finished, workloads, lambda row: row.microseconds, _bound),
    )


def _given(row: DrawnRow | Workload) -> float:
    return row.est_in


def _bound(row: DrawnRow | Workload) -> float:
    """Return the output bounds; where there is none, such as would make what is assumed likely."""
    unbounded = row.unbounded if isinstance(row, Workload) else row.max_out is None
    return (row.max_out or 0) + unbounded * LIKELY_OUTPUT * ASSUMED_OUTPUT


def _projected(
    rows: Sequence[DrawnRow],
    workloads: Sequence[Workload],
    real: Callable[[DrawnRow], int],
    expected: Callable[[DrawnRow | Workload], float],
    *,
    most: int | None = None,
) -> Range:
    drawn = [Drawn(expected(row), real(row)) for row in rows]
    total = sum(map(expected, workloads))
    return Range(*project(drawn, sum(work.requests for work in workloads), total, most=most))


def _unseen(cost: Range | None, drawn: int, before: Estimate) -> int | None:
    if cost is None or cost.high is None or before.high is None or cost.low == cost.high:
        return None
    most = unseen(cost.likely, drawn, before.high)
    return most if most > cost.high else None


def _cost(rows: Sequence[DrawnRow], before: Estimate, book: PriceBook, now: int) -> tuple[int, Range | None]:
    """Project the cost of the lanes that have a price, by the rows of theirs whose cost is known; return how many."""
    priced = {each.lane.id: each for each in before.lanes if each.cost is not None}
    known = [row for row in rows if row.lane.id in priced and not row.unknown]
    if not known:
        return 0, None
    drawn = [Drawn(_likely(row, priced[row.lane.id], book, now), row.billed) for row in known]
    total = sum(each.expected.total for each in priced.values())
    projected = project(drawn, sum(each.requests for each in priced.values()), total, most=before.high)
    return len(known), Range(*projected)


def _likely(row: DrawnRow, lane: LaneEstimate, book: PriceBook, now: int) -> float:
    """Return what a row was expected to cost: its tokens as its lane's, and the units that its own body asks for."""
    card = book.card(row.lane.provider, row.lane.model, now)
    units = None if card is None or row.units is None else card.cost(row.units)
    return lane.expected.of(0, row.est_in, row.max_out or 0, row.max_out is None) + (units or 0)
