"""What the queued requests of one lane will probably take: tokens, and their cost by its rate card."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Literal, NamedTuple

from batchrunner.core.estimate import Calibration, upper
from batchrunner.core.expected import Expected
from batchrunner.core.pricing import PICO, RateCard
from batchrunner.core.request import Lane
from batchrunner.core.tariff import Tariff
from batchrunner.store.base import LENGTHS, LongPrompts, Workload

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
    untold: bool = False
    """Whether requests do not tell how much they ask for, such as a sound of unknown length: they count for nothing,
    and there is no upper end.
    """
    assumed: bool = False
    """Whether its price is one that a person assumed."""


class Known(NamedTuple):
    """What is known beside the requests themselves."""

    learned: Mapping[int, Mapping[str, float]] = MappingProxyType({})
    """By lane what earlier answers taught (``Calibration.learned``): it corrects the counts."""
    most_out: Mapping[int, int | None] = MappingProxyType({})
    """By lane the output tokens of a request without a bound, at most, where a context or an assumption tells."""
    counted: bool = False
    """Whether input tokens are a tokenizer's counts, and right as they are."""


def lane_estimate(work: Workload, card: RateCard | None, known: Known) -> LaneEstimate:
    """Estimate what is queued of one lane, by its card; None: it has no price."""
    tokens = _Tokens(work, Calibration(known.learned.get(work.lane.id)), counted=known.counted)
    unbounded = _unbounded(work, card)
    most = known.most_out.get(work.lane.id) if unbounded else 0
    high = None if most is None else work.max_out + unbounded * most
    made = Range(0, tokens.made(work.max_out, unbounded), high)
    cost = None if card is None else _cost(work, tokens, made, card)
    untold = card is not None and not _by_token(card) and work.counted < work.requests - work.going_on
    return LaneEstimate(
        lane=work.lane,
        requests=work.requests,
        method=tokens.method,
        input=tokens.given(work.est_in),
        output=made,
        cost=cost,
        expected=_expected(work, tokens, cost, card),
        untold=untold and cost is not None,
        assumed=card is not None and card.assumed,
    )


class _Tokens:
    """How the tokens of one lane are told."""

    def __init__(self, work: Workload, taught: Calibration, *, counted: bool) -> None:
        self.method: Method = "counted" if counted else "calibrated" if taught.answered else "guessed"
        self._taught = taught
        self.per_bound = taught.outputs(1, 0, share=1 / LIKELY_OUTPUT, length=ASSUMED_OUTPUT)
        self.per_unbounded = taught.outputs(0, 1, share=1 / LIKELY_OUTPUT, length=ASSUMED_OUTPUT)

    def given(self, est_in: int) -> Range:
        """Return the input tokens of what was estimated at ``est_in``."""
        if self.method == "counted":
            return Range(est_in, est_in, est_in)
        if self.method == "guessed":
            return Range(est_in // 2, est_in, upper(est_in))
        likely = round(self._taught.input(est_in))
        off = likely // _OTHER_PROMPTS
        return Range(likely - off, likely, likely + off)

    def made(self, max_out: int, unbounded: int) -> int:
        """Return the likely output tokens."""
        return int(max_out * self.per_bound + unbounded * self.per_unbounded)

    def longest(self, est_in: int) -> int:
        """Return the tokens of a prompt that was estimated at so many at most."""
        return self.given(est_in).high or 0


def _by_token(card: RateCard) -> bool:
    return card.input is not None or card.output is not None


def _priced_units(work: Workload, card: RateCard) -> bool:
    return any(card.cost(one) is not None for one in work.units)


def _unbounded(work: Workload, card: RateCard | None) -> int:
    """Return the requests whose answers have no bound in tokens: not those that are paid for in another unit."""
    if card is None:
        return work.unbounded
    if not _by_token(card):
        return 0
    return max(0, work.unbounded - work.counted) if _priced_units(work, card) else work.unbounded


def _units(work: Workload, card: RateCard) -> int:
    """Return what a lane's bodies ask for in other units than tokens, as far as the card has prices for them."""
    return sum(cost for one in work.units if (cost := card.cost(one)) is not None)


def _parts(work: Workload, card: RateCard) -> list[LongPrompts]:
    """Return the requests of a lane by the length of their prompts, where that makes a difference."""
    whole = LongPrompts(work.requests, work.est_in, work.max_out, _unbounded(work, card), work.est_in)
    if not card.tiers:
        return [whole]
    apart = reduce(LongPrompts.plus, work.long, LongPrompts(0, 0, 0, 0, 0))
    short = [max(0, all_of_it - long) for all_of_it, long in zip(whole[:-1], apart[:-1], strict=True)]
    return [LongPrompts._make((*short, min(short[1], LENGTHS[0] - 1))), *work.long]


def _cost(work: Workload, tokens: _Tokens, made: Range, card: RateCard) -> Range | None:
    """Price a lane's tokens and what its bodies tell of other units; None where the card has no price for them.

    Low and likely are by the prices of prompts that are as long as the low and the likely end say, high by the dearest
    that a prompt may be long enough for, and by the dearest kind of token.
    """
    known, by_token = _priced_units(work, card), _by_token(card)
    if work.units and not known and not by_token:
        return None
    units, low, likely, most = _units(work, card), 0, 0, 0
    for part in _parts(work, card):
        given = tokens.given(part.est_in)
        at_low, at_likely = (card.of_prompt(end // max(1, part.requests)) for end in given[:2])
        low += given.low * min(at_low.input or 0, (at_low.input if at_low.cached is None else at_low.cached) or 0)
        likely += _priced(part, given.likely, tokens, at_likely)
        feared = card.up_to_prompt(tokens.longest(part.longest))
        most += (given.high or 0) * _dearest(feared, _GIVEN) + part.max_out * _dearest(feared, _MADE)
    endless = _dearest([card], _MADE) > 0 and (made.high is None or (bool(work.units) and not known))
    if endless or (not by_token and work.counted < work.requests - work.going_on):
        high = None
    else:
        beyond = max(0, (made.high or 0) - work.max_out) * _dearest(card.up_to_prompt(upper(work.est_in)), _MADE)
        high = units + card.net(most + beyond)
    low, likely = units + card.net(min(low, likely)), units + card.net(likely)
    return Range(low, likely, None if high is None else max(likely, high))


_GIVEN = ("input", "cached", "audio_input", "image_input")
_MADE = ("output", "audio_output", "image_output", "reasoning")


def _dearest(tariffs: Iterable[Tariff], names: Sequence[str]) -> int:
    """Return the highest of these prices: what a budget sets aside for a token, too."""
    return max(getattr(tariff, name) or 0 for tariff in tariffs for name in names)


def _priced(part: LongPrompts, given: int, tokens: _Tokens, tariff: Tariff) -> int:
    """Return what tokens cost fresh."""
    return given * (tariff.input or 0) + tokens.made(part.max_out, part.unbounded) * (tariff.output or 0)


def _expected(work: Workload, tokens: _Tokens, cost: Range | None, card: RateCard | None) -> Expected:
    """Return what a row is likely to cost by its estimate and bound; over all rows that is the likely cost."""
    if card is None or cost is None:
        return Expected(work.requests, *[0.0] * 5)
    given, bounds, unbounded = 0, 0, 0
    for part in _parts(work, card):
        likely = tokens.given(part.est_in).likely
        tariff = card.of_prompt(likely // max(1, part.requests))
        given += likely * (tariff.input or 0)
        bounds += part.max_out * (tariff.output or 0)
        unbounded += part.unbounded * (tariff.output or 0)
    net = card.net(PICO) / PICO
    return Expected(
        work.requests,
        float(cost.likely),
        net * given / max(1, work.est_in),
        net * tokens.per_bound * bounds / max(1, work.max_out),
        net * tokens.per_unbounded * unbounded / max(1, work.unbounded),
        _units(work, card) / max(1, work.requests),
    )
