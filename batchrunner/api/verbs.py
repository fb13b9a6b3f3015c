"""Every verb that writes, as what it asks of the door: the same here and beside a live run."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import msgspec

from batchrunner.api.door import ask
from batchrunner.api.reads import Reads
from batchrunner.config import Loaded
from batchrunner.core.budget import WARN_AT, Period
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job
from batchrunner.core.pricing import Price
from batchrunner.formats.pricefile import price_entry
from batchrunner.runner.commands import (
    Aim,
    Cancel,
    Command,
    Done,
    Load,
    Pause,
    RemoveBudget,
    Resume,
    Retag,
    Retry,
    SetBudget,
    SetPrices,
    Tune,
)
from batchrunner.wiring import attachments_folder

PRICES_AT_ONCE = 500
"""Of one command: it has to fit into a letter."""

Limit = Literal["auto"]
Ref = str | Job


def pause(
    loaded: Loaded,
    job: Ref | None = None,
    *,
    model: str | None = None,
    provider: str | None = None,
    reason: str = "",
    wait: bool = False,
) -> Done:
    """Hold a job, a model or a provider back until ``resume``; without any, every job that is not finished.

    Raises ConfigurationError for a job together with a model or provider, and for what there is none of.
    """

    def make(read: Reads) -> Command:
        aims = _aims(read, job, model, provider)
        if aims is None:
            unfinished = [each.job for each in read.statuses() if each.state in ("queued", "running", "paused")]
            aims = tuple(Aim(scope="job", ref=str(each.id)) for each in unfinished)
        if not aims:
            raise ConfigurationError("there is nothing to pause: no job is unfinished", hint="batchrunner status")
        return Pause(aims=aims, reason=reason)

    return ask(loaded, make, wait=wait)


def resume(
    loaded: Loaded,
    job: Ref | None = None,
    *,
    model: str | None = None,
    provider: str | None = None,
    wait: bool = False,
) -> Done:
    """End what ``pause`` began, of a job, a model or a provider; without any, all of it."""
    return ask(loaded, lambda read: Resume(aims=_aims(read, job, model, provider)), wait=wait)


def cancel(loaded: Loaded, job: Ref, *, wait: bool = False) -> Done:
    """Cancel what is queued of a job; what is in the air lands and is kept."""
    return ask(loaded, lambda read: Cancel(job=read.job(job).id), wait=wait)


def tune(
    loaded: Loaded,
    *,
    model: str | None = None,
    concurrency: int | Limit | None = None,
    rpm: float | Limit | None = None,
    tpm: float | Limit | None = None,
    max_cost: int | None = None,
) -> Done:
    """Change limits of the run that is going on, of one model or of all; None leaves one as it is.

    ``max_cost`` (pico-dollars) takes the place of the run's own ``--max-cost``; what it has bought so far counts.
    Raises ConfigurationError where no run is going on, or it has no such model, or no cap of its own.
    """
    command = Tune(model=model, concurrency=concurrency, rpm=rpm, tpm=tpm, max_cost=max_cost)
    return ask(loaded, lambda _: command)


def set_prices(loaded: Loaded, entries: Sequence[Price], *, wait: bool = False) -> Done:
    """Add prices to those of the database, which stand above those of files; a live run prices by them at once.

    Raises ConfigurationError for what is no price.
    """
    done = Done()
    for first in range(0, len(entries), PRICES_AT_ONCE):
        command = SetPrices(entries="\n".join(map(price_entry, entries[first : first + PRICES_AT_ONCE])))
        more = ask(loaded, partial(_as_it_is, command), wait=wait)
        done = msgspec.structs.replace(more, rows=done.rows + more.rows)
    return done


def _as_it_is(command: Command, _: Reads) -> Command:
    return command


def set_budget(  # noqa: PLR0913 - whose, how long, how much
    loaded: Loaded,
    cap: int,
    *,
    job: Ref | None = None,
    tag: tuple[str, str] | None = None,
    period: Period = Period.EVER,
    warn: Sequence[int] = WARN_AT,
    wait: bool = False,
) -> Done:
    """Cap the spending (pico-dollars) of a job, of a tag, or of everything: for good, or anew each day or month (UTC).

    A run that is going on keeps to it from then on. Raises ConfigurationError.
    """

    def make(read: Reads) -> Command:
        scope, ref = _capped(read, job, tag)
        levels = tuple(sorted(set(warn)))
        return SetBudget(scope=scope, ref=ref, period=period.value, cap=cap, warn=levels)

    return ask(loaded, make, wait=wait)


def remove_budget(
    loaded: Loaded,
    *,
    job: Ref | None = None,
    tag: tuple[str, str] | None = None,
    period: Period = Period.EVER,
    wait: bool = False,
) -> Done:
    """Remove a cap. Raises ConfigurationError where there is none."""

    def make(read: Reads) -> Command:
        scope, ref = _capped(read, job, tag)
        return RemoveBudget(scope=scope, ref=ref, period=period.value)

    return ask(loaded, make, wait=wait)


def _capped(read: Reads, job: Ref | None, tag: tuple[str, str] | None) -> tuple[Literal["all", "job", "tag"], str]:
    if job is not None and tag is not None:
        raise ConfigurationError("a budget is of a job or of a tag", hint="give --job alone, or --tag alone")
    if job is not None:
        return "job", str(read.job(job).id)
    return ("all", "") if tag is None else ("tag", "=".join(tag))


def load(loaded: Loaded, path: str, *, name: str | None = None, add: bool = False, wait: bool = False) -> Done:
    """Queue a job file, or find the job that it already is. Raises InputError."""
    settings = loaded.settings
    folder = attachments_folder(settings)
    command = Load.of(path, settings.job, name=name, tags=settings.tags, add=add, attachments=folder)
    return ask(loaded, lambda _: command, wait=wait)


def retry(  # noqa: PLR0913 - each narrows down what is tried again
    loaded: Loaded,
    job: Ref,
    *,
    kinds: Sequence[str] = (),
    custom_ids: Sequence[str] = (),
    quarantined: bool = False,
    cancelled: bool = False,
    flagged: bool = False,
    wait: bool = False,
) -> Done:
    """Queue failed requests of a job again, all or by kind or id; or those in quarantine; or its cancelled ones; or
    those whose answers are flagged (which are wasted then: they were paid for).
    """

    def make(read: Reads) -> Command:
        return Retry(
            job=read.job(job).id,
            kinds=tuple(kinds),
            custom_ids=tuple(custom_ids),
            quarantined=quarantined,
            cancelled=cancelled,
            flagged=flagged,
        )

    return ask(loaded, make, wait=wait)


def retag(
    loaded: Loaded, job: Ref, change: Sequence[tuple[str, str | None]], *, lines: bool = False, wait: bool = False
) -> Done:
    """Change a job's tags after the fact, of what it cost already too; None takes one away.

    A line's own tag wins over its job's, unless ``lines``. Nothing that was written down of a call is changed.
    """
    return ask(loaded, lambda read: Retag(job=read.job(job).id, change=tuple(change), lines=lines), wait=wait)


def _aims(read: Reads, job: Ref | None, model: str | None, provider: str | None) -> tuple[Aim, ...] | None:
    """Return what is meant; None where nothing was named."""
    if job is not None:
        if model is not None or provider is not None:
            raise ConfigurationError(
                "a pause is of a job, or of a model or provider in all jobs", hint="give JOB alone, or --model alone"
            )
        return (Aim(scope="job", ref=str(read.job(job).id)),)
    if model is None and provider is None:
        return None
    lanes = [row.lane for row in read.lanes()]
    chosen = [lane for lane in lanes if model in (None, lane.model) and provider in (None, lane.provider)]
    if not chosen:
        known = ", ".join(f"{lane.provider} {lane.model}" for lane in lanes) or "none yet"
        raise ConfigurationError(
            f"no job has anything for {' '.join(filter(None, (provider, model)))!r}", hint=f"there are: {known}"
        )
    if model is None:
        return (Aim(scope="provider", ref=chosen[0].provider),)
    return tuple(Aim(scope="lane", ref=f"{lane.provider} {lane.model}") for lane in chosen)
