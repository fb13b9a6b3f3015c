"""Pauses as people read them: what is held back, since when, why, and how to go on."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from batchrunner.cli.render import talk, when
from batchrunner.cli.text import command_line, duration, one_line
from batchrunner.config import Loaded
from batchrunner.core.clock import SECOND

if TYPE_CHECKING:
    from batchrunner.api import Job
    from batchrunner.runner.commands import PauseFact
    from batchrunner.store.base import Pause

    AnyPause = Pause | PauseFact


def pause_facts(pause: "AnyPause") -> dict[str, Any]:
    """Return a pause as JSON types."""
    return {
        "scope": pause.scope,
        "ref": pause.ref,
        "reason": pause.reason,
        "evidence": pause.evidence,
        "since": when(pause.since),
    }


def name_of(pause: "AnyPause", jobs: Iterable["Job"]) -> str:
    """Return what a pause holds back, by the names that people know."""
    if pause.scope != "job":
        return f"{'provider' if pause.scope == 'provider' else 'model'} {one_line(pause.ref, 120)}"
    name = next((job.name for job in jobs if str(job.id) == pause.ref), "")
    return f"job {pause.ref} ({one_line(name, 60)})"


def tell_pauses(loaded: Loaded, pauses: Sequence["AnyPause"], jobs: Iterable["Job"], now: int) -> None:
    """Say what is held back by a person, why and since when, and how to go on."""
    from batchrunner.runner.spending import REASON
    from batchrunner.store.base import BY_HAND

    known = list(jobs)
    for pause in pauses:
        if pause.reason == BY_HAND:
            why = f": {one_line(pause.evidence, 200)}" if pause.evidence else ""
            ago = duration(max(0, now - pause.since) / SECOND)
            talk(f"{name_of(pause, known)} is paused by hand since {when(pause.since)} ({ago} ago){why}")
            talk(f"  go on: {command_line(loaded, 'resume', *_words(pause))}")
        elif pause.reason == REASON:
            talk(f"{name_of(pause, known)} was stopped by {one_line(pause.evidence, 300)}")
            if pause.evidence.startswith("budget --max-cost:"):  # of the run that is over: no list has it
                talk(f"  go on: {command_line(loaded, 'run', pause.ref, '--max-cost', 'USD')}")
            else:
                talk(f"  see: {command_line(loaded, 'budget', 'list')}")


def _words(pause: "AnyPause") -> tuple[str, ...]:
    if pause.scope == "job":
        return (pause.ref,)
    if pause.scope == "provider":
        return ("--provider", pause.ref)
    provider, _, model = pause.ref.partition(" ")
    return ("--provider", provider, "--model", model)
