"""A corpus into the queue: texts that are new go into packs, and the order of all of them is remembered.

Memory stays flat: texts come one by one, packs and items go to the database by the chunk, and which texts are known is
asked of the store.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Protocol

from batchrunner.core.clock import Clock
from batchrunner.core.corpus import Item, Pack, Text
from batchrunner.core.crashpoint import reached
from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.core.job import Job, JobOptions, JobSource, JobState
from batchrunner.endpoints.vectors import PATH
from batchrunner.runner.corpusfill import Candidate, CorpusLoaded, CorpusOptions, Filling, Part, Spot
from batchrunner.runner.corpusgather import Gathering
from batchrunner.store.base import Corpora, Corpus, Loading, Seen

Keep = Callable[[Sequence[Pack], Sequence[Item]], None]


class CorpusStore(Loading, Corpora, Protocol):
    """What loading a corpus needs of the store."""


def load_corpus(
    store: CorpusStore, clock: Clock, texts: Iterable[Text], options: CorpusOptions, source: JobSource
) -> CorpusLoaded:
    """Queue what is new in a corpus, and remember the order of its texts.

    The ``sha256`` of ``source`` says what the texts are: their content, and what is read of it. Where the corpus has it
    already nothing is read. A text that was there under the same name is not sent again. Raises ConfigurationError
    where this name stands for vectors of another model or kind, and what ``texts`` raises: a first load is then undone.
    """
    job = store.job_by_key(options.key)
    if job is not None and job.state is JobState.LOADING:
        store.discard_corpus(job.id)
        store.discard(job.id)
        job = None
    if job is None:
        return _first_load(store, clock, texts, options, source)
    corpus = store.corpus(job.id)
    if corpus is None:
        raise ConfigurationError(f"job {job.name} is no corpus", hint="give another name with --name")
    _refuse_another_kind(job, corpus, options)
    same = source.sha256 == job.source.sha256
    if not corpus.keep and not (corpus.leaving and same):
        if not corpus.leaving:
            store.drop_vectors(corpus)  # what a crash may have left of them
        raise dropped(job, leaving=corpus.leaving)
    if same:
        return CorpusLoaded(job=job, corpus=corpus, texts=corpus.texts, known=corpus.texts, unchanged=True)
    return _fill(store, corpus, job, texts, options, source)


def dropped(job: Job, *, leaving: bool = False) -> ConfigurationError:
    """Return the error for a corpus whose vectors are in its export only, or on their way there."""
    if leaving:
        return ConfigurationError(
            f"the vectors of corpus {job.name} are being dropped as they are written (--keep-vectors no)",
            hint="finish that first: run the same `batchrunner embed` again, with the source as it was",
        )
    return ConfigurationError(
        f"the vectors of corpus {job.name} were dropped once they were written (--keep-vectors no)",
        hint=f"they are where they were written; embed the source as another corpus with --name {job.name}-2",
    )


def _first_load(
    store: CorpusStore, clock: Clock, texts: Iterable[Text], options: CorpusOptions, source: JobSource
) -> CorpusLoaded:
    job = store.create_job(
        key=options.key,
        name=options.name,
        source=JobSource(path=source.path, sha256="", size=0, mtime_ns=0),
        options=JobOptions(provider=options.provider, endpoint=PATH, model=options.model),
        tags=options.tags,
        now=clock.now(),
    )
    try:
        corpus = store.create_corpus(job.id, options.model, options.params, normalize=options.normalize)
        return _fill(store, corpus, job, texts, options, source)
    except BaseException:
        store.discard_corpus(job.id)
        store.discard(job.id)
        raise


def _refuse_another_kind(job: Job, corpus: Corpus, options: CorpusOptions) -> None:
    if job.state is JobState.CANCELLED:
        raise ConfigurationError(
            f"corpus {job.name} was cancelled", hint=f"bring it back with: batchrunner retry {job.name} --cancelled"
        )
    if corpus.params != options.params:
        raise ConfigurationError(
            f"corpus {job.name} has vectors of {corpus.model} at {job.options.provider}, and other ones are asked for"
            " now (model, provider, --dimensions or --normalize): they can't be in one corpus",
            hint=f"ask for the same ones, or begin another corpus with --name {job.name}-2",
        )


def _fill(
    store: CorpusStore,
    corpus: Corpus,
    job: Job,
    texts: Iterable[Text],
    options: CorpusOptions,
    source: JobSource,
) -> CorpusLoaded:
    loaded = CorpusLoaded(job=job, corpus=corpus)
    version = store.next_version(corpus)
    with closing(store.seen(corpus)) as seen:
        filling, keep = Filling(options, store.next_request(), loaded), partial(store.add_packs, corpus, version)
        with ThreadPoolExecutor(1, thread_name_prefix="batchrunner-load") as database:
            placing = _Placing(database, filling, seen, keep)
            for candidates in Gathering(options, loaded).chunks(texts):
                placing.take(candidates)
            placing.end()
    if not loaded.texts:
        raise InputError(f"{job.source.path} holds no text", hint="see that --text names the field of the texts")
    reached("corpus.seal")
    store.seal_corpus(corpus, version, source, loaded.texts)
    reached("corpus.sealed")
    loaded.corpus = store.corpus(job.id) or corpus
    loaded.job = store.job_by_key(options.key) or job
    return loaded


class _Placing:
    """Gives texts their places while a thread beside looks up, and stores, those before.

    What is known of a chunk is asked before the chunk in front of it was placed, whose places are put in here.
    """

    def __init__(self, database: ThreadPoolExecutor, filling: Filling, seen: Seen, keep: Keep) -> None:
        self._database = database
        self._filling = filling
        self._seen = seen
        self._keep = keep
        self._waiting: tuple[list[Candidate], Future[dict[bytes, Spot]]] | None = None
        self._before: dict[bytes, tuple[int, int]] = {}
        self._storing: deque[Future[None]] = deque()

    def take(self, candidates: list[Candidate]) -> None:
        """Look up a chunk, and place the one before it. Raises what storing raised."""
        asked = self._database.submit(self._seen.find, [one.digest for one in candidates if one.digest])
        self._place()
        self._waiting = candidates, asked
        while self._storing and self._storing[0].done():
            self._storing.popleft().result()

    def end(self) -> None:
        """Place and store what is left. Raises what storing raised."""
        self._place()
        self._store(self._filling.rest())
        for future in self._storing:
            future.result()

    def _place(self) -> None:
        if self._waiting is None:
            return
        candidates, asked = self._waiting
        known = asked.result()
        known.update((digest, (*spot, True)) for digest, spot in self._before.items())
        placed = self._filling.place(candidates, known)
        self._before = placed.fresh
        self._storing.append(self._database.submit(self._seen.add, placed.fresh))
        for part in placed.parts:
            self._store(part)

    def _store(self, part: Part) -> None:
        reached("corpus.chunk")
        self._storing.append(self._database.submit(self._keep, *part))
