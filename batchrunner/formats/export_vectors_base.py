"""What the writers of vectors share: the facts they are given, batches cut to size, and their errors."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from batchrunner.core.errors import ConfigurationError, DatabaseError
from batchrunner.core.vectors import FLOAT, VectorBatch
from batchrunner.formats.export_vectors_columns import KeptColumn
from batchrunner.formats.readahead import read_ahead

GROUP = 6 << 20
"""Bytes of vectors, ids and kept columns that are written at once: what memory is bounded by."""
OVERHEAD = 64
"""Bytes that an id and an object of kept columns weigh in memory beside their text, about."""
RESERVED = frozenset({"id", "embedding", "batchrunner"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFacts:
    """What a file of vectors says of itself, and what is known of them before they are read."""

    job: str
    """Whose vectors these are: files that name another job are replaced only where that is forced."""
    model: str
    dimensions: int
    count: int
    """Vectors from the first row to the last. It is held to: none may be missing, none doubled."""
    version: str
    """Of batchrunner."""
    columns: tuple[KeptColumn, ...] = ()
    """The kept columns, as ``columns_of`` found them; Parquet and Arrow need them, the others carry what is kept."""
    snapshot: str = ""
    """Names this very content: shards of the same job and snapshot are gone on with. Empty: all is written anew."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for kept columns that can't stand beside ours, ValueError for what can't be."""
        if self.dimensions < 1 or self.count < 0:
            raise ValueError(f"{self.count} vectors of {self.dimensions} dimensions can't be")
        for column in self.columns:
            if column.name.lower() in RESERVED:
                raise ConfigurationError(
                    f"the kept column {column.name!r} has the name of one that is written beside it",
                    hint="rename it in the source, or leave it out of --keep",
                )

    def described(self, first_row: int, rows: int) -> dict[str, str]:
        """Return the metadata of a file that holds these rows."""
        said = {"job": self.job, "model": self.model, "dimensions": str(self.dimensions), "count": str(rows)}
        said |= {"first_row": str(first_row), "version": self.version, "snapshot": self.snapshot}
        return {f"batchrunner.{name}": value for name, value in said.items()}


class Shard(NamedTuple):
    """A file of vectors that is whole, and on the disk with its name."""

    path: Path
    first_row: int
    rows: int


Written = Callable[[Shard], None]
"""Is told of each shard once it can't be lost any more: the blobs of its vectors may be dropped from here on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSummary:
    """What an export of vectors left on the disk."""

    paths: tuple[str, ...]
    """All files of it, in the order of their rows."""
    rows: int
    """Vectors in them."""
    fresh: int
    """Vectors that were written just now; the others had been written before."""
    swept: int = 0
    """Unfinished files that earlier exports to this place left when they were killed, and that are gone now."""


class VectorWriter(Protocol):
    """One form of vectors on the disk, at one place."""

    def check(self, *, force: bool) -> None:
        """Raise ConfigurationError where files stand in the way that this job did not write."""
        ...

    def done(self) -> int:
        """Return how many rows, from the first on, are written already and need not be brought again."""
        ...

    def write(self, batches: Iterable[VectorBatch], start: int, written: Written) -> VectorSummary:
        """Write what is not done. The first batch begins with row ``start``, which is not above ``done()``."""
        ...


_EXTRAS = MappingProxyType({"pyarrow": "data"})


def missing(package: str, what: str) -> ConfigurationError:
    """Return the error for an extra that is not installed."""
    return ConfigurationError(
        f"{what} needs the package {package}, which is not installed",
        hint=f"pip install 'batchrunner[{_EXTRAS[package]}]'",
    )


def checked(batches: Iterable[VectorBatch], facts: VectorFacts, start: int) -> Iterator[VectorBatch]:
    """Yield the batches, and raise DatabaseError where they are not what ``facts`` say from row ``start`` on."""
    rows = start
    for batch in batches:
        rows += len(batch.ids)
        whole = len(batch.vectors) == len(batch.ids) * facts.dimensions * FLOAT and len(batch.kept) == len(batch.ids)
        if batch.dimensions != facts.dimensions or not whole:
            raise _unsound(f"vectors up to row {rows} are not {facts.dimensions} float32 each")
        yield batch
    if rows != facts.count:
        raise _unsound(f"{rows:,} vectors were found where {facts.count:,} should be")


def _unsound(what: str) -> DatabaseError:
    return DatabaseError(f"the vectors can't be written: {what}", hint="see what `batchrunner db check` finds")


def skipped(batches: Iterable[VectorBatch], rows: int) -> Iterator[VectorBatch]:
    """Yield the batches without their first rows."""
    for batch in batches:
        if rows >= len(batch.ids):
            rows -= len(batch.ids)
            continue
        yield split(batch, rows)[1] if rows else batch
        rows = 0


def gathered(batches: Iterable[VectorBatch], size: int = GROUP) -> Iterator[VectorBatch]:
    """Yield the same rows in fewer and larger batches of ``size`` bytes: while one is written the next one is read."""
    return read_ahead(_gathered(batches, size))


def _gathered(batches: Iterable[VectorBatch], size: int) -> Iterator[VectorBatch]:
    waiting: list[VectorBatch] = []
    weight = 0
    for batch in batches:
        waiting.append(batch)
        weight += len(batch.vectors) + sum(map(len, batch.kept)) + sum(map(len, batch.ids)) + OVERHEAD * len(batch.ids)
        if weight >= size:
            yield _joined(waiting)
            waiting, weight = [], 0
    if waiting:
        yield _joined(waiting)


def split(batch: VectorBatch, rows: int) -> tuple[VectorBatch, VectorBatch]:
    """Return the first ``rows`` of a batch, and its others."""
    ids, vectors, dimensions, kept = batch
    place = rows * dimensions * FLOAT
    return (
        VectorBatch(ids[:rows], vectors[:place], dimensions, kept[:rows]),
        VectorBatch(ids[rows:], vectors[place:], dimensions, kept[rows:]),
    )


def _joined(batches: list[VectorBatch]) -> VectorBatch:
    if len(batches) == 1:
        return batches[0]
    return VectorBatch(
        [each for batch in batches for each in batch.ids],
        b"".join([batch.vectors for batch in batches]),
        batches[0].dimensions,
        [each for batch in batches for each in batch.kept],
    )
