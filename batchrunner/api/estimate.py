"""What queued requests will probably take, before any of them is sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import NamedTuple

from batchrunner.core.estimate import Calibration
from batchrunner.core.pricing import PriceBook, RateCard
from batchrunner.core.usage import Usage
from batchrunner.store.base import Workload

LIKELY_OUTPUT = 4
"""A guess where nothing was measured: an answer uses a quarter of its bound."""
ASSUMED_OUTPUT = 512
"""Tokens assumed of an answer without a bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the queued requests will probably take. Money is in pico-dollars."""

    requests: int
    input_tokens: int
    output_tokens: int
    """Likely, see ``LIKELY_OUTPUT``."""
    likely: int
    high: int | None
    """With every output bound used up; None where a request sets none, or nothing tells how much it will use."""
    unpriced: tuple[str, ...]
    """Models without a price for what is asked of them: their part of the cost is unknown and in neither sum."""
    units: Usage = Usage()  # noqa: RUF009 - a tuple, nobody can change it
    """What the bodies ask for in other units than tokens."""
    calibrated: tuple[str, ...] = ()
    """Models whose tokens are corrected by what their answers used; those of the others are guessed, or counted."""

    @property
    def bytes(self) -> int:
        """Bytes that the answers will probably take on the disk, with a third for what nobody can know.

        A token is about four bytes; an answer's frame and its rows in the ledger are about 1.3 KB.
        """
        return int(1.3 * (1_300 * self.requests + 4 * self.output_tokens))


class _Part(NamedTuple):
    """What one lane will cost."""

    likely: int
    high: int | None
    priced: bool


def estimate(
    workloads: list[Workload],
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
    requests = inputs = outputs = likely = 0
    high: int | None = 0
    unpriced: list[str] = []
    calibrated: list[str] = []
    for work in workloads:
        lane = Calibration(learned.get(work.lane.id))
        out = int(lane.outputs(work.max_out, work.unbounded, share=1 / LIKELY_OUTPUT, length=ASSUMED_OUTPUT))
        if lane.answered:
            calibrated.append(work.lane.model)
            work = work if counted else work._replace(est_in=round(lane.input(work.est_in)))
        requests, inputs, outputs = requests + work.requests, inputs + work.est_in, outputs + out
        card = book.card(work.lane.provider, work.lane.model, now)
        part = _UNKNOWN if card is None else _cost(work, out, card)
        if not part.priced:
            unpriced.append(work.lane.model)
            continue
        likely += part.likely
        high = None if high is None or part.high is None else high + part.high
    return Estimate(
        requests=requests,
        input_tokens=inputs,
        output_tokens=outputs,
        likely=likely,
        high=high,
        unpriced=tuple(dict.fromkeys(unpriced)),
        units=Usage(*reduce(_summed, (one for work in workloads for one in work.units), Usage())[:-1]),
        calibrated=tuple(dict.fromkeys(calibrated)),
    )


_UNKNOWN = _Part(0, None, priced=False)


def _summed(one: Usage, other: Usage) -> Usage:
    return Usage(*map(add, one[:-1], other[:-1]))


def _cost(work: Workload, out: int, card: RateCard) -> _Part:
    """Price a lane's tokens and what its bodies tell of other units, as far as the card has prices for them."""
    known = [cost for one in work.units if (cost := card.cost(one)) is not None]
    by_token = card.input is not None or card.output is not None
    if work.units and not known and not by_token:
        return _UNKNOWN
    units, fresh, made = sum(known), card.input or 0, card.output or 0
    likely = units + work.est_in * fresh + out * made
    # Without a bound, or where nothing tells how much will be used (a sound of unknown length), there is no upper end.
    endless = bool(made) and (work.unbounded > 0 or (bool(work.units) and not known))
    untold = not by_token and work.counted < work.requests
    high = None if endless or untold else units + work.est_in * fresh + work.max_out * made
    return _Part(likely, high, priced=True)
