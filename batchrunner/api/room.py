"""How much disk the vectors of a corpus will take, in the database and in an export."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from batchrunner.api.reads import Reads
from batchrunner.config import Settings, packs_for
from batchrunner.core.job import Job
from batchrunner.core.packing import NOTHING_SAID, vector_size
from batchrunner.core.vectors import FLOAT
from batchrunner.formats.export_vectors import AS_TEXT

FLOAT_AS_TEXT: Final = 12
"""Bytes of one in JSON, about."""


class VectorRoom(NamedTuple):
    """Bytes; at most, since texts that say the same share a vector in the database."""

    database: int
    """Of the vectors that are still to come."""
    export: int
    """Of a file with all of them."""


def vector_room(reads: Reads, settings: Settings, job: Job, out: str | None = None) -> VectorRoom | None:
    """Return what the vectors of a corpus will take, exported to ``out``; None for a job that is no corpus.

    Before the first vector their length is what configuration or a table say of the model, or else assumed.
    """
    corpus = reads.corpus(job)
    if corpus is None:
        return None
    provider = job.options.provider
    said = packs_for(settings, provider, corpus.model) if provider in settings.providers else NOTHING_SAID
    numbers = corpus.texts * (corpus.dimensions or vector_size(corpus.model, said=said))
    counts = reads.status(job).counts
    share = counts.queued + counts.running
    size = FLOAT_AS_TEXT if out is not None and Path(out).suffix.lower() in AS_TEXT else FLOAT
    return VectorRoom(FLOAT * numbers * share // max(1, counts.total), 0 if out == "-" else size * numbers)


def vectors_to_come(reads: Reads, settings: Settings, jobs: Sequence[Job] | None) -> int:
    """Return the bytes that the vectors will take at most that these jobs, or all, wait for."""
    rooms = (vector_room(reads, settings, job) for job in (reads.jobs() if jobs is None else jobs))
    return sum(room.database for room in rooms if room is not None)
