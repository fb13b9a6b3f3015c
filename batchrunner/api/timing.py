"""How long a run will take, by its limits and by how long calls take."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from batchrunner.api.lanecost import LaneEstimate, Range
from batchrunner.config.settings import LaneLimits
from batchrunner.core.clock import SECOND
from batchrunner.core.estimate import figure
from batchrunner.store.base import Pace

_SLOW_START = 8
"""Calls in the air with which a run begins where nothing was learned."""


class Time(NamedTuple):
    """Seconds that a run will take. Where nothing tells how long calls take, ``low`` alone is known."""

    low: float
    likely: float | None
    high: float | None
    bound: str
    """What binds: ``concurrency``, ``rpm`` or ``tpm``."""


class LanePace(NamedTuple):
    """What bounds the pace of one lane."""

    requests: int
    tokens: Range
    calls: Range | None
    """Microseconds that its calls will be out, all together; None: nothing tells."""
    rpm: float | None
    """None: no such limit is set, and none was learned."""
    tpm: float | None
    ceiling: int
    """Calls in the air that it may come to."""
    reached: int
    """Calls in the air that it had come to when it was run last, or begins with; ``ceiling`` where that is fixed."""
    unhindered: bool
    """Whether nothing is known that would keep it from its ceiling: no rate was learned, which refusals teach."""


def pace_of(
    requests: int, tokens: Range, calls: Range | None, *, limits: LaneLimits, learned: Mapping[str, float]
) -> LanePace:
    """Return what bounds a lane: its limits as set or, where nobody set one, as they were learned."""
    rpm, tpm = (max(0.0, 60 * figure(learned.get(f"{kind}_rate"))) for kind in ("requests", "tokens"))
    reached = ceiling = limits.concurrency
    if limits.learned:
        reached = min(ceiling, max(_SLOW_START, round(figure(learned.get("concurrency_limit")))))
    return LanePace(
        requests=requests,
        tokens=tokens,
        calls=calls,
        rpm=limits.rpm or rpm or None,
        tpm=limits.tpm or tpm or None,
        ceiling=ceiling,
        reached=reached,
        unhindered=not rpm and not tpm,
    )


def calls_of(lanes: Sequence[LaneEstimate], paces: Sequence[Pace]) -> dict[int, Range]:
    """Return by lane how long its calls will be out, all together, if they take as long as the last ones did."""
    means = {pace.lane_id: pace.microseconds / pace.calls for pace in paces if pace.calls}
    known = {lane.lane.id: round(lane.requests * means[lane.lane.id]) for lane in lanes if lane.lane.id in means}
    return {lane_id: Range(all_calls, all_calls, all_calls) for lane_id, all_calls in known.items()}


def shared(amount: Range, parts: Mapping[int, Range]) -> dict[int, Range]:
    """Return an amount of all lanes by lane, as these parts of another one are shared among them."""
    total = sum(part.likely for part in parts.values())
    shares = {lane_id: part.likely / total if total else 1 / len(parts) for lane_id, part in parts.items()}
    return {
        lane_id: Range(*(None if end is None else round(share * end) for end in amount))  # type: ignore[arg-type]
        for lane_id, share in shares.items()
    }


def time_at_limits(lanes: Sequence[LanePace], concurrency: int) -> Time | None:
    """Return how long these lanes take side by side, with at most ``concurrency`` calls in the air over all of them.

    What is learned while it runs may be more than what was learned so far: low is with every call in the air that is
    allowed, high with as many as there were in the last run. Retries and pauses come on top. None: nothing tells.
    """
    low, likely, high = (_longest(lanes, concurrency, end) for end in (_LOW, _LIKELY, _HIGH))
    if not likely.bound:
        return None
    if any(lane.calls is None for lane in lanes):
        return Time(likely.seconds, None, None, likely.bound)
    return Time(low.seconds, likely.seconds, high.seconds, likely.bound)


class _End(NamedTuple):
    """Which end of the ranges is looked at."""

    amount: Callable[[Range], float]
    width: Callable[[LanePace], int]


def _top(amount: Range) -> float:
    return amount.likely if amount.high is None else amount.high


_LOW = _End(lambda amount: amount.low, lambda lane: lane.ceiling)
_LIKELY = _End(lambda amount: amount.likely, lambda lane: lane.ceiling if lane.unhindered else lane.reached)
_HIGH = _End(_top, lambda lane: lane.reached)


class _Bound(NamedTuple):
    """One thing that keeps a run from being quicker."""

    seconds: float
    bound: str


def _longest(lanes: Sequence[LanePace], concurrency: int, end: _End) -> _Bound:
    bounds = [_Bound(0.0, "")]
    together = 0.0
    for lane in lanes:
        if lane.rpm:
            bounds.append(_Bound(60 * lane.requests / lane.rpm, "rpm"))
        if lane.tpm:
            bounds.append(_Bound(60 * end.amount(lane.tokens) / lane.tpm, "tpm"))
        if lane.calls is not None:
            out = end.amount(lane.calls) / SECOND
            together += out
            bounds.append(_Bound(out / max(1, min(end.width(lane), concurrency, lane.requests)), "concurrency"))
    return max(*bounds, _Bound(together / concurrency, "concurrency" if together else ""))
