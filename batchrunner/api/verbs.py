"""The one door of every verb that writes: the database itself where it is free, else the mailbox of its run.

Either way the same things happen, and the caller gets the same answer or the same error.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

from batchrunner.api.reads import Reads, reads
from batchrunner.api.session import session
from batchrunner.config import Loaded
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.errors import ConfigurationError, DatabaseHeldError
from batchrunner.core.job import Job
from batchrunner.core.pricing import Price
from batchrunner.formats.pricefile import price_entry
from batchrunner.runner import commands
from batchrunner.runner.commands import (
    Aim,
    Answer,
    Cancel,
    Command,
    Done,
    Load,
    Pause,
    Refused,
    Resume,
    Retag,
    Retry,
    SetPrices,
    Tune,
)
from batchrunner.runner.mailbox import Letter, Mailbox, Vanished
from batchrunner.store.lock import hold
from batchrunner.wiring import attachments_folder

TAKE_WITHIN = 5.0
"""Seconds in which a run that serves its mailbox takes a command; it looks there five times a second."""
SILENT_FOR = 30.0
"""Seconds without a sign of life after which a run that took a command is said to be stuck."""
POLL = 0.05
PRICES_AT_ONCE = 500
"""Of one command: it has to fit into a letter."""

Limit = Literal["auto"]
Ref = str | Job


def ask(loaded: Loaded, make: Callable[[Reads], Command], *, wait: bool = False) -> Done:
    """Do what ``make`` says, here or by the run that holds the database; ``wait`` queues behind that run instead.

    Raises DatabaseHeldError where the holder takes no commands (it is loading, asking, or exporting), and whatever the
    command is refused for.
    """
    clock = SystemClock()
    while True:
        try:
            with session(loaded, wait=wait) as held:
                return held.do(make(held))
        except DatabaseHeldError as error:
            holder = error
        with reads(loaded) as read:
            data = commands.encode(_from_anywhere(make(read)))
        try:
            with Mailbox.open(loaded.settings.db, clock) as mailbox, mailbox.send(data) as letter:
                answer = _await(loaded, letter, holder, clock)
        except Vanished:
            continue
        if isinstance(answer, Refused):
            raise answer.error()
        if answer is not None:
            return answer


def _await(loaded: Loaded, letter: Letter, holder: DatabaseHeldError, clock: Clock) -> Answer | None:
    """Wait for the answer; None where the database is free meanwhile: then the command can be done here.

    It was done already if the run died between doing it and answering; doing it twice comes to the same.
    """
    until = clock.monotonic() + TAKE_WITHIN
    while True:
        data = letter.answer()
        if data is not None:
            return commands.answer(data)
        silent = letter.worked_on()
        if silent is None and clock.monotonic() > until and letter.withdraw():
            raise DatabaseHeldError(
                f"{holder.message}, and did not take the command within {TAKE_WITHIN:g} s: nothing was changed",
                hint="it may be loading, asking or exporting: try again later, or let the command queue with --wait",
            )
        if silent is not None and silent > SILENT_FOR:
            raise DatabaseHeldError(
                f"{holder.message}; it took the command, and is silent since {silent:.0f} s: it may still do it",
                hint="see whether it was stopped, and where the jobs stand: batchrunner status",
            )
        if _is_free(loaded):
            return None
        time.sleep(POLL)  # noqa: TID251 - for another process: there is no loop here, and nothing else to do


def _is_free(loaded: Loaded) -> bool:
    try:
        with hold(loaded.settings.db):
            return True
    except DatabaseHeldError:
        return False


def _from_anywhere(command: Command) -> Command:
    """Return the command as another process can do it, whose working folder and standard input are its own."""
    if not isinstance(command, Load):
        return command
    if command.path == "-":
        raise ConfigurationError(
            "standard input can't be handed to the run that holds the database",
            hint="save it to a file and load that, or let the load queue behind the run with --wait",
        )
    return msgspec.structs.replace(command, path=os.path.abspath(command.path))  # noqa: PTH100 - any bytes


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
