"""The seam of corpora: what the runner and the readers ask of a database. Import it from ``store.base``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from batchrunner.core.corpus import Item, Pack, TextCounts
from batchrunner.core.job import JobSource
from batchrunner.core.vectors import VectorBatch


class Corpus(NamedTuple):
    """A corpus as the queue knows it."""

    id: int
    job_id: int
    model: str
    dimensions: int | None
    """None until the first vectors are there."""
    normalize: bool
    params: bytes
    """Digest of everything but the texts that vectors depend on."""
    keep: bool
    """Whether its vectors are all kept; otherwise they may be gone, since they were exported."""
    leaving: bool
    """Whether its vectors are dropped shard by shard: those from some place in the source on are all there."""
    version: int
    """Of its items; 0: it was never loaded to its end."""
    texts: int


class Missing(NamedTuple):
    """A text that has no vector."""

    id: str
    reason: str
    """``queued``, ``running``, ``cancelled``, ``quarantined``, ``empty``, ``too_long``, or its failure's kind."""
    message: str
    status: int | None = None
    seq: int = 0
    """From 0, its place in the source."""


class Embedded(NamedTuple):
    """The vectors that a corpus had at one moment: an export is of them, whatever a live run adds meanwhile."""

    texts: int
    """How many of its texts had one."""
    first: int
    """Id of the corpus's first request."""
    packs: bytes
    """A bit for each request from ``first`` on, the lowest one first: whether its vectors were there."""

    def has(self, request_id: int) -> bool:
        """Whether the vectors of a pack were there."""
        byte, bit = divmod(request_id - self.first, 8)
        return 0 <= byte < len(self.packs) and bool(self.packs[byte] >> bit & 1)


class Seen(Protocol):
    """Which texts have a place already; it takes no more memory for many than for few. Close it at the end."""

    def find(self, digests: Sequence[bytes]) -> dict[bytes, tuple[int | None, int, bool]]:
        """Return the known ones among these: their pack, their place in it, and whether this load has had them."""

    def add(self, places: Mapping[bytes, tuple[int, int]]) -> None:
        """Add texts that are new in this load, or that it has for the first time."""

    def close(self) -> None:
        """Forget it all."""


class Corpora(Protocol):
    """The writer's side of corpora."""

    def corpus(self, job_id: int) -> Corpus | None:
        """Return the corpus of a job; None where it has none."""

    def create_corpus(self, job_id: int, model: str, params: bytes, *, normalize: bool) -> Corpus:
        """Make a job the one of a corpus."""

    def seen(self, corpus: Corpus) -> Seen:
        """Return which texts of a corpus are in packs already."""

    def next_version(self, corpus: Corpus) -> int:
        """Return the version for the next load's items: no item has it yet, also of a load that was cut short."""

    def next_request(self) -> int:
        """Return the id of the next request; nothing else may be added before ``add_packs`` is done."""

    def add_packs(self, corpus: Corpus, version: int, packs: Sequence[Pack], items: Sequence[Item]) -> None:
        """Queue packs and keep items, in one transaction. Items refer to packs that are there by then."""

    def seal_corpus(self, corpus: Corpus, version: int, source: JobSource, texts: int) -> None:
        """Make a load's items the ones that hold, open its job, and remove those of earlier loads.

        Queued and failed packs that no text needs any more are cancelled: nobody pays for them.
        """

    def discard_corpus(self, job_id: int) -> None:
        """Remove a corpus whose first load was cut short; ``discard`` does the rest."""

    def prune(self, corpus: Corpus) -> int:
        """Drop the texts that are gone, and the vectors that no text needs any more; return how many vectors."""

    def leave(self, corpus: Corpus, first: int, upto: int) -> None:
        """Drop the vectors that only texts from place ``first`` to before ``upto`` need: they were exported.

        The corpus is ``leaving`` from then on. Twice changes nothing.
        """

    def drop_vectors(self, corpus: Corpus) -> None:
        """Drop all vectors of a corpus, since they were exported; its ``keep`` says so first. Twice changes nothing."""


class CorpusReader(Protocol):
    """Reads of corpora, safe beside a live run."""

    def corpus(self, job_id: int) -> Corpus | None:
        """Return the corpus of a job; None where it has none."""

    def embedded(self, corpus_id: int) -> Embedded:
        """Return which vectors are there now."""

    def vectors(self, corpus_id: int, among: Embedded, first: int = 0) -> Iterator[VectorBatch]:
        """Yield these vectors by the batch, from a place in the source on; texts without one are left out.

        Raises DatabaseError for damaged vectors, and where the corpus was loaded anew meanwhile.
        """

    def places(self, corpus_id: int, among: Embedded) -> Iterator[int]:
        """Yield the place in the source of each text that has one of these vectors, ascending."""

    def gone(self, corpus_id: int) -> int:
        """Return the place in the source from which on no vector was dropped; looks at all texts."""

    def kept(self, corpus_id: int) -> Iterator[bytes]:
        """Yield the kept columns of the texts that have some, as JSON objects. Raises DatabaseError as ``vectors``."""

    def missing(self, corpus_id: int) -> Iterator[Missing]:
        """Yield the texts that have no vector, in the order of the source, and why."""

    def text_counts(self, corpus_id: int) -> TextCounts:
        """Return what became of the texts; looks at all of them."""
