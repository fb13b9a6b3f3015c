"""Exact tokens of a corpus' texts, by a tokenizer: they decide which texts are too long, and what fits into a pack."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from batchrunner.core.corpus import Text
from batchrunner.core.estimate import Tokenizer
from batchrunner.endpoints.vectors import text_bytes

AT_ONCE = 1 << 20
"""Characters that are counted at a time: a tokenizer holds far more than it returns."""
TEXTS_AT_ONCE = 256


class TextTokenizer(Tokenizer, Protocol):
    """Counts tokens, and cuts texts by them."""

    @property
    def sha256(self) -> str:
        """Hex digest of what it is made of."""
        ...

    def cut(self, text: str, most: int) -> list[str]:
        """Cut a text into parts of ``most`` tokens each at most."""
        ...


class Counting:
    """The tokens of those texts that are packed next."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self.sizes: dict[bytes, int] = {}
        """By a text as it stands in a pack's body."""

    def look(self, texts: Iterable[Text]) -> None:
        """Count these texts, and forget those of before."""
        self.sizes = {}
        self._count(text.text for text in texts)

    def cut(self, text: str, most: int) -> list[str]:
        """Cut a text into parts of ``most`` tokens each at most; they are counted too."""
        parts = self._tokenizer.cut(text, most)
        self._count(parts)
        return parts

    def _count(self, texts: Iterable[str]) -> None:
        for some in _slices(texts):
            for text, size in zip(some, self._tokenizer.counts(some, special=True), strict=True):
                self.sizes[text_bytes(text)] = size


def _slices(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts some at a time, by number and by length."""
    source = iter(texts)
    while some := list(islice(source, TEXTS_AT_ONCE)):
        waiting: list[str] = []
        weight = 0
        for text in some:
            waiting.append(text)
            weight += len(text)
            if weight >= AT_ONCE:
                yield waiting
                waiting, weight = [], 0
        if waiting:
            yield waiting
