"""Vectors on their way out."""

from typing import NamedTuple


class VectorBatch(NamedTuple):
    """Some vectors of a corpus, in input order."""

    ids: list[str]
    vectors: bytes
    """``len(ids)`` times ``dimensions`` float32, little-endian, one vector after the other."""
    dimensions: int
    kept: list[bytes]
    """For each id the compact JSON object of its kept columns."""
