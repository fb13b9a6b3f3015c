"""Commands of other processes, done by the run that holds the database and answered in its mailbox."""

import os
from collections.abc import Callable, Collection
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
from batchrunner.core.estimate import Tokenizer
from batchrunner.runner import commands
from batchrunner.runner.across import Across
from batchrunner.runner.commands import (
    Cancel,
    Command,
    Done,
    Load,
    Refused,
    RemoveBudget,
    Retag,
    SetBudget,
    SetPrices,
    Tune,
)
from batchrunner.runner.live import Live
from batchrunner.runner.loader import Loader
from batchrunner.runner.mailbox import Mailbox, Taken
from batchrunner.runner.performing import Steps, load, perform
from batchrunner.store.base import Loading, Store

EVERY = 0.2
"""Seconds between two looks into the mailbox."""

T = TypeVar("T")


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
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """``providers`` are configured here, ``attachments`` lie in ``folder``; ``allow`` allows calls, or raises."""
        self._tokenizer = tokenizer
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
            await live.recount()  # what was loaded may have tags that the budgets do not know
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
            if command.max_cost is not None:
                await live.recap(command.max_cost)
            lanes = tuple(live.tune(command))
            return Done(lanes=lanes, concurrency=live.concurrency, air=live.dispatcher.air, live=True)
        if isinstance(command, Load):
            return await self._load(live, command)
        if isinstance(command, SetPrices):
            done = await self._stepwise(live, perform(self._store, command, self._clock.now()))
            await live.reprice()
            return msgspec.structs.replace(done, air=live.dispatcher.air, live=True)
        if isinstance(command, Cancel):
            await live.forget(command.job)
        try:
            done = await self._stepwise(live, perform(self._store, command, self._clock.now()))
            if isinstance(command, SetBudget | RemoveBudget | Retag):
                await live.recount()
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
                loader = Loader(across, self._clock, self._attachments, self._providers, self._tokenizer)
                work = partial(load, loader, command, self._db)
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
