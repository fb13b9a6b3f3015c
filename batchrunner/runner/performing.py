"""Commands, done: what a command does to the store, whoever holds the database."""

from collections.abc import Generator, Sequence
from typing import cast

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job, JobOptions, JobState
from batchrunner.formats.prepared import Prepared
from batchrunner.runner import commands
from batchrunner.runner.commands import Cancel, Done, Load, PauseFact, Resume, Retry, targets
from batchrunner.runner.loader import Loaded, Loader, refuse_own_files
from batchrunner.store.base import Loading, Pause, Store

Tags = tuple[tuple[str, str], ...]
Steps = Generator[None, None, Done]
"""One transaction between two yields: a live run commits in between."""


def perform(store: Store, command: commands.Pause | Resume | Cancel | Retry, now: int) -> Steps:
    """Do a command, step by step. Raises ConfigurationError for a job that is not there, or is in the wrong state."""
    match command:
        case commands.Pause():
            return _pause(store, command, now)
        case Resume():
            return _resume(store, command, now)
        case Cancel():
            return _cancel(store, command)
        case Retry():
            return _take_back(store, command, now) if command.cancelled else _retry(store, command, now)


def at_once(steps: Steps) -> Done:
    """Take all steps of a command, one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Done, end.value)


def _pause(store: Store, command: commands.Pause, now: int) -> Steps:
    new = store.pause(targets(command.aims), command.reason, now)
    yield
    return Done(pauses=_views(new))


def _resume(store: Store, command: Resume, now: int) -> Steps:
    ended = store.resume(None if command.aims is None else targets(command.aims), now)
    yield
    return Done(pauses=_views(ended))


def _cancel(store: Store, command: Cancel) -> Steps:
    job = _job(store, command.job)
    if job.state is JobState.LOADING:
        raise ConfigurationError(f"job {job.id} ({job.name}) is not loaded yet", hint="wait for its load to end")
    store.cancel(job.id)
    yield
    rows = 0
    while moved := store.sweep():
        rows += moved
        yield
    return Done(rows=rows, job=_job(store, job.id))


def _take_back(store: Store, command: Retry, now: int) -> Steps:
    job = _job(store, command.job)
    store.reopen(job.id)
    yield
    rows = 0
    while moved := store.take_back(job.id, now):
        rows += moved
        yield
    return Done(rows=rows, job=_job(store, job.id))


def _retry(store: Store, command: Retry, now: int) -> Steps:
    job = refuse_cancelled(_job(store, command.job))
    kinds, ids, quarantined, flagged = command.kinds, command.custom_ids, command.quarantined, command.flagged
    rows = store.retry(job.id, kinds=kinds, custom_ids=ids, quarantined=quarantined, flagged=flagged, now=now)
    yield
    return Done(rows=rows, job=job)


def refuse_cancelled(job: Job) -> Job:
    """Return the job. Raises ConfigurationError, with the way back, for one that was cancelled."""
    if job.state is JobState.CANCELLED:
        raise ConfigurationError(
            f"job {job.id} ({job.name}) was cancelled",
            hint=f"batchrunner retry {job.name} --cancelled takes it back; then run it",
        )
    return job


def load(loader: Loader, command: Load, db: str) -> Loaded:
    """Queue the file of a command, or find the job that it already is. Raises InputError, ConfigurationError."""
    refuse_own_files(command.path, db)
    done = loader.load(command.path, command.options, name=command.name, tags=command.tags, add=command.add)
    refuse_cancelled(done.job)
    return done


def load_prepared(
    loader: Loader, prepared: Prepared, options: JobOptions, *, name: str | None, tags: Tags, add: bool
) -> Loaded:
    """Queue what rows and a template make, or find the job that it already is. Raises as ``load``."""
    done = loader.load_file(prepared, options, name=name, tags=tags, add=add)
    refuse_cancelled(done.job)
    return done


def _job(store: Loading, job_id: int) -> Job:
    found = next((job for job in store.jobs() if job.id == job_id), None)
    if found is None:
        raise ConfigurationError(f"there is no job {job_id} any more", hint="batchrunner status lists the jobs")
    return found


def _views(pauses: Sequence[Pause]) -> tuple[PauseFact, ...]:
    return tuple(PauseFact(**pause._asdict()) for pause in pauses)
