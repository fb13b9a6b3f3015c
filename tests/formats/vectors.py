"""Vectors to export, with every bit of them known."""

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors_base import VectorFacts
from batchrunner.formats.export_vectors_columns import columns_of


def numbers(row: int, dimensions: int) -> tuple[float, ...]:
    """Floats that depend on their place, some of them with bits that are easily lost."""
    odd = (-0.0, 1e-45, 3.4028234663852886e38, 1.0, 0.1, -1e-7)
    return tuple(
        odd[(row + n) % 6] if n % 3 == 2 else (row * 31 + n * 7) % 1009 / 1009 - 0.5 for n in range(dimensions)
    )


def packed(row: int, dimensions: int) -> bytes:
    return struct.pack(f"<{dimensions}f", *numbers(row, dimensions))


def kept_of(row: int) -> dict[str, Any]:
    return {"title": f"Ünicode {row}", "year": 1900 + row, "score": row / 2}


def batches(count: int, dimensions: int, size: int, *, start: int = 0, kept: Any = kept_of) -> Iterator[VectorBatch]:
    for first in range(start, count, size):
        rows = range(first, min(first + size, count))
        yield VectorBatch(
            [f"t-{row}" for row in rows],
            b"".join(packed(row, dimensions) for row in rows),
            dimensions,
            [json.dumps(kept(row), separators=(",", ":")).encode() for row in rows],
        )


def facts(
    count: int, dimensions: int, *, kept: Any = kept_of, job: str = "corpus", snapshot: str = "s1"
) -> VectorFacts:
    found = columns_of(text for batch in batches(count, dimensions, 64, kept=kept) for text in batch.kept)
    return VectorFacts(
        job=job, model="test/e5", dimensions=dimensions, count=count, version="9.9", columns=found, snapshot=snapshot
    )


def whole(count: int, dimensions: int) -> bytes:
    return b"".join(packed(row, dimensions) for row in range(count))


def bits(vectors: Sequence[Sequence[float]]) -> bytes:
    return b"".join(struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
