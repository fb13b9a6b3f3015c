"""Good answers of embeddings and rerank. Deterministic: a text and a model always give the same vector."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import struct
from typing import Any, NamedTuple

import msgspec

from batchrunner.simulator.answers import Work
from batchrunner.simulator.packs import dimensions_for
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import digest_of, fraction


def embedding_answer(work: Work, settings: Settings) -> dict[str, Any]:
    """Embeddings without usage, in the order of the input; base64 of little-endian float32 if the call asks for it."""
    call = work.call
    size = call.body.get("dimensions") or dimensions_for(call.model, settings)
    asked = call.body.get("encoding_format") == "base64" and settings.base64_vectors == "give"
    write = packed if asked else written
    data = [
        {"object": "embedding", "index": index, "embedding": write(call.model, text, size)}
        for index, text in enumerate(call.texts)
    ]
    return {"object": "list", "model": call.model, "data": data}


def rerank_answer(work: Work, settings: Settings, *, call_id: str) -> dict[str, Any]:
    """Rerank without usage: sorted by score, best first; `document` only if asked for (null otherwise on Together)."""
    call = work.call
    query, documents = call.body["query"], call.body["documents"]
    scores = [score_of(call.model, query, text) for text in call.texts]
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))[: call.body.get("top_n")]
    together = settings.flavour == "together"
    results = []
    for index in order:
        result: dict[str, Any] = {"index": index, "relevance_score": scores[index]}
        if call.body.get("return_documents"):
            document = documents[index]
            result["document"] = document if isinstance(document, dict) else {"text": document}
        elif together:
            result["document"] = None
        results.append(result)
    answer: dict[str, Any] = {"object": "rerank"} if together else {}
    return {**answer, "id": call_id, "model": call.model, "results": results}


def vector_of(model: str, text: Any, size: int) -> list[float]:
    """A vector of length 1 (to seven digits) for a text or a tuple of token numbers.

    Eight decimals: the same float32 results from the JSON numbers and from base64. Two numbers at a time are a point on
    a circle that the text's hash chooses, so that a shorter vector (of an even size) is the beginning of a longer one,
    made as long as 1 again.
    """
    (pairs, _, _), (last, _, _) = _turns((size + 1) // 2)
    marks = _marks(model, text, size)
    points = [*map(pairs.__getitem__, marks[: size // 2]), *map(last.__getitem__, marks[size // 2 :])]
    return [value for point in points for value in point]


def written(model: str, text: Any, size: int) -> msgspec.Raw:
    """The same vector as a JSON list."""
    (_, pairs, _), (_, last, _) = _turns((size + 1) // 2)
    marks = _marks(model, text, size)
    return msgspec.Raw(b"[%b]" % b",".join(_chosen(pairs, last, marks, size)))


def packed(model: str, text: Any, size: int) -> str:
    """The same vector as base64 of consecutive little-endian IEEE-754 float32."""
    (_, _, pairs), (_, _, last) = _turns((size + 1) // 2)
    marks = _marks(model, text, size)
    return base64.b64encode(b"".join(_chosen(pairs, last, marks, size))).decode("ascii")


class _Turn(NamedTuple):
    """Two numbers of a vector, or a single last one, in every form: one for each byte of the hash."""

    values: list[tuple[float, ...]]
    texts: list[bytes]
    numbers: list[bytes]


def _marks(model: str, text: Any, size: int) -> bytes:
    return hashlib.shake_128(msgspec.json.encode([model, text])).digest((size + 1) // 2)


def _chosen(pairs: list[bytes], last: list[bytes], marks: bytes, size: int) -> list[bytes]:
    half = size // 2
    return [*map(pairs.__getitem__, marks[:half]), *map(last.__getitem__, marks[half:])]


@functools.lru_cache(maxsize=64)
def _turns(marks: int) -> tuple[_Turn, _Turn]:
    """What each byte of a hash of this length stands for: a point on a circle, and a single number."""
    scale = marks**-0.5
    circle = [math.tau * (mark + 0.5) / 256 for mark in range(256)]
    pairs = _turn([(scale * math.cos(angle), scale * math.sin(angle)) for angle in circle])
    return pairs, _turn([(scale if mark < 128 else -scale,) for mark in range(256)])


def _turn(points: list[tuple[float, ...]]) -> _Turn:
    values = [tuple(round(value, 8) for value in point) for point in points]
    texts = [msgspec.json.encode(point)[1:-1] for point in values]
    return _Turn(values, texts, [struct.pack(f"<{len(point)}f", *point) for point in values])


def score_of(model: str, query: str, text: str) -> float:
    """A relevance in (0, 1) that rises with the words that query and text share."""
    wanted = set(query.lower().split())
    shared = len(wanted & set(text.lower().split())) / len(wanted) if wanted else 0.0
    return round(0.75 * shared + 0.25 * fraction(digest_of("rerank", model, query, text), 0), 6)
