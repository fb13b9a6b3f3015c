"""What can be done with corpora by who holds a database."""

from collections.abc import Callable, Iterable

from batchrunner.api.tuning import tuned
from batchrunner.core.clock import SystemClock
from batchrunner.core.corpus import Text
from batchrunner.core.job import Job, JobSource
from batchrunner.core.packing import ASSUMED_DIMENSIONS, MODELS
from batchrunner.runner.corpus import load_corpus
from batchrunner.runner.corpusfill import CorpusLoaded, CorpusOptions
from batchrunner.store.database import SqliteStore

_FLOAT = 4


class Embeds:
    """The part of a session that is about corpora."""

    _store: SqliteStore

    def embed(
        self,
        texts: Iterable[Text],
        options: CorpusOptions,
        *,
        path: str,
        source: Callable[[], JobSource],
        known: str | None = None,
    ) -> CorpusLoaded:
        """Queue what is new of a corpus; see ``load_corpus``. Raises ConfigurationError and InputError."""
        with tuned():
            store, clock = self._store, SystemClock()
            return load_corpus(store, clock, texts, options, path=path, source=source, known=known)

    def prune(self, job: Job) -> int:
        """Drop the vectors of a corpus that none of its texts needs any more; return how many."""
        corpus = self._store.corpus(job.id)
        return 0 if corpus is None else self._store.prune(corpus)

    def drop_vectors(self, job: Job) -> None:
        """Drop all vectors of a corpus: they were exported, and are nowhere else from then on."""
        corpus = self._store.corpus(job.id)
        if corpus is not None:
            self._store.drop_vectors(corpus)


def bytes_of_vectors(loaded: CorpusLoaded, options: CorpusOptions) -> int:
    """Return how many bytes the vectors that are to come, and an export of all of them, will take.

    Of a model whose dimensions nobody knows yet, 1,536 are assumed.
    """
    facts = MODELS.get(options.model)
    known = loaded.corpus.dimensions or options.dimensions or (facts.dimensions if facts else ASSUMED_DIMENSIONS)
    return _FLOAT * known * (loaded.sent + loaded.texts)
