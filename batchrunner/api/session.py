"""The right to write: one process at a time holds a database, loads into it and runs from it."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchrunner.api.corpora import Embeds
from batchrunner.api.estimate import Estimate, estimate
from batchrunner.api.prepare import Recipe, open_prepared
from batchrunner.api.reads import Reads
from batchrunner.api.tuning import tuned
from batchrunner.config import Loaded as LoadedSettings
from batchrunner.config import limits_for
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job, JobOptions
from batchrunner.runner import performing
from batchrunner.runner.commands import Cancel, Command, Done, Load, Pause, Resume, Retry
from batchrunner.runner.control import Control
from batchrunner.runner.exporter import check_target
from batchrunner.runner.live import Live
from batchrunner.runner.loader import Loaded, Loader
from batchrunner.runner.mailbox import sweep
from batchrunner.runner.offload import Offload, ThreadOffload
from batchrunner.runner.report import RunReport
from batchrunner.runner.run import Run
from batchrunner.runner.selection import first, sample
from batchrunner.runner.storage import take_in
from batchrunner.store.artifacts import Unnamed
from batchrunner.store.base import ALL, Reader, Rescue, Selection, TakenIn
from batchrunner.store.database import SqliteStore
from batchrunner.store.disk import Disk
from batchrunner.transport.base import Transport
from batchrunner.wiring import (
    Access,
    access,
    allow_connections,
    attachments,
    attachments_folder,
    care_of,
    figures,
    patience_of,
    price_book,
    reading,
    run_parts,
    tokenizer,
    writing,
)

_FILES = (".jsonl", ".gz", ".json")


def _files_thread() -> Offload:
    return ThreadOffload("batchrunner-files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a test hands in instead of the real thing."""

    clock: Clock | None = None
    dice: Callable[[], float] | None = None
    transport: Callable[[str], Transport] | None = None
    control: bool = False
    """Whether the run looks into its mailbox: a clock that jumps would look there very often."""
    offload: Callable[[], Offload] = ThreadOffload
    """Makes what runs the store's calls; inline for a clock that jumps."""
    file_offload: Callable[[], Offload] = _files_thread
    """Makes what reads the files that rows refer to."""


class Session(Reads, Embeds):
    """A held database: everything that can be read, and everything that can be done. Made by ``session``."""

    def __init__(
        self, loaded: LoadedSettings, store: SqliteStore, reader: Reader, rescue: Rescue, taken: TakenIn
    ) -> None:
        super().__init__(reader)
        self.loaded = loaded
        self.rescue = rescue
        """What the last runner left open when it died: closed as lost, and queued again."""
        self.taken = taken
        """What the last run had put by beside the database, when that took nothing more."""
        self.settings = loaded.settings
        self._store = store

    def find(self, ref: str) -> Job | None:
        """Return the job of this number or name; None where it is a file, or was meant to be one.

        Raises ConfigurationError for what is neither.
        """
        if Path(ref).exists() or ref == "-":
            return None
        try:
            return performing.refuse_cancelled(self.job(ref))
        except ConfigurationError:
            if "/" in ref or ref.endswith(_FILES):
                return None  # "can't open it" tells more of a misspelled path than "there is no such job"
            raise

    def load(
        self,
        path: str,
        options: JobOptions | None = None,
        *,
        name: str | None = None,
        tags: tuple[tuple[str, str], ...] | None = None,
        add: bool = False,
    ) -> Loaded:
        """Queue a job file, or find the job that it already is. Raises InputError."""
        tags = self.settings.tags if tags is None else tags
        command = Load.of(path, options or self.settings.job, name=name, tags=tags, add=add)
        return self._load(command)

    def load_prepared(self, source: str, recipe: Recipe, *, name: str | None = None, add: bool = False) -> Loaded:
        """Queue the requests that rows and a template make, or find the job that they already are: it is known by the
        content of both. Raises InputError, ConfigurationError.
        """
        settings = self.settings
        loader = Loader(self._store, SystemClock(), attachments(settings), settings.providers)
        with tuned(), open_prepared(source, recipe, settings) as prepared:
            return performing.load_prepared(loader, prepared, settings.job, name=name, tags=settings.tags, add=add)

    def _load(self, command: Load) -> Loaded:
        with tuned():
            files, counter = attachments(self.settings), tokenizer(self.settings)
            loader = Loader(self._store, SystemClock(), files, self.settings.providers, counter)
            return performing.load(loader, command, self._store.path)

    def retry(
        self,
        job: Job,
        *,
        kinds: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
        quarantined: bool = False,
        flagged: bool = False,
    ) -> int:
        """Queue failed requests again, all or by kind or id, or those in quarantine, or those with a flagged answer;
        return how many.
        """
        which = {"quarantined": quarantined, "flagged": flagged}
        return self.do(Retry(job=job.id, kinds=tuple(kinds), custom_ids=tuple(custom_ids), **which)).rows

    def do(self, command: Command) -> Done:
        """Do a command, as a live run would. Raises what it is refused for; ``tune`` needs a live run."""
        if isinstance(command, Load):
            return Done(loaded=self._load(command))
        if isinstance(command, Pause | Resume | Cancel | Retry):
            return performing.at_once(performing.perform(self._store, command, SystemClock().now()))
        raise ConfigurationError(
            "no run is going on, so there is nothing to tune",
            hint="give the limits to the next run: batchrunner run --concurrency N --rpm N --tpm N",
        )

    def remove_unnamed(self) -> Unnamed:
        """Remove the files of the artifacts folder that no row names; return how many they were."""
        return self._store.remove_unnamed()

    def select(
        self, jobs: Sequence[Job] | None, *, limit: int | None = None, sample_of: int | None = None
    ) -> Selection:
        """Choose what a run works on: all that is queued, the first ``limit``, or ``sample_of`` at random."""
        if limit is None and sample_of is None:
            return ALL
        queued = self._reader.queued_ids(_ids(jobs))
        if limit is not None:
            return first(queued, limit)
        return sample(queued, sample_of or 0, seed=",".join(job.key for job in jobs or ()))

    def estimate(self, jobs: Sequence[Job] | None, selection: Selection = ALL) -> Estimate:
        """Estimate what the queued requests will take, by what earlier answers of their models taught."""
        workloads = self._reader.workload(_ids(jobs), selection)
        learned = {work.lane.id: figures(self._store.learned(work.lane.id)) for work in workloads}
        counted = self.settings.tokenizer is not None
        return estimate(workloads, price_book(self.settings), SystemClock().now(), learned, counted=counted)

    def short_of_room(self, estimate: Estimate, vectors: int = 0) -> str | None:
        """Say that the disk will probably not hold the answers, and so many bytes of vectors; None: it will."""
        return Disk(self._store.path).short(estimate.bytes + vectors)

    def unfinished(self, jobs: Sequence[Job] | None) -> bool:
        """Return whether anything is queued, or was left open by a runner that died."""
        return self._store.remaining(_ids(jobs))[0] > 0

    def providers(self, jobs: Sequence[Job] | None) -> list[str]:
        """Return the providers whose lanes have something queued."""
        lanes = self._store.work(_ids(jobs))
        return list(dict.fromkeys(item.lane.provider for item in lanes))

    def plan(
        self, jobs: Sequence[Job] | None, selection: Selection = ALL, *, outside: Outside | None = None
    ) -> "Planned":
        """Put a run together. Raises ConfigurationError where a key is missing."""
        outside = outside or Outside(control=True)
        self.jobs()  # a job that can't be read has to be found before anything is bought
        self._check_deadline()
        self._check_attachments(jobs)
        for job in jobs or ():
            performing.refuse_cancelled(job)
        providers = self.providers(jobs)
        keys = Access(keys={}) if outside.transport else access(self.loaded, providers)
        concurrency = self._concurrency(jobs)
        offload = outside.offload()
        parts = run_parts(
            self.loaded,
            keys,
            self._store,
            offload,
            concurrency=concurrency,
            file_offload=outside.file_offload(),
            clock=outside.clock,
            dice=outside.dice,
            transport=outside.transport,
        )
        run = Run(
            parts=parts,
            jobs=_ids(jobs),
            concurrency=concurrency,
            grace=self.settings.grace,
            selection=selection,
            control=self._control(parts.clock) if outside.control else None,
        )
        return Planned(run, offload)

    def _check_deadline(self) -> None:
        if patience_of(self.settings).seconds(SystemClock().now()) == 0:
            raise ConfigurationError(
                f"--until {self.settings.until} has passed", hint="give a time that lies ahead, such as --until 06:30"
            )

    def _check_attachments(self, jobs: Sequence[Job] | None) -> None:
        """Refuse to begin where rows would fail one after the other for want of a flag."""
        if self.settings.attachments is None and self._store.refers_to_files(_ids(jobs)):
            raise ConfigurationError(
                "queued rows refer to local files, and no folder was named to read them from",
                hint="--attachments DIR names it; it belongs to a run, and is not remembered",
            )

    def _control(self, clock: Clock) -> Callable[[Live], Coroutine[Any, Any, None]]:
        return Control(
            self._store.path,
            self._store,
            clock,
            providers=self.settings.providers,
            allow=allow_connections,
            attachments=attachments(self.settings),
            folder=attachments_folder(self.settings),
            tokenizer=tokenizer(self.settings),
        ).serve

    def _concurrency(self, jobs: Sequence[Job] | None) -> int:
        """Return the bound over all lanes: what was asked for, else what the widest lane allows."""
        if self.settings.insisted.concurrency is not None:
            return self.settings.insisted.concurrency
        lanes = (item.lane for item in self._store.work(_ids(jobs)))
        return max((limits_for(self.settings, lane.provider, lane.model).concurrency for lane in lanes), default=1)

    def check_target(self, job: Job, out: str, *, force: bool = False) -> None:
        """Raise ConfigurationError where ``out`` exists and this job did not write it, unless ``force`` is set."""
        check_target(self._reader, job, out, force=force)


@dataclass(slots=True)
class Planned:
    """A run that is ready to start."""

    run: Run
    offload: Offload

    async def execute(self) -> RunReport:
        """Run it, with the process tuned for a busy loop beside a database thread."""
        with tuned():
            try:
                return await self.run.execute()
            finally:
                self.offload.close()
                if self.run.parts.file_offload is not None:
                    self.run.parts.file_offload.close()


@contextmanager
def session(loaded: LoadedSettings, *, wait: bool = False) -> Iterator[Session]:
    """Hold the database of these settings. Raises DatabaseHeldError, unless ``wait`` queues behind the holder."""
    db, now = loaded.settings.db, SystemClock().now()
    with writing(db, wait=wait, care=care_of(loaded.settings)) as store, reading(db) as reader:
        taken = take_in(store, store.path, now)  # before the rescue: what was answered is not lost
        try:
            yield Session(loaded, store, reader, store.rescue(now), taken)
        finally:
            Disk(store.path).free_ballast()  # also that of a run that was killed
            sweep(store.path, SystemClock())


def _ids(jobs: Sequence[Job] | None) -> list[int] | None:
    return None if jobs is None else [job.id for job in jobs]
