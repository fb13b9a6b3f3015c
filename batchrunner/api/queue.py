"""``batchrunner.open``: the queue as an async context, and the same for programs that do not await."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import islice
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from batchrunner.api import verbs
from batchrunner.api.accounting import Accounting, BlockingAccounting, Ref, ref_of
from batchrunner.api.embedding import BlockingEmbedding, Embedding
from batchrunner.api.estimate import Estimate
from batchrunner.api.reads import reads
from batchrunner.api.session import Planned, Session, session
from batchrunner.api.values import JobStatus, Result
from batchrunner.config import Loaded as LoadedSettings
from batchrunner.config import load_here
from batchrunner.core.job import Job
from batchrunner.formats.base import ExportSummary
from batchrunner.runner.report import RunReport
from batchrunner.runner.snapshot import Snapshot
from batchrunner.store.base import FailureGroup

T = TypeVar("T")
PAGE = 500
SNAPSHOT_EVERY = 0.5


class Queue(Embedding, Accounting):
    """One database of jobs. It is held, against other writers, only while something is loaded, run or retried.

    While a run holds it, here or in another process, the verbs that write ask that run.

    ::

        async with batchrunner.open("queue.db") as queue:
            job = await queue.load("jobs.jsonl")
            await queue.run(job)
            async for result in queue.results(job):
                print(result.custom_id, result.text)
    """

    def __init__(self, loaded: LoadedSettings) -> None:
        self._loaded = loaded

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def load(self, path: str | PathLike[str], *, name: str | None = None, add: bool = False) -> Job:
        """Queue a job file, or find the job that it already is. Raises InputError with the bad lines."""
        done = await self._asking(verbs.load, str(path), name=name, add=add)
        assert done.loaded is not None  # noqa: S101 - for the type checker: a load that was done has loaded
        return done.loaded.job

    async def estimate(self, *jobs: Ref) -> Estimate:
        """Estimate what the queued requests will take, and cost."""
        return await self._writing(lambda held: held.estimate(_found(held, jobs)))

    async def run(
        self, *jobs: Ref, limit: int | None = None, progress: Callable[[Snapshot], None] | None = None
    ) -> RunReport:
        """Work on these jobs, or on the whole queue, until nothing is left that can be done now.

        It spends without asking. No signal handler is installed: cancelling the task around it stops the run, and
        what was in the air is counted as lost by the next one. ``progress`` is called twice a second; its snapshots
        tell what the run will have cost at its end.
        """
        with ExitStack() as stack:
            held = await anyio.to_thread.run_sync(partial(stack.enter_context, session(self._loaded)))
            chosen = _found(held, jobs)
            selection = await anyio.to_thread.run_sync(partial(held.select, chosen, limit=limit))
            looked = await anyio.to_thread.run_sync(partial(held.estimate, chosen, selection)) if progress else None
            return await _run(held.plan(chosen, selection, estimate=looked), progress)

    async def retry(
        self,
        job: Ref,
        *,
        kinds: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
        quarantined: bool = False,
        flagged: bool = False,
    ) -> int:
        """Queue failed requests again, all or by kind or id, or those in quarantine, or those with a flagged answer;
        return how many.
        """
        which = {"kinds": kinds, "custom_ids": custom_ids, "quarantined": quarantined, "flagged": flagged}
        return (await self._asking(verbs.retry, ref_of(job), **which)).rows

    async def pause(
        self, job: Ref | None = None, *, model: str | None = None, provider: str | None = None, reason: str = ""
    ) -> None:
        """Hold back a job, a model or a provider until ``resume``, also of a run that is going on; else every job."""
        named = None if job is None else ref_of(job)
        await self._asking(verbs.pause, named, model=model, provider=provider, reason=reason)

    async def resume(self, job: Ref | None = None, *, model: str | None = None, provider: str | None = None) -> None:
        """Go on with what ``pause`` held back; without arguments, with all of it."""
        await self._asking(verbs.resume, None if job is None else ref_of(job), model=model, provider=provider)

    async def cancel(self, job: Ref) -> int:
        """Cancel what is queued of a job, return how many; calls in flight land and are kept."""
        return (await self._asking(verbs.cancel, ref_of(job))).rows

    async def export(self, job: Ref, out: str | PathLike[str], *, force: bool = False) -> ExportSummary:
        """Write a job's results to a JSONL, CSV or Parquet file, its failures beside it."""
        return await self._reading(lambda read: read.export(ref_of(job), str(out), force=force))

    async def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return await self._reading(lambda read: read.jobs())

    async def status(self, job: Ref) -> JobStatus:
        """Return where a job stands."""
        return await self._reading(lambda read: read.status(ref_of(job)))

    async def failures(self, job: Ref) -> list[FailureGroup]:
        """Return a job's failures by kind, most frequent first."""
        return await self._reading(lambda read: read.failures(ref_of(job)))

    async def results(self, job: Ref) -> AsyncIterator[Result]:
        """Yield every request of a job in input order, finished or not, a page at a time."""
        with ExitStack() as stack:
            read = stack.enter_context(reads(self._loaded))
            rows = read.results(ref_of(job))
            while page := await anyio.to_thread.run_sync(lambda: list(islice(rows, PAGE))):
                for result in page:
                    yield result

    async def _asking(self, verb: Callable[..., T], *given: Any, **named: Any) -> T:
        return await anyio.to_thread.run_sync(partial(verb, self._loaded, *given, **named))

    async def _writing(self, act: Callable[[Session], T]) -> T:
        return await anyio.to_thread.run_sync(partial(_within, session(self._loaded), act))

    async def _reading(self, act: Callable[[Any], T]) -> T:
        return await anyio.to_thread.run_sync(partial(_within, reads(self._loaded), act))


class BlockingQueue(BlockingEmbedding, BlockingAccounting):
    """The same queue for programs that do not await; it works inside Jupyter too.

    ::

        with batchrunner.open_blocking("queue.db") as queue:
            job = queue.load("jobs.jsonl")
            queue.run(job)
            for result in queue.results(job):
                print(result.custom_id, result.text)
    """

    def __init__(self, queue: Queue) -> None:
        BlockingEmbedding.__init__(self, queue)
        BlockingAccounting.__init__(self, queue)
        self._queue = queue
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal = None
        self._stack.close()

    def load(self, path: str | PathLike[str], *, name: str | None = None, add: bool = False) -> Job:
        """See ``Queue.load``."""
        return self._wait(partial(self._queue.load, path, name=name, add=add))

    def estimate(self, *jobs: Ref) -> Estimate:
        """See ``Queue.estimate``."""
        return self._wait(partial(self._queue.estimate, *jobs))

    def run(
        self, *jobs: Ref, limit: int | None = None, progress: Callable[[Snapshot], None] | None = None
    ) -> RunReport:
        """See ``Queue.run``."""
        return self._wait(partial(self._queue.run, *jobs, limit=limit, progress=progress))

    def retry(
        self,
        job: Ref,
        *,
        kinds: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
        quarantined: bool = False,
        flagged: bool = False,
    ) -> int:
        """See ``Queue.retry``."""
        asked = partial(self._queue.retry, kinds=kinds, custom_ids=custom_ids, quarantined=quarantined, flagged=flagged)
        return self._wait(partial(asked, job))

    def pause(
        self, job: Ref | None = None, *, model: str | None = None, provider: str | None = None, reason: str = ""
    ) -> None:
        """See ``Queue.pause``."""
        self._wait(partial(self._queue.pause, job, model=model, provider=provider, reason=reason))

    def resume(self, job: Ref | None = None, *, model: str | None = None, provider: str | None = None) -> None:
        """See ``Queue.resume``."""
        self._wait(partial(self._queue.resume, job, model=model, provider=provider))

    def cancel(self, job: Ref) -> int:
        """See ``Queue.cancel``."""
        return self._wait(partial(self._queue.cancel, job))

    def export(self, job: Ref, out: str | PathLike[str], *, force: bool = False) -> ExportSummary:
        """See ``Queue.export``."""
        return self._wait(partial(self._queue.export, job, out, force=force))

    def jobs(self) -> list[Job]:
        """See ``Queue.jobs``."""
        return self._wait(self._queue.jobs)

    def status(self, job: Ref) -> JobStatus:
        """See ``Queue.status``."""
        return self._wait(partial(self._queue.status, job))

    def failures(self, job: Ref) -> list[FailureGroup]:
        """See ``Queue.failures``."""
        return self._wait(partial(self._queue.failures, job))

    def results(self, job: Ref) -> Iterator[Result]:
        """See ``Queue.results``."""
        with reads(self._queue._loaded) as read:  # noqa: SLF001 - the two faces are one
            yield from read.results(ref_of(job))

    def _wait(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._portal is None:
            raise RuntimeError("use the queue inside `with`")
        return self._portal.call(call)


def open(db: str | PathLike[str] | None = None, **settings: object) -> Queue:
    """Return the queue in a database, made when something is first loaded.

    ``settings`` are the command line's: ``provider``, ``base_url``, ``concurrency``, ``rpm``, ``tpm``, ``config``, ...;
    what is not given comes from files and environment as it does there. Raises ConfigurationError.
    """
    flags = dict(settings)
    if db is not None:
        flags["db"] = str(db)
    return Queue(load_here(flags))


def open_blocking(db: str | PathLike[str] | None = None, **settings: object) -> BlockingQueue:
    """Return the queue for a program that does not await; see ``open``."""
    return BlockingQueue(open(db, **settings))


async def _run(planned: Planned, progress: Callable[[Snapshot], None] | None) -> RunReport:
    async with anyio.create_task_group() as beside:
        if progress is not None:
            beside.start_soon(_tell, planned, progress)
        report = await planned.execute()
        beside.cancel_scope.cancel()
    return report


async def _tell(planned: Planned, progress: Callable[[Snapshot], None]) -> None:
    while True:
        await anyio.sleep(SNAPSHOT_EVERY)
        progress(planned.run.snapshot())


def _within(context: AbstractContextManager[Any], act: Callable[[Any], T]) -> T:
    with context as entered:
        return act(entered)


def _found(held: Session, jobs: Sequence[Ref]) -> list[Job] | None:
    return [held.job(ref_of(job)) for job in jobs] or None
