"""Texts of a corpus as they are read: what is sent of each, and the digest that tells it from all others."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from batchrunner.core.corpus import EMPTY, TOO_LONG, TRUNCATED, Text
from batchrunner.core.estimate import tokens
from batchrunner.core.packing import cut
from batchrunner.endpoints.vectors import text_bytes
from batchrunner.runner.corpusfill import CHUNK, Candidate, CorpusLoaded, CorpusOptions

DOUBT: Final = 1.5
"""By so much an estimate may exceed a text's bound before the text is held to be too long, and not sent."""


class Gathering:
    """Makes candidates of texts, and counts those that are not sent."""

    def __init__(self, options: CorpusOptions, loaded: CorpusLoaded) -> None:
        self._options = options
        self._loaded = loaded
        self._params = options.params
        self._counting = options.counting

    def chunks(self, texts: Iterable[Text]) -> Iterator[list[Candidate]]:
        """Yield what is to be sent of the texts, all of each, its parts, or nothing; some thousands at a time."""
        source = iter(texts)
        while some := list(islice(source, CHUNK)):
            yield self._gather(some)

    def _gather(self, texts: Sequence[Text]) -> list[Candidate]:
        found: list[Candidate] = []
        loaded, most, params = self._loaded, self._options.limits.text_tokens, self._params
        if self._counting is not None:
            self._counting.look(texts)
        sha256, append = hashlib.sha256, found.append
        for text in texts:
            name, string, kept = text
            data, seq = text_bytes(string), loaded.texts
            loaded.texts = seq + 1
            if not string or string.isspace():
                loaded.empty += 1
                append(Candidate(seq, 0, name, b"", b"", 0, 0, kept, EMPTY))
                continue
            size = self._size(data)
            if most is None or size <= most:
                append(Candidate(seq, 0, name, sha256(params + data).digest()[:16], data, size, 0, kept, None))
            else:
                found += self._long(seq, text, data, most)
        return found

    def _long(self, seq: int, text: Text, data: bytes, most: int) -> Iterator[Candidate]:
        how = self._options.too_long
        if how == "error":
            if self._counting is not None or tokens(data) > DOUBT * most:
                self._loaded.too_long += 1
                yield Candidate(seq, 0, text.id, b"", b"", 0, 0, text.kept, TOO_LONG)
            else:
                yield self._one(seq, text, data)
            return
        parts = cut(text.text, most) if self._counting is None else self._counting.cut(text.text, most)
        parts = [part for part in parts if part.strip()]
        if how == "truncate" or len(parts) == 1:
            self._loaded.truncated += 1
            yield self._one(seq, text, text_bytes(parts[0]))._replace(note=TRUNCATED)
            return
        for n, part in enumerate(parts):
            made = self._one(seq, text, text_bytes(part))
            if self._options.apart:
                self._loaded.texts = seq + n + 1
                yield made._replace(seq=seq + n, id=f"{text.id}#{n + 1}")
            else:
                yield made._replace(part=n, weight=made.size)

    def _one(self, seq: int, text: Text, data: bytes) -> Candidate:
        digest = hashlib.sha256(self._params + data).digest()[:16]
        return Candidate(seq, 0, text.id, digest, data, self._size(data), 0, text.kept, None)

    def _size(self, data: bytes) -> int:
        return tokens(data) if self._counting is None else self._counting.sizes[data]
