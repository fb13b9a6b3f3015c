"""The queue's values as JSON types, alike in every ``--json``. They are public: keys are added, never renamed."""

from typing import TYPE_CHECKING, Any

import msgspec

from batchrunner.cli.render import exact, when
from batchrunner.core.clock import SECOND
from batchrunner.core.job import Job
from batchrunner.core.slices import Within, day_text
from batchrunner.formats.base import exact_seconds
from batchrunner.runner.snapshot import Snapshot
from batchrunner.store.base import CostRow, Counts, LaneRow, RunnerRow

if TYPE_CHECKING:
    from batchrunner.api.ledgers import Compared

FRESH = 15 * SECOND
"""Microseconds after which a runner that said nothing is taken for dead; it says something once a second."""

_MONEY = ("recorded", "estimated", "possibly_billed", "wasted")


def job_facts(job: Job) -> dict[str, Any]:
    """Return what identifies a job."""
    return {
        "id": job.id,
        "name": job.name,
        "path": job.source.path,
        "sha256": job.source.sha256,
        "provider": job.options.provider,
        "requests": job.lines,
        "loaded": when(job.created),
        "tags": dict(job.tags),
    }


def count_facts(counts: Counts) -> dict[str, int]:
    """Return the requests by state; ``waiting`` is part of ``queued``, ``flagged`` of ``succeeded``."""
    return dict(counts._asdict())


def cost_facts(row: CostRow | None) -> dict[str, Any]:
    """Return the four sums in dollars as exact decimal strings, and what they are made of."""
    row = row or CostRow((), *[0] * (len(CostRow._fields) - 1))
    return {
        "calls": row.attempts,
        "succeeded": row.succeeded,
        "tokens": {"input": row.input, "cached": row.cached, "output": row.output, "reasoning": row.reasoning},
        "units": unit_facts(row),
        "usd": {name: exact(getattr(row, name)) for name in _MONEY},
        "unpriced_calls": row.unpriced,
    }


def waste_facts(total: CostRow) -> dict[str, Any]:
    """Return what was paid and not used, as a part of what it is a part of; none of it is in ``recorded``."""
    return {
        "recorded_usd": exact(total.wasted - total.wasted_estimated),
        "estimated_usd": exact(total.wasted_estimated),
        "possibly_billed_usd": exact(total.possibly_billed),
        "possibly_billed_calls": total.doubtful,
    }


def period_facts(within: Within) -> dict[str, Any]:
    """Return which attempts are counted."""
    since, until = within.since, within.until
    return {
        "since": None if since is None else day_text(since),
        "until": None if until is None else day_text(until),
        "tz": within.zone,
        "tags": dict(within.tags),
    }


def compared_facts(row: "Compared") -> dict[str, Any]:
    """Return a slice in two periods, and how the recorded sum changed."""
    return {
        "now": cost_facts(row.now),
        "before": cost_facts(row.before),
        "change_usd": {
            "recorded": exact(row.now.recorded - row.before.recorded),
            "by_traffic": exact(row.traffic),
            "by_price": exact(row.price),
        },
    }


def unit_facts(row: CostRow) -> dict[str, Any]:
    """Return what was counted beside plain tokens; the four kinds of token at the end are parts of the tokens."""
    return {
        "images": row.images,
        "pixels": row.pixels,
        "seconds": exact_seconds(row.milliseconds),
        "characters": row.characters,
        "searches": row.searches,
        "audio_input_tokens": row.audio_input,
        "audio_output_tokens": row.audio_output,
        "image_input_tokens": row.image_input,
        "image_output_tokens": row.image_output,
    }


def lane_facts(row: LaneRow) -> dict[str, Any]:
    """Return a lane and what it waits for."""
    return {
        "provider": row.lane.provider,
        "model": row.lane.model,
        "queued": row.queued,
        "paused_until": when(row.paused_until) if row.paused_until else None,
        "pause": row.pause,
    }


def alive(row: RunnerRow, now: int) -> bool:
    """Whether a runner has not ended and was heard of lately."""
    return row.ended is None and now - row.heartbeat < FRESH


def runner_facts(row: RunnerRow | None, now: int) -> dict[str, Any] | None:
    """Return the newest runner, with what it last said of its run while it is alive."""
    if row is None:
        return None
    return {
        "pid": row.pid,
        "host": row.host,
        "alive": alive(row, now),
        "started": when(row.started),
        "heartbeat": when(row.heartbeat),
        "ended": when(row.ended),
        "end_reason": row.end_reason,
        "run": run_facts(picture) if alive(row, now) and (picture := snapshot_of(row)) else None,
    }


def snapshot_of(row: RunnerRow) -> Snapshot | None:
    """Return a runner's snapshot; None where it kept none, or one of another version."""
    if row.snapshot is None:
        return None
    try:
        return msgspec.json.decode(row.snapshot, type=Snapshot)
    except msgspec.DecodeError:
        return None


def run_facts(picture: Snapshot) -> dict[str, Any]:
    """Return what ``status --json`` tells of a run that is going on."""
    facts: dict[str, Any] = msgspec.to_builtins(picture)
    facts["usd"] = {name: exact(facts.pop(name)) for name in _MONEY}
    facts["usd"] |= {name: exact(facts.pop(name)) for name in ("projected", "expected")}
    facts["unpriced_calls"] = facts.pop("unpriced")
    return {**facts, "done": picture.done, "eta": picture.eta, "bottleneck": picture.bottleneck}
