"""Commands, done: by whoever holds the database itself, or by a live run for who found it held."""

import os
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar, cast

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal

from batchrunner.core.attachments import Attachments
from batchrunner.core.clock import Clock
from batchrunner.core.errors import BatchrunnerError, ConfigurationError
from batchrunner.core.job import Job, JobState
from batchrunner.runner import commands
from batchrunner.runner.across import Across
from batchrunner.runner.commands import Cancel, Command, Done, Load, PauseFact, Refused, Resume, Retry, Tune, targets
from batchrunner.runner.live import Live
from batchrunner.runner.loader import Loaded, Loader, refuse_own_files
from batchrunner.runner.mailbox import Mailbox, Taken
from batchrunner.store.base import Loading, Pause, Store

EVERY = 0.2
"""Seconds between two looks into the mailbox."""

T = TypeVar("T")
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


def load(
    store: Loading, clock: Clock, command: Load, db: str, attachments: Attachments | None, providers: Collection[str]
) -> Loaded:
    """Queue the file of a command, or find the job that it already is. Raises InputError, ConfigurationError."""
    refuse_own_files(command.path, db)
    loader = Loader(store, clock, attachments, providers)
    done = loader.load(command.path, command.options, name=command.name, tags=command.tags, add=command.add)
    refuse_cancelled(done.job)
    return done


def _job(store: Loading, job_id: int) -> Job:
    found = next((job for job in store.jobs() if job.id == job_id), None)
    if found is None:
        raise ConfigurationError(f"there is no job {job_id} any more", hint="batchrunner status lists the jobs")
    return found


def _views(pauses: Sequence[Pause]) -> tuple[PauseFact, ...]:
    return tuple(PauseFact(**pause._asdict()) for pause in pauses)


class Control:
    """Serves the mailbox of a database for as long as a run holds it."""

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        db: str,
        store: Store,
        clock: Clock,
        *,
        providers: Collection[str],
        allow: Callable[[int], None],
        attachments: Attachments | None = None,
        folder: str | None = None,
    ) -> None:
        """``providers`` are configured here, ``attachments`` lie in ``folder``; ``allow`` allows calls, or raises."""
        self._db = db
        self._store = store
        self._clock = clock
        self._providers = providers
        self._allow = allow
        self._attachments = attachments
        self._folder = folder
        self._working: list[Taken] = []
        self._loading = anyio.Lock()
        self._ending = False

    async def serve(self, live: Live) -> None:
        """Take commands, do them and answer them, until cancelled.

        A mailbox that can't be trusted, or can't be used, is left alone: the run goes on, and senders are told the same
        reason.
        """
        try:
            mailbox = Mailbox.open(self._db, self._clock)
        except (BatchrunnerError, OSError):
            return
        with mailbox:
            with suppress(OSError):
                mailbox.clear()
            try:
                async with anyio.create_task_group() as tasks:
                    await self._look(live, mailbox, tasks)
            finally:
                with suppress(OSError):
                    mailbox.remove()

    async def _look(self, live: Live, mailbox: Mailbox, tasks: TaskGroup) -> None:
        try:
            while True:
                with suppress(OSError):  # out of descriptors, say: the commands are still there at the next look
                    self._take(live, mailbox, tasks)
                live.dispatcher.recall()
                await anyio.sleep(EVERY)
        finally:
            self._ending = True

    def _take(self, live: Live, mailbox: Mailbox, tasks: TaskGroup) -> None:
        for taken in mailbox.take():
            self._working.append(taken)
            tasks.start_soon(self._answer, live, mailbox, taken)
        for taken in self._working:
            mailbox.touch(taken)

    async def _answer(self, live: Live, mailbox: Mailbox, taken: Taken) -> None:
        try:
            command = commands.command(taken.data)
        except ValueError:
            answer: commands.Answer = Refused(
                kind="configuration",
                message="the run that is going on does not understand this command",
                hint="it may be of another version; let the command queue behind it with --wait",
            )
        else:
            try:
                answer = await self._try(live, command)
            except _RunEnds:
                return
        data = commands.encode(answer)
        # What was done is answered, even if the run ends just now. Where it can't be written, its sender hears nothing.
        with anyio.CancelScope(shield=True), suppress(OSError):
            await live.offload.run(lambda: mailbox.answer(taken, data))
        self._working.remove(taken)
        if isinstance(answer, Done) and answer.loaded is not None:
            await live.refresh()
            live.end_load()

    async def _try(self, live: Live, command: Command) -> commands.Answer:
        try:
            return await self._act(live, command)
        except BatchrunnerError as error:
            return Refused.of(error)
        except _RunEnds:
            raise
        except Exception as error:  # noqa: BLE001 - its sender is told; a night's run does not end for a command
            return Refused(kind="bug", message=f"a bug in batchrunner: {type(error).__name__}: {error}"[:2_000])

    async def _act(self, live: Live, command: Command) -> Done:
        if isinstance(command, Tune):
            if isinstance(command.concurrency, int):
                self._allow(command.concurrency)
            lanes = tuple(live.tune(command))
            return Done(lanes=lanes, concurrency=live.concurrency, air=live.dispatcher.air, live=True)
        if isinstance(command, Load):
            return await self._load(live, command)
        if isinstance(command, Cancel):
            await live.forget(command.job)
        try:
            done = await self._stepwise(live, perform(self._store, command, self._clock.now()))
        finally:
            await live.refresh()
        about = done.job is None or live.works_on(done.job.id)
        return msgspec.structs.replace(done, air=live.dispatcher.air, live=about)

    async def _stepwise(self, live: Live, steps: Steps) -> Done:
        """Take the steps in the database thread, among the run's own commits."""

        def step() -> Done | None:
            try:
                next(steps)
            except StopIteration as end:
                return cast(Done, end.value)
            return None

        while (done := await live.offload.run(step)) is None:
            pass
        return done

    def _across(self, live: Live, portal: BlockingPortal, call: Callable[[], T]) -> T:
        """Do a call of another thread in the database thread."""
        if self._ending:
            raise _RunEnds
        return portal.call(live.offload.run, call)

    async def _load(self, live: Live, command: Load) -> Done:
        """Load beside the run: the file is read in a thread of its own, each write is done among the run's own."""
        if command.provider not in self._providers:
            raise ConfigurationError(
                f"the run that is going on has no provider {command.provider!r}",
                hint="let the load queue behind it with --wait",
            )
        if not os.path.isabs(command.path):  # noqa: PTH117 - a path of any bytes
            raise ConfigurationError("a path for a live run must be absolute", hint="give the whole path")
        command.refuse_other_folder(self._folder)
        live.begin_load()
        # A thread can't be cancelled: when the run ends, the next thing that it asks of the store ends it.
        with anyio.CancelScope(shield=True):
            async with self._loading, BlockingPortal() as portal:
                across = cast(Loading, Across(self._store, partial(self._across, live, portal)))
                known = self._attachments, self._providers
                work = partial(load, across, self._clock, command, self._db, *known)
                loaded = await anyio.to_thread.run_sync(_caught, work)
        if isinstance(loaded, Exception):
            live.end_load()
            raise loaded
        return Done(loaded=loaded, live=live.works_on(loaded.job.id), air=live.dispatcher.air)


def _caught(work: Callable[[], T]) -> T | Exception:
    """Return what it raises: the portal beside it would wrap an error in a group."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - raised by who called this
        return error


class _RunEnds(Exception):  # noqa: N818 - always caught here
    """A load was cut off: its sender will find the database free, and load the file itself."""
