"""An estimate as JSON."""

from typing import TYPE_CHECKING, Any, Final

from batchrunner.cli.facts import job_facts
from batchrunner.cli.render import exact

if TYPE_CHECKING:
    from batchrunner.api import Estimate, LaneEstimate, Outlook, Sampled, Shortfall

SCHEMA: Final = "batchrunner.estimate/1"


def priced(estimate: "Estimate") -> bool:
    """Whether anything of it has a price."""
    return any(lane.cost is not None for lane in estimate.lanes)


def facts(found: "Outlook") -> dict[str, Any]:
    """Return an outlook as JSON types; money in dollars as exact decimal strings, None where it is unknown."""
    estimate, time = found.estimate, found.time
    has_price = priced(estimate)
    return {
        "schema": SCHEMA,
        "name": found.name,
        "job": None if found.job is None else job_facts(found.job),
        "method": "estimated" if found.sampled is None else "sampled",
        "confidence": None if found.sampled is None else 0.9,
        "requests": estimate.requests,
        "tokens": {"input": estimate.input._asdict(), "output": estimate.output._asdict()},
        "units": {name: amount for name, amount in estimate.units._asdict().items() if amount},
        "usd": {name: exact(amount) if has_price else None for name, amount in estimate.cost._asdict().items()},
        "unpriced_models": estimate.unpriced,
        "seconds": None if time is None else {"low": time.low, "likely": time.likely, "high": time.high},
        "bound_by": None if time is None else time.bound,
        "by_model": [_lane_facts(lane) for lane in estimate.lanes],
        "in_no_sum": estimate.untold,
        "assumed_price_models": estimate.assumed,
        "going_on": estimate.going_on,
        "vector_bytes": None if found.room is None else found.room._asdict(),
        "budgets": [_budget_facts(each) for each in found.shortfalls],
        "sample": None if found.sampled is None else _sample_facts(found.sampled),
    }


def _budget_facts(shortfall: "Shortfall") -> dict[str, Any]:
    """Return a budget that may not suffice."""
    usd = {"cap": exact(shortfall.cap), "left": exact(shortfall.room)}
    return {"name": shortfall.name, "usd": usd, "suffices": "probably not" if shortfall.likely else "perhaps"}


def _lane_facts(lane: "LaneEstimate") -> dict[str, Any]:
    """Return a model's part of what was estimated before anything was run."""
    return {
        "provider": lane.lane.provider,
        "model": lane.lane.model,
        "requests": lane.requests,
        "input_tokens_are": lane.method,
        "tokens": {"input": lane.input._asdict(), "output": lane.output._asdict()},
        "usd": None if lane.cost is None else {name: exact(end) for name, end in lane.cost._asdict().items()},
    }


def _sample_facts(drawn: "Sampled") -> dict[str, Any]:
    counts = ("rows", "succeeded", "failed", "unfinished", "unknown")
    sums = ("recorded", "estimated", "possibly_billed", "wasted")
    return {
        **{name: getattr(drawn, name) for name in counts},
        "usd": {name: exact(getattr(drawn, name)) for name in sums},
        "usd_with_unseen_rows": None if drawn.unseen is None else exact(drawn.unseen),
        "unpriced_calls": drawn.unpriced,
        "estimated_before": {name: exact(end) for name, end in drawn.estimate.cost._asdict().items()},
    }
