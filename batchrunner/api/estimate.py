"""What queued requests will probably take, before any of them is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Literal, NamedTuple

from batchrunner.core.estimate import Calibration, upper
from batchrunner.core.expected import Expected
from batchrunner.core.pricing import PICO, PriceBook, RateCard
from batchrunner.core.request import Lane
from batchrunner.core.usage import Usage
from batchrunner.store.base import Workload

LIKELY_OUTPUT = 4
"""A guess where nothing was measured: an answer uses a quarter of its bound."""
ASSUMED_OUTPUT = 512
"""Tokens assumed of an answer without a bound."""
_OTHER_PROMPTS = 4
"""Calibrated input may be off by a fourth: these prompts need not be like those that it was learned from."""

Method = Literal["guessed", "calibrated", "counted", "sampled"]
"""How tokens are known: by bytes and scripts, by what earlier answers used, by a tokenizer, by rows that were run."""


class Range(NamedTuple):
    """What something will come to: at least, probably, at most (None: there is no upper end)."""

    low: int
    likely: int
    high: int | None

    def plus(self, other: "Range") -> "Range":
        """Return the sum; without an upper end where one of them has none."""
        high = None if self.high is None or other.high is None else self.high + other.high
        return Range(self.low + other.low, self.likely + other.likely, high)


NOTHING = Range(0, 0, 0)


class LaneEstimate(NamedTuple):
    """One model's part of an estimate. Money is in pico-dollars."""

    lane: Lane
    requests: int
    method: Method
    """How its input tokens are known."""
    input: Range
    output: Range
    cost: Range | None
    """None: its model has no price for what is asked of it."""
    expected: Expected
    """What each of its rows is likely to cost; all 0 without a price."""


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


def estimate(
    workloads: Sequence[Workload],
    book: PriceBook,
    now: int,
    learned: Mapping[int, Mapping[str, float]] = MappingProxyType({}),
    *,
    counted: bool = False,
) -> Estimate:
    """Estimate queued requests by their token counts, what their bodies ask for, and today's prices.

    ``learned`` is by lane what earlier answers taught (``Calibration.learned``): it corrects the counts. With
    ``counted`` those of the input are a tokenizer's, and are right as they are.
    """
    lanes = [
        _lane(work, book.card(work.lane.provider, work.lane.model, now), learned.get(work.lane.id), counted=counted)
        for work in workloads
    ]
    cost = reduce(Range.plus, (each.cost for each in lanes if each.cost is not None), NOTHING)
    given = reduce(Range.plus, (each.input for each in lanes), NOTHING)
    made = reduce(Range.plus, (each.output for each in lanes), NOTHING)
    taught = (work.lane.model for work in workloads if Calibration(learned.get(work.lane.id)).answered)
    return Estimate(
        requests=sum(each.requests for each in lanes),
        input_tokens=given.likely,
        output_tokens=made.likely,
        low=cost.low,
        likely=cost.likely,
        high=cost.high,
        unpriced=tuple(dict.fromkeys(each.lane.model for each in lanes if each.cost is None)),
        units=Usage(*reduce(_summed, (one for work in workloads for one in work.units), Usage())[:-1]),
        calibrated=tuple(dict.fromkeys(taught)),
        input=given,
        output=made,
        lanes=tuple(lanes),
    )


def _summed(one: Usage, other: Usage) -> Usage:
    return Usage(*map(add, one[:-1], other[:-1]))


def _lane(work: Workload, card: RateCard | None, learned: Mapping[str, float] | None, *, counted: bool) -> LaneEstimate:
    taught = Calibration(learned)
    method: Method = "counted" if counted else "calibrated" if taught.answered else "guessed"
    given = _input(work.est_in, taught, method)
    per_bound = taught.outputs(1, 0, share=1 / LIKELY_OUTPUT, length=ASSUMED_OUTPUT)
    per_unbounded = taught.outputs(0, 1, share=1 / LIKELY_OUTPUT, length=ASSUMED_OUTPUT)
    likely = int(work.max_out * per_bound + work.unbounded * per_unbounded)
    made = Range(0, likely, None if work.unbounded else work.max_out)
    cost = None if card is None else _cost(work, given, made, card)
    if card is None or cost is None:
        return LaneEstimate(work.lane, work.requests, method, given, made, None, Expected(work.requests, *[0.0] * 5))
    net = card.net(PICO) / PICO
    per_input = given.likely / work.est_in * (card.input or 0) * net if work.est_in else 0.0
    expected = Expected(
        work.requests,
        float(cost.likely),
        per_input,
        per_bound * (card.output or 0) * net,
        per_unbounded * (card.output or 0) * net,
        _units(work, card) / max(1, work.requests),
    )
    return LaneEstimate(work.lane, work.requests, method, given, made, cost, expected)


def _input(est_in: int, taught: Calibration, method: Method) -> Range:
    if method == "counted":
        return Range(est_in, est_in, est_in)
    if method == "guessed":
        return Range(est_in // 2, est_in, upper(est_in))
    likely = round(taught.input(est_in))
    off = likely // _OTHER_PROMPTS
    return Range(likely - off, likely, likely + off)


def _units(work: Workload, card: RateCard) -> int:
    """Return what a lane's bodies ask for in other units than tokens, as far as the card has prices for them."""
    return sum(cost for one in work.units if (cost := card.cost(one)) is not None)


def _cost(work: Workload, given: Range, made: Range, card: RateCard) -> Range | None:
    """Price a lane's tokens and what its bodies tell of other units; None where the card has no price for them."""
    known = any(card.cost(one) is not None for one in work.units)
    by_token = card.input is not None or card.output is not None
    if work.units and not known and not by_token:
        return None
    units, fresh, each = _units(work, card), card.input or 0, card.output or 0
    cached = fresh if card.cached is None else card.cached
    low = units + card.net(given.low * min(fresh, cached))
    likely = units + card.net(given.likely * fresh + made.likely * each)
    # Without a bound, or where nothing tells how much will be used (a sound of unknown length), there is no upper end.
    endless = bool(each) and (work.unbounded > 0 or (bool(work.units) and not known))
    if endless or (not by_token and work.counted < work.requests):
        return Range(low, likely, None)
    fresh, each = _dearest(card, work)
    most = units + card.net((given.high or 0) * fresh + work.max_out * each)
    return Range(low, likely, max(likely, most))


def _dearest(card: RateCard, work: Workload) -> tuple[int, int]:
    """Return the prices of input and output that a prompt of this lane may be long enough for."""
    tariffs = card.up_to_prompt(upper(work.est_in))
    return max(max(each.input or 0, each.cached or 0) for each in tariffs), max(each.output or 0 for each in tariffs)
