"""Good answers of embeddings and rerank. Deterministic: a text and a model always give the same vector."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

import msgspec

from batchrunner.simulator import catalogue
from batchrunner.simulator.answers import Work
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import digest_of, fraction


def embedding_answer(work: Work, settings: Settings) -> dict[str, Any]:
    """Embeddings without usage, in the order of the input; base64 of little-endian float32 if the call asks for it."""
    call = work.call
    size = (
        catalogue.dimensions_of(call.model) if settings.embedding_dimensions is None else settings.embedding_dimensions
    )
    size = min(size, call.body.get("dimensions") or size)
    packed = call.body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(call.texts):
        vector = vector_of(call.model, text, size)
        data.append({"object": "embedding", "index": index, "embedding": pack(vector) if packed else vector})
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

    Eight decimals: the same float32 results from the JSON numbers and from base64.
    """
    marks = hashlib.shake_256(msgspec.json.encode([model, text])).digest(size)
    scale = sum((mark - 127.5) ** 2 for mark in marks) ** -0.5
    table = [round((mark - 127.5) * scale, 8) for mark in range(256)]
    return [table[mark] for mark in marks]


def pack(vector: list[float]) -> str:
    """Base64 of consecutive little-endian IEEE-754 float32."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def score_of(model: str, query: str, text: str) -> float:
    """A relevance in (0, 1) that rises with the words that query and text share."""
    wanted = set(query.lower().split())
    shared = len(wanted & set(text.lower().split())) / len(wanted) if wanted else 0.0
    return round(0.75 * shared + 0.25 * fraction(digest_of("rerank", model, query, text), 0), 6)
