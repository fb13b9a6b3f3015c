"""What queued requests will probably take, before any of them is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from batchrunner.api.lanecost import NOTHING, Known, LaneEstimate, Range, lane_estimate
from batchrunner.core.expected import Expected
from batchrunner.core.pricing import PriceBook
from batchrunner.core.usage import Usage
from batchrunner.store.base import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the queued requests will probably take. Money is in pico-dollars.

    Low is without any output, high with every output bound used up. Between them input counts as it is where a
    tokenizer counted it, give or take a fourth where answers taught it, and where it is guessed from half of the guess
    up to one token a byte, which no text exceeds.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    """Likely, see ``LIKELY_OUTPUT``."""
    likely: int
    high: int | None
    """None where a request sets no bound, or nothing tells how much it will use."""
    unpriced: tuple[str, ...]
    """Models without a price for what is asked of them: their part of the cost is unknown and in no sum."""
    units: Usage = Usage()  # noqa: RUF009 - a tuple, nobody can change it
    """What the bodies ask for in other units than tokens."""
    calibrated: tuple[str, ...] = ()
    """Models whose tokens are corrected by what their answers used; those of the others are guessed, or counted."""
    low: int = 0
    input: Range = NOTHING
    output: Range = NOTHING
    lanes: tuple[LaneEstimate, ...] = ()
    going_on: int = 0
    """Of the requests, those that go on with what was bought before: they are in no other figure."""

    @property
    def untold(self) -> tuple[str, ...]:
        """Models whose requests do not tell how much they ask for."""
        return tuple(dict.fromkeys(lane.lane.model for lane in self.lanes if lane.untold))

    @property
    def assumed(self) -> tuple[str, ...]:
        """Models whose price a person assumed."""
        return tuple(dict.fromkeys(lane.lane.model for lane in self.lanes if lane.assumed))

    @property
    def bytes(self) -> int:
        """Bytes that the answers will probably take on the disk, with a third for what nobody can know.

        A token is about four bytes; an answer's frame and its rows in the ledger are about 1.3 KB.
        """
        return int(1.3 * (1_300 * self.requests + 4 * self.output_tokens))

    @property
    def cost(self) -> Range:
        """The cost of what has a price."""
        return Range(self.low, self.likely, self.high)

    @property
    def expected(self) -> dict[int, Expected]:
        """What the rows of each lane are likely to cost, for a run that is to tell how it goes on."""
        return {each.lane.id: each.expected for each in self.lanes}


def estimate(workloads: Sequence[Workload], book: PriceBook, now: int, known: Known = Known()) -> Estimate:  # noqa: B008
    """Estimate queued requests by their token counts, what their bodies ask for, and today's prices."""
    lanes = [lane_estimate(work, book.card(work.lane.provider, work.lane.model, now), known) for work in workloads]
    cost = reduce(Range.plus, (each.cost for each in lanes if each.cost is not None), NOTHING)
    given = reduce(Range.plus, (each.input for each in lanes), NOTHING)
    made = reduce(Range.plus, (each.output for each in lanes), NOTHING)
    return Estimate(
        requests=sum(each.requests for each in lanes),
        input_tokens=given.likely,
        output_tokens=made.likely,
        low=cost.low,
        likely=cost.likely,
        high=cost.high,
        unpriced=tuple(dict.fromkeys(each.lane.model for each in lanes if each.cost is None)),
        units=Usage(*reduce(_summed, (one for work in workloads for one in work.units), Usage())[:-1]),
        calibrated=tuple(dict.fromkeys(each.lane.model for each in lanes if each.method == "calibrated")),
        input=given,
        output=made,
        lanes=tuple(lanes),
        going_on=sum(work.going_on for work in workloads),
    )


def _summed(one: Usage, other: Usage) -> Usage:
    return Usage(*map(add, one[:-1], other[:-1]))
