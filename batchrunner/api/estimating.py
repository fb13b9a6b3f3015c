"""Estimates of what is queued, and of files that are not; before a row is run, and by rows that were."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from batchrunner.api.estimate import Estimate, estimate
from batchrunner.api.lanecost import Known, Range
from batchrunner.api.prepare import Recipe, open_prepared, requests_of
from batchrunner.api.reads import Reads
from batchrunner.api.room import VectorRoom, vector_room
from batchrunner.api.sampled import Sampled, sampled
from batchrunner.api.shortfall import Shortfall, shortfalls
from batchrunner.api.timing import Time, calls_of, pace_of, shared, time_at_limits
from batchrunner.config import Loaded, Settings, limits_for
from batchrunner.core.budget import Sheet
from batchrunner.core.clock import SystemClock
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import Job, JobOptions
from batchrunner.core.pricing import Price
from batchrunner.core.request import Lane
from batchrunner.formats.base import STDOUT
from batchrunner.runner.checker import check
from batchrunner.runner.selection import sample
from batchrunner.runner.workloads import Workloads
from batchrunner.store.base import ALL, DrawnRow, Pace, Reader, Selection, Workload
from batchrunner.store.disk import Disk
from batchrunner.store.readerbase import EstimateReader
from batchrunner.wiring import attachments, figures, most_out, price_book, reading, tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What some requests will take, and how that is known."""

    name: str
    """The job's, or the file's."""
    job: Job | None
    """None: the file is not loaded."""
    estimate: Estimate
    time: Time | None
    """None: nothing tells."""
    sampled: Sampled | None = None
    room: VectorRoom | None = None
    """Of a corpus, the disk that its vectors will take."""
    shortfalls: tuple[Shortfall, ...] = ()
    """Budgets that may not suffice."""


class Drawing(NamedTuple):
    """Rows that were drawn at random, and what they were drawn from."""

    selection: Selection
    workloads: Sequence[Workload]
    """All that was queued, the drawn rows among it."""
    estimate: Estimate
    """Of all of it."""


class Estimating:
    """What a queue's rows will take: a part of what has a reader and settings."""

    settings: Settings
    _reader: Reader

    def estimate(self, jobs: Sequence[Job] | None, selection: Selection = ALL) -> Estimate:
        """Estimate what the queued requests will take, by what earlier answers of their models taught."""
        workloads = self._reader.workload(None if jobs is None else [job.id for job in jobs], selection)
        return _estimated(workloads, self.settings, self._reader)

    def outlook(self, job: Job) -> Outlook:
        """Return what the queued requests of a job will take, and how long."""
        found = self.estimate([job])
        return Outlook(
            name=job.name,
            job=job,
            estimate=found,
            time=_timed(found, self.settings, self._reader),
            room=vector_room(Reads(self._reader), self.settings, job),
            shortfalls=self.shortfalls(found, [job]),
        )

    def shortfalls(
        self, estimate: Estimate, jobs: Sequence[Job] | None, selection: Selection = ALL
    ) -> tuple[Shortfall, ...]:
        """Return the budgets that what is estimated of these jobs, or all, may use up."""
        chosen = self._reader.jobs() if jobs is None else jobs
        sheet = self._reader.budgets(SystemClock().now())
        return shortfalls(estimate, sheet, chosen, self.settings.max_cost, lambda some: self.estimate(some, selection))

    def draw(self, job: Job, rows: int, *, seed: str | None = None) -> Drawing:
        """Draw so many of the queued requests of a job at random; of the same queue, the same seed draws the same.

        Without a seed the job is it: a command that is repeated before it bought anything draws the same rows again.
        """
        workloads = self._reader.workload([job.id])
        selection = sample(self._reader.queued_ids([job.id]), rows, seed=job.key if seed is None else seed)
        return Drawing(selection, workloads, _estimated(workloads, self.settings, self._reader))

    def outlook_by(self, job: Job, drawing: Drawing, since: int) -> Outlook | None:
        """Return what the drawn requests, run since then, tell of all that they were drawn from, themselves included.

        None where none of them has an outcome.
        """
        rows = self._reader.drawn(drawing.selection.ids or (), since)
        book, now = price_book(self.settings, self._reader.prices()), SystemClock().now()
        found = sampled(rows, drawing.workloads, drawing.estimate, book, now)
        if found is None:
            return None
        time = _timed(drawing.estimate, self.settings, self._reader, found)
        room = vector_room(Reads(self._reader), self.settings, job)
        return Outlook(name=job.name, job=job, estimate=found.projected, time=time, sampled=found, room=room)

    def short_of_room(self, estimate: Estimate, vectors: int = 0) -> str | None:
        """Say that the disk will probably not hold the answers, and so many bytes of vectors; None: it will."""
        return Disk(self._reader.path).short(estimate.bytes + vectors)


def outlook(loaded: Loaded, what: str, recipe: Recipe | None = None) -> Outlook:
    """Return what a job's queued requests, or a file's, will take; nothing is stored, nothing is sent.

    A file that is loaded with the same options, and was not changed since, is its job. With a ``recipe`` it is data:
    what its rows and the template make is looked at. Raises ConfigurationError for what is neither, and InputError with
    the bad lines of a file.
    """
    settings = loaded.settings
    with _reading_if_there(settings.db) as reader:
        job = _job(reader, what, settings.job) if recipe is None else None
        if job is not None and reader is not None:
            return _Queue(reader, settings).outlook(job)
        if reader is None and recipe is None and what != STDOUT and not Path(what).exists():
            raise ConfigurationError(
                f"there is no file {what!r}, and no queue in {settings.db} to have such a job",
                hint="give the path of a job file, or --db PATH of the queue",
            )
        known = {} if reader is None else {row.lane[1:]: row.lane for row in reader.lanes()}
        taught = reader or _Nothing()
        found = _estimated(
            [work._replace(lane=known.get(work.lane[1:], work.lane)) for work in _workloads(settings, what, recipe)],
            settings if recipe is None else replace(settings, tokenizer=None),  # which counts no data
            taught,
        )
        return Outlook(
            name=what,
            job=None,
            estimate=found,
            time=_timed(found, settings, taught),
            shortfalls=shortfalls(found, taught.budgets(SystemClock().now()), (), settings.max_cost),
        )


def _workloads(settings: Settings, what: str, recipe: Recipe | None) -> Sequence[Workload]:
    """Return the sums of the requests of a file, or of those that are made of data."""
    if recipe is None:
        dialects = {name: provider.quirks for name, provider in settings.providers.items()}
        files, counter = attachments(settings), tokenizer(settings)
        return check(what, settings.job, files, dialects=dialects, tokenizer=counter).workloads
    sums = Workloads(settings.job.provider)
    with open_prepared(what, recipe, settings) as prepared:
        for _, request in requests_of(prepared, settings):
            sums.add(request)
    return sums.values()


def concurrency_over(settings: Settings, lanes: Sequence[Lane]) -> int:
    """Return the bound over all lanes: what was asked for, else what the widest lane allows."""
    if settings.insisted.concurrency is not None:
        return settings.insisted.concurrency
    return max((limits_for(settings, lane.provider, lane.model).concurrency for lane in lanes), default=1)


class _Queue(Estimating):
    def __init__(self, reader: Reader, settings: Settings) -> None:
        self._reader, self.settings = reader, settings


class _Nothing:
    """What a queue that is not there tells."""

    def prices(self) -> list[Price]:
        return []

    def budgets(self, now: int) -> Sheet:
        return Sheet()

    def drawn(self, ids: Sequence[int], since: int) -> list[DrawnRow]:
        return []

    def paces(self) -> list[Pace]:
        return []

    def learned(self, provider: str, model: str) -> bytes | None:
        return None


@contextmanager
def _reading_if_there(db: Path) -> Iterator[Reader | None]:
    if not db.exists():
        yield None
        return
    with reading(db) as reader:
        yield reader


def _job(reader: Reader | None, what: str, options: JobOptions) -> Job | None:
    """Return the job that is meant; None: a file that is not loaded as it is now, or not with these options."""
    if reader is None or what == STDOUT:
        return None
    path = Path(what)
    if not path.exists():
        return reader.job(what)
    stat, place = path.stat(), str(path.absolute())
    of_file = (place, str(path.resolve()))
    as_now = (stat.st_size, stat.st_mtime_ns)
    same = [
        job
        for job in reader.jobs()
        if job.source.path in of_file and (job.source.size, job.source.mtime_ns) == as_now and job.options == options
    ]
    return same[-1] if same else None


def _estimated(workloads: Sequence[Workload], settings: Settings, reader: EstimateReader) -> Estimate:
    known = Known(
        learned={work.lane.id: _learned(reader, work.lane) for work in workloads},
        most_out={work.lane.id: most_out(settings, work.lane) for work in workloads},
        counted=settings.tokenizer is not None,
    )
    return estimate(workloads, price_book(settings, reader.prices()), SystemClock().now(), known)


def _learned(reader: EstimateReader, lane: Lane) -> Mapping[str, float]:
    return figures(reader.learned(lane.provider, lane.model))


def _timed(found: Estimate, settings: Settings, reader: EstimateReader, drawn: Sampled | None = None) -> Time | None:
    """Return how long requests take at the limits that are set or were learned."""
    tokens: dict[int, Range] = {lane.lane.id: lane.input.plus(lane.output) for lane in found.lanes}
    calls = calls_of(found.lanes, reader.paces())
    if drawn is not None:
        calls = shared(drawn.calls, calls if len(calls) == len(tokens) else tokens)
        tokens = shared(drawn.input.plus(drawn.output), tokens)
    paces = []
    for each in found.lanes:
        lane = each.lane
        limits = limits_for(settings, lane.provider, lane.model)
        paces.append(
            pace_of(each.requests, tokens[lane.id], calls.get(lane.id), limits=limits, learned=_learned(reader, lane))
        )
    return time_at_limits(paces, concurrency_over(settings, [lane.lane for lane in found.lanes]))
