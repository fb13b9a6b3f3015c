"""Good vectors made bad: what the faults of embeddings do to an answer's list. Pure."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

Embedding = str | msgspec.Raw
"""Base64, or a JSON list."""


def spoil_vectors(data: list[dict[str, Any]], fault: str) -> None:
    """Change the items of a good answer as `fault` says; where it is about one vector, that in the middle."""
    at = len(data) // 2
    if fault in _VECTORS:
        data[at]["embedding"] = _VECTORS[fault](data[at]["embedding"])
    elif fault == "other_dimensions":
        for item in data:
            item["embedding"] = _without_last(item["embedding"])
    elif fault == "fewer_vectors":
        del data[at]
    elif fault == "more_vectors":
        data.append({**data[at], "index": len(data)})
    elif fault == "wrong_index":
        data[at]["index"] = len(data)
    elif fault == "double_index":
        data[at]["index"] = at - 1 if at else 1  # a single vector can have no double, but a wrong place
    else:  # shuffled: no neighbour stays beside its neighbour, each index stays with its vector
        data[:] = data[1::2] + data[::2]


def breaks_json(answer: Mapping[str, Any], fault: str | None) -> bool:
    """Whether a strict reader of JSON takes the answer for none: NaN and Infinity are no JSON numbers."""
    if fault not in ("nan_vector", "infinite_vector"):
        return False
    return any(isinstance(item["embedding"], msgspec.Raw) for item in answer["data"])


def _with_first(number: float, word: bytes) -> Callable[[Embedding], Embedding]:
    def put(embedding: Embedding) -> Embedding:
        if isinstance(embedding, str):
            rest = base64.b64decode(embedding)[4:]
            return base64.b64encode(struct.pack("<f", number) + rest).decode("ascii")
        _, comma, rest = bytes(embedding).partition(b",")
        return msgspec.Raw(b"[%b%b%b" % (word, comma, rest or b"]"))

    return put


def _without_last(embedding: Embedding) -> Embedding:
    if isinstance(embedding, str):
        return base64.b64encode(base64.b64decode(embedding)[:-4]).decode("ascii")
    kept, _, _ = bytes(embedding).rpartition(b",")
    return msgspec.Raw((kept or b"[") + b"]")


def _nothing(_: Embedding) -> None:
    return None


def _cut(embedding: Embedding) -> Embedding:
    """Base64 without its last three characters, which no decoder takes; numbers stay as they are."""
    return embedding[:-3] if isinstance(embedding, str) else embedding


def _cut_number(embedding: Embedding) -> Embedding:
    """Base64 that decodes, to bytes that are no whole numbers; a list of numbers stays as it is."""
    if not isinstance(embedding, str):
        return embedding
    return base64.b64encode(base64.b64decode(embedding)[:-2]).decode("ascii")


_VECTORS: Final[Mapping[str, Callable[[Embedding], Embedding | None]]] = {
    "nan_vector": _with_first(math.nan, b"NaN"),
    "infinite_vector": _with_first(math.inf, b"Infinity"),
    "null_vector": _nothing,
    "short_vector": _without_last,
    "cut_base64": _cut,
    "half_number": _cut_number,
}
