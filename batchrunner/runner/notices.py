"""What a person is told, as facts for JSON: a pause that began or ended, and the end of a run."""

from datetime import UTC, datetime
from typing import Any

from batchrunner.core.clock import SECOND
from batchrunner.core.errors import BatchrunnerError
from batchrunner.core.pricing import dollars
from batchrunner.runner.report import Halt, RunReport


def event_of(halt: Halt) -> str:
    """Return what happened to a pause: ``paused``, ``gave_up`` or ``resumed``."""
    if halt.ended is not None:
        return "resumed"
    return "gave_up" if halt.gave_up else "paused"


def pause_facts(halt: Halt, *, left: int) -> dict[str, Any]:
    """Return a pause; ``left`` are the rows of the run that have no outcome yet."""
    return {
        "what": halt.ref,
        "cause": halt.kind.value,
        "message": halt.message,
        "since": _iso(halt.since),
        "resumed": None if halt.ended is None else _iso(halt.ended),
        "waits": halt.waits,
        "rows_left": left,
    }


def budget_facts(job_id: int, message: str | None, *, left: int) -> dict[str, Any]:
    """Return a job that a budget holds back, or that goes on; ``left`` as above."""
    return {"what": f"job {job_id}", "cause": "budget", "message": message or "", "rows_left": left}


def end_facts(report: RunReport) -> dict[str, Any]:
    """Return how a run ended. Money is for people, without what is unknown; ``costs --json`` has every digit."""
    tally = report.tally
    money = {name: dollars(getattr(tally, name)) for name in ("recorded", "estimated", "possibly_billed", "wasted")}
    return {
        "exit_code": int(report.exit_code),
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "rows_left": report.left,
        "calls": tally.attempts,
        "seconds": round((report.ended - report.started) / SECOND, 1),
        "stopped_by": report.interrupted.value if report.interrupted else "deadline" if report.expired else None,
        "budgets": [shortage.message for shortage in report.shortages],
        "pauses": [pause_facts(halt, left=report.left) for halt in report.standing],
        "cost": money,
        "unpriced_calls": tally.unpriced,
    }


def fault_facts(error: BatchrunnerError) -> dict[str, Any]:
    """Return why a run could not go on; what it has done then stands in a database that may not be asked any more."""
    return {"exit_code": int(error.exit_code), "message": _utf8(error.message), "next": _utf8(error.hint or "") or None}


def _utf8(text: str) -> str:
    """Return a text that JSON takes: a path in it may be of any bytes, which show as escapes then."""
    return text.encode("utf-8", "backslashreplace").decode()


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / SECOND, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
