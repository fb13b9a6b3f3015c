"""Vectors on their way out."""

from typing import Final, NamedTuple

FLOAT: Final = 4
"""Bytes of a float32."""


class VectorBatch(NamedTuple):
    """Some texts and their vectors, in input order."""

    ids: list[str]
    vectors: bytes
    """``len(ids)`` times ``dimensions`` float32, little-endian."""
    dimensions: int
    kept: list[bytes]
    """For each text the columns that were kept, as a compact JSON object."""
