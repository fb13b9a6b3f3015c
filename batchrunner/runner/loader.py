"""Job files into the queue: all of a file or nothing of it."""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from batchrunner.core.attachments import Attachments
from batchrunner.core.clock import Clock
from batchrunner.core.crashpoint import reached
from batchrunner.core.errors import ConfigurationError, InputError, Problem
from batchrunner.core.estimate import Tokenizer
from batchrunner.core.job import Job, JobOptions, JobSource, JobState
from batchrunner.core.request import NewRequest
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.formats.jobfile import iter_lines
from batchrunner.formats.prepared import Prepared
from batchrunner.formats.source import Source, open_source
from batchrunner.runner.compile import Compiler
from batchrunner.store.base import DuplicateIds, Loading

CHUNK = 5_000
"""Lines per transaction: few enough for memory to stay flat, many enough for the commit to cost nothing."""
COPIED = tuple(path for path, endpoint in BY_PATH.items() if not hasattr(endpoint, "parts"))
"""Endpoints at which one answer can stand for several lines: all but those that make files, of which each is a work."""
SHOWN = 20
"""Problems that are kept to be shown; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a load did."""

    job: Job
    added: int
    """Requests that are new in the queue; 0 where the job was there already."""
    changed: int = 0
    """Lines of an ``--add`` whose body differs from the one that was loaded: left as they were."""
    gone: int = 0
    """Requests of the job that the file no longer has."""
    copies: int = 0
    """Lines of a whole file that are not sent, as an earlier one has the same body."""


class Problems:
    """Bad lines: the first few to show, and how many there are."""

    def __init__(self) -> None:
        self.first: list[Problem] = []
        self.count = 0

    def add(self, problem: Problem) -> None:
        """Count a bad line, and keep it if it is one of the first."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(problem)

    def refuse(self, path: str) -> InputError:
        """Return the error that refuses the file."""
        lines = "1 bad line" if self.count == 1 else f"{self.count:,} bad lines"
        first = tuple(sorted(self.first, key=lambda problem: problem.line))
        hint = "mend the lines above and run the same command again"
        return InputError(
            f"{path}: {lines}; nothing was stored, nothing was sent",
            hint=hint,
            path=path,
            problems=first,
            count=self.count,
        )


def identity(source: JobSource, options: JobOptions) -> str:
    """Return the key of a job: SHA-256 hex over its content, its provider and the options that change bodies."""
    parts: list[object] = [source.sha256, options.provider, options.endpoint, options.model, options.settings]
    if options.stream:  # else nothing: the keys of the first release stay as they are
        parts.append(["stream", options.stream_usage])
    if options.dedupe:
        parts.append("dedupe")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Loader:
    """Loads job files into a store that this process may write to."""

    def __init__(
        self,
        store: Loading,
        clock: Clock,
        attachments: Attachments | None = None,
        providers: Collection[str] = (),
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """``attachments`` are the local files that lines may refer to; None: they may not. ``providers`` are the
        configured ones, which lines may ask for by name. ``tokenizer`` counts tokens, which are guessed without.
        """
        self._tokenizer = tokenizer
        self._store = store
        self._clock = clock
        self._attachments = attachments
        self._providers = providers

    def load(
        self,
        path: str,
        options: JobOptions,
        *,
        name: str | None = None,
        tags: tuple[tuple[str, str], ...] = (),
        add: bool = False,
    ) -> Loaded:
        """Queue a job file, or find the job that it already is.

        Raises InputError for a file with bad lines, a file that changed since it was loaded (unless ``add``), and a
        file that was loaded with other options (unless ``name`` asks for a second job).
        """
        with open_source(path) as file:
            return self.load_file(file, options, name=name, tags=tags, add=add)

    def load_file(
        self,
        file: Source | Prepared,
        options: JobOptions,
        *,
        name: str | None,
        tags: tuple[tuple[str, str], ...],
        add: bool,
    ) -> Loaded:
        """Queue an open job file, or rows and a template that make one; otherwise as ``load``."""
        source = self._fingerprint(file)
        key = identity(source, options)
        known = self._store.job_by_key(key)
        if known is not None and known.state is not JobState.LOADING:
            return Loaded(job=known, added=0)
        if known is not None:
            self._store.discard(known.id)
        earlier = self._earlier(source, options)
        if earlier is not None and add:
            return self._add(earlier, file, source, options, key)
        if earlier is not None and name is None:
            raise self._changed(earlier, file, options)
        if name is None:
            self._refuse_other_options(source, options)
        job = self._store.create_job(
            key=key, name=name or _stem(source.path), source=source, options=options, tags=tags, now=self._clock.now()
        )
        return self._fill(job, file, source, key)

    def _compiler(self, options: JobOptions) -> Compiler:
        return Compiler(options, self._attachments, self._providers, self._tokenizer)

    def _fingerprint(self, file: Source | Prepared) -> JobSource:
        """Hash the file, unless a job was loaded from it and size and modification time are as they were."""
        for job in self._store.jobs_by_path(file.path):
            if file.mtime_ns and (job.source.size, job.source.mtime_ns) == (file.size, file.mtime_ns):
                return job.source
        return file.fingerprint()

    def _earlier(self, source: JobSource, options: JobOptions) -> Job | None:
        """Return the newest job that was loaded from this path with these options, from other content."""
        if source.path == "-":
            return None
        jobs = self._store.jobs_by_path(source.path)
        return next((job for job in jobs if job.options == options and job.state is JobState.OPEN), None)

    def _refuse_other_options(self, source: JobSource, options: JobOptions) -> None:
        for job in self._store.jobs():
            if job.source.sha256 == source.sha256 and job.options != options and job.state is JobState.OPEN:
                raise InputError(
                    f"{source.path} is already job {job.id} ({job.name}), loaded with other options"
                    f" ({_difference(job.options, options)})",
                    hint=f"continue it with the same options, or load a second job with --name {job.name}-2",
                )

    def _fill(self, job: Job, file: Source | Prepared, source: JobSource, key: str) -> Loaded:
        problems = Problems()
        try:
            self._store_all(job.id, chunks(file, self._compiler(job.options), problems), problems)
            if problems.count:
                raise problems.refuse(source.path)
            copies = self._store.mark_copies(job.id, COPIED) if job.options.dedupe else 0
            reached("load.seal")
            job = self._store.seal(job.id, source, key)
        except BaseException:
            self._store.discard(job.id)
            raise
        return Loaded(job=job, added=job.lines, copies=copies)

    def _store_all(self, job_id: int, parts: Iterable[Sequence[NewRequest]], problems: Problems) -> None:
        """Queue chunk after chunk, each while the next one is being read: SQLite and the parser use a core each."""
        with ThreadPoolExecutor(1, thread_name_prefix="batchrunner-load") as writer:
            storing: Future[None] | None = None
            for part in parts:
                if storing is not None:
                    storing.result()
                storing = writer.submit(self._store_chunk, job_id, part, problems)
            if storing is not None:
                storing.result()

    def _store_chunk(self, job_id: int, chunk: Sequence[NewRequest], problems: Problems) -> None:
        """Queue a chunk; after a duplicate, go on with the others so that every further duplicate is found too."""
        try:
            self._store.add(job_id, chunk)
        except DuplicateIds as duplicates:
            lines = set()
            for line, custom_id, first in duplicates.found:
                problems.add(Problem(line, 1, f'custom_id "{custom_id}" was used on line {first} already'))
                lines.add(line)
            self._store.add(job_id, [request for request in chunk if request.line not in lines])

    def _add(self, job: Job, file: Source | Prepared, source: JobSource, options: JobOptions, key: str) -> Loaded:
        """Take the lines that are new, once the whole file is known to be sound."""
        counted, added = self._compare(job, file, options), 0
        for chunk in chunks(file, self._compiler(options), Problems()):
            known = self._store.digests(job.id, [request.custom_id for request in chunk])
            fresh = [request for request in chunk if request.custom_id not in known]
            self._store.add(job.id, fresh, copies=COPIED if options.dedupe else ())
            added += len(fresh)
        return Loaded(
            job=self._store.seal(job.id, source, key), added=added, changed=counted.changed, gone=counted.gone
        )

    def _changed(self, job: Job, file: Source | Prepared, options: JobOptions) -> InputError:
        counted = self._compare(job, file, options)
        what = file.path if isinstance(file, Source) else f"{file.path}, or the template for it,"
        return InputError(
            f"{what} changed since it was loaded as job {job.id} ({job.name}):"
            f" {counted.changed:,} lines differ, {counted.new:,} are new, {counted.gone:,} are gone",
            hint=f"--add takes the {counted.new:,} new lines into the job; --name NAME loads the file as a second job",
        )

    def _compare(self, job: Job, file: Source | Prepared, options: JobOptions) -> "_Compared":
        problems, same, changed, new = Problems(), 0, 0, 0
        for chunk in chunks(file, self._compiler(options), problems):
            known = self._store.digests(job.id, [request.custom_id for request in chunk])
            for request in chunk:
                digest = known.get(request.custom_id)
                same += digest == request.digest
                new += digest is None
                changed += digest is not None and digest != request.digest
        if problems.count:
            raise problems.refuse(file.path)
        return _Compared(changed=changed, new=new, gone=max(0, job.lines - same - changed))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """How a file differs from the job that was loaded from it earlier."""

    changed: int
    new: int
    gone: int


def chunks(file: Source | Prepared, compiler: Compiler, problems: Problems) -> Iterator[list[NewRequest]]:
    """Yield a file's requests by the chunk; its bad lines go to ``problems``."""
    chunk: list[NewRequest] = []
    for line in iter_lines(file):
        request = line if isinstance(line, Problem) else compiler.request(line)
        if isinstance(request, Problem):
            problems.add(request)
            continue
        chunk.append(request)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def refuse_own_files(path: str, db: str) -> None:
    """Raise ConfigurationError where a job file is the database: closing it again would drop SQLite's locks on it."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a path of any bytes
    except (OSError, ValueError):
        return  # the loader says what is wrong with it, in the same words as ever
    for own in (db, f"{db}-wal", f"{db}-shm"):
        if os.path.exists(own) and os.path.samestat(found, os.stat(own)):  # noqa: PTH110, PTH116 - as above
            raise ConfigurationError(f"{path} is the database, not a job file", hint="give the job file's path")


def _stem(path: str) -> str:
    name = Path(path).name
    return "stdin" if path == "-" else name.removesuffix(".gz").removesuffix(".jsonl") or name


def _difference(old: JobOptions, new: JobOptions) -> str:
    names = ("provider", "endpoint", "model", "settings", "stream", "stream_usage", "dedupe")
    return ", ".join(
        f"{name} {getattr(old, name)!r}, now {getattr(new, name)!r}"
        for name in names
        if getattr(old, name) != getattr(new, name)
    )
