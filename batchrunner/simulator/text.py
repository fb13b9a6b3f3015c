"""Deterministic text and its length in tokens, by rules of the simulator's own.

The rule: a text of n UTF-8 bytes is `ceil(n / 4)` tokens (an empty one is none). It is no model's tokenizer and is not
meant to be: a client that estimates must learn from the usage it gets back.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Final

import msgspec

BYTES_PER_TOKEN: Final = 4

_SUBJECTS = ("The provider", "A careful reader", "The second run", "Every answer", "This sample", "Most of the work")
_VERBS = ("keeps", "describes", "returns", "weighs", "repeats", "explains")
_OBJECTS = ("a plain result", "the same numbers", "a short summary", "the missing part", "one good reason", "the cost")
_ENDINGS = ("in detail", "before the deadline", "without a doubt")

_SENTENCES: Final = (
    "Naïve splitting breaks here:\u2028 a line separator is not a newline. ",
    "Größe, 価格 and 🙂 are text as well. ",
    *(" ".join(words) + ". " for words in itertools.product(_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS)),
)
_STRIDE: Final = 181
"""Steps through the sentences so that neighbours differ; prime, hence every sentence comes."""

_NORMAL: Final = NormalDist()


def tokens_of(text: str) -> int:
    """Length of `text` in tokens."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def digest_of(*parts: object) -> bytes:
    """32 bytes that depend on the JSON form of `parts` and on nothing else."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=32).digest()


def fraction(digest: bytes, place: int) -> float:
    """A number in (0, 1) from the eight bytes of `digest` at `place`."""
    return ((int.from_bytes(digest[place : place + 8], "big") >> 11) + 0.5) / 2**53


def drawn_length(digest: bytes, mean: float, spread: float) -> int:
    """A length in tokens, at least 1, on a log-normal curve with the given mean and sigma."""
    z = _NORMAL.inv_cdf(fraction(digest, 0))
    return max(1, round(mean * math.exp(spread * z - spread * spread / 2)))


def prose(digest: bytes, tokens: int, *, opening: str = "", whole: bool = True) -> str:
    """Text of exactly `tokens` tokens, beginning with `opening` as far as it fits; `whole` ends it with a full stop."""
    size = tokens * BYTES_PER_TOKEN
    pieces = [opening]
    length = len(opening)
    for sentence in _walk(int.from_bytes(digest[8:12], "big")):
        if length >= size:
            break
        pieces.append(sentence)
        length += len(sentence)
    text = "".join(pieces).encode()[:size].decode("utf-8", "ignore")
    return f"{text[:-1]}." if whole and text and text[-1].isascii() else text


def _walk(start: int) -> Iterator[str]:
    place = start % len(_SENTENCES)
    while True:
        yield _SENTENCES[place]
        place = (place + _STRIDE) % len(_SENTENCES)
