"""Texts of a corpus on their way into packs and items: told apart by their digests, cut where they are too long."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

from batchrunner.core.corpus import DUPLICATE, EMPTY, TOO_LONG, TRUNCATED, Item, Pack, Text
from batchrunner.core.estimate import tokens
from batchrunner.core.job import Job
from batchrunner.core.packing import Packer, PackLimits, cut
from batchrunner.endpoints.vectors import pack_body, pack_head, text_bytes
from batchrunner.runner.corpuscounting import Counting
from batchrunner.store.base import Corpus, Seen

CHUNK = 5_000
"""Texts that are looked up, and items that are stored, at a time."""
MOST_HELD = 10 * CHUNK
"""Items that wait for the open pack at most: then it is closed, full or not."""
DOUBT = 1.5
"""By so much an estimate may exceed a text's bound before the text is held to be too long, and not sent."""

TooLong = Literal["error", "truncate", "chunk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """What is asked for a corpus."""

    name: str
    provider: str
    model: str
    limits: PackLimits
    dimensions: int | None = None
    normalize: bool = False
    too_long: TooLong = "error"
    apart: bool = False
    """Whether the parts of a text that was cut are texts of their own, ``id#1`` and so on."""
    tags: tuple[tuple[str, str], ...] = ()
    counting: Counting | None = None
    """Counts tokens exactly; None: they are estimated."""

    @property
    def key(self) -> str:
        """Return the key of the corpus' job: its name is what it is known by, since its source may grow."""
        return hashlib.sha256(f"corpus\0{self.name}".encode()).hexdigest()

    @property
    def params(self) -> bytes:
        """Return the digest of everything but a text that its vector depends on."""
        asked = [self.provider, self.model, self.dimensions, self.normalize]
        return hashlib.sha256(json.dumps(asked).encode()).digest()


@dataclass(slots=True, kw_only=True)
class CorpusLoaded:
    """What loading a corpus did. Parts of texts count as one text."""

    job: Job
    corpus: Corpus
    texts: int = 0
    sent: int = 0
    """Texts, and parts of texts, that are new: these will be sent."""
    packs: int = 0
    known: int = 0
    """Texts that an earlier load had: their vectors are there, or on their way."""
    duplicates: int = 0
    empty: int = 0
    too_long: int = 0
    truncated: int = 0
    tokens: int = 0
    """Estimated, of what is sent."""
    unchanged: bool = False
    """Whether the source is as it was, so that it was not read again."""


class _Candidate(NamedTuple):
    """A text, or a part of one, on its way to its place."""

    seq: int
    part: int
    id: str
    digest: bytes
    """Empty: it is not sent."""
    data: bytes
    weight: int
    kept: bytes
    note: str | None


@dataclass(slots=True)
class Filling:
    """Puts texts into packs, in their order. ``parts`` is walked once."""

    seen: Seen
    options: CorpusOptions
    first_request: int
    loaded: CorpusLoaded
    _packs: list[Pack] = field(default_factory=list)
    _items: list[Item] = field(default_factory=list)
    _open: list[bytes] = field(default_factory=list)
    _open_id: int = 0
    _open_tokens: int = 0
    _packer: Packer = field(init=False)
    _head: bytes = field(init=False)
    _params: bytes = field(init=False)
    _counting: Counting | None = field(init=False)

    def __post_init__(self) -> None:
        self._packer, self._params = Packer(self.options.limits), self.options.params
        self._counting = self.options.counting
        self._head = pack_head(self.options.model, self.options.dimensions)

    def parts(self, texts: Iterable[Text]) -> Iterator[tuple[Sequence[Pack], Sequence[Item]]]:
        """Yield packs, and the items that refer to them or to earlier ones, some thousands at a time."""
        source = iter(texts)
        while some := list(islice(source, CHUNK)):
            candidates = self._gather(some)
            known = self.seen.find([candidate.digest for candidate in candidates if candidate.digest])
            fresh: dict[bytes, tuple[int, int]] = {}
            for seq, part, name, digest, data, weight, kept, note in candidates:
                spot = self._spot(digest, known, fresh)
                if spot is None:
                    size = tokens(data) if self._counting is None else self._counting.sizes[data]
                    pack, pos = self._packer.place(size, len(data) + 1)
                    if pos == 0:
                        self._close_pack()
                        if len(self._items) >= CHUNK:
                            yield self._take()
                    self._open.append(data)
                    self._open_id, self._open_tokens = self.first_request + pack, self._open_tokens + size
                    known[digest], fresh[digest] = (self._open_id, pos, True), (self._open_id, pos)
                    self._items.append(Item(seq, part, name, digest, self._open_id, pos, weight, kept, note))
                    continue
                told = DUPLICATE if spot[2] and note is None else note
                self._items.append(Item(seq, part, name, digest, spot[0], spot[1], weight, kept, told))
            self.seen.add(fresh)
            if len(self._items) >= MOST_HELD:
                self._packer.close()
                self._close_pack()
                yield self._take()
        self._close_pack()
        if self._items:
            yield self._take()

    def _spot(
        self, digest: bytes, known: dict[bytes, tuple[int, int, bool]], fresh: dict[bytes, tuple[int, int]]
    ) -> tuple[int | None, int, bool] | None:
        """Return where a text is already (pack, place, whether that is another text's); None: it is new."""
        found = known.get(digest)
        if found is None:
            return None if digest else (None, 0, False)
        request_id, pos, had = found
        if had:
            self.loaded.duplicates += 1
        else:
            self.loaded.known += 1
            known[digest], fresh[digest] = (request_id, pos, True), (request_id, pos)
        return found

    def _close_pack(self) -> None:
        if not self._open:
            return
        body = pack_body(self._head, self._open)
        self._packs.append(Pack(self._open_id, body, self._open_tokens, len(self._open)))
        self.loaded.packs += 1
        self.loaded.sent += len(self._open)
        self.loaded.tokens += self._open_tokens
        self._open, self._open_tokens = [], 0

    def _take(self) -> tuple[Sequence[Pack], Sequence[Item]]:
        taken = self._packs, self._items
        self._packs, self._items = [], []
        return taken

    def _gather(self, texts: Sequence[Text]) -> list[_Candidate]:
        """Return what is to be sent of these texts: all of each, its parts, or nothing."""
        found: list[_Candidate] = []
        loaded, most, params = self.loaded, self.options.limits.text_tokens, self._params
        if self._counting is not None:
            self._counting.look(texts)
        for text in texts:
            name, string, kept = text
            data, seq = text_bytes(string), loaded.texts
            loaded.texts = seq + 1
            if not string or string.isspace():
                loaded.empty += 1
                found.append(_Candidate(seq, 0, name, b"", b"", 0, kept, EMPTY))
            elif most is None or (len(data) <= most and self._counting is None) or self._size(data) <= most:
                digest = hashlib.sha256(params + data).digest()[:16]
                found.append(_Candidate(seq, 0, name, digest, data, 0, kept, None))
            else:
                found += self._long(seq, text, data, most)
        return found

    def _long(self, seq: int, text: Text, data: bytes, most: int) -> Iterator[_Candidate]:
        how = self.options.too_long
        if how == "error":
            if self._counting is not None or tokens(data) > DOUBT * most:
                self.loaded.too_long += 1
                yield _Candidate(seq, 0, text.id, b"", b"", 0, text.kept, TOO_LONG)
            else:
                yield self._whole(seq, text, data, None)
            return
        parts = cut(text.text, most) if self._counting is None else self._counting.cut(text.text, most)
        parts = [part for part in parts if part.strip()]
        if how == "truncate" or len(parts) == 1:
            self.loaded.truncated += 1
            yield self._whole(seq, text, text_bytes(parts[0]), TRUNCATED)
            return
        for n, part in enumerate(parts):
            data = text_bytes(part)
            if self.options.apart:
                self.loaded.texts = seq + n + 1
                yield _Candidate(seq + n, 0, f"{text.id}#{n + 1}", self._digest(data), data, 0, text.kept, None)
            else:
                yield _Candidate(seq, n, text.id, self._digest(data), data, self._size(data), text.kept, None)

    def _whole(self, seq: int, text: Text, data: bytes, note: str | None) -> _Candidate:
        return _Candidate(seq, 0, text.id, self._digest(data), data, 0, text.kept, note)

    def _size(self, data: bytes) -> int:
        return tokens(data) if self._counting is None else self._counting.sizes[data]

    def _digest(self, data: bytes) -> bytes:
        return hashlib.sha256(self._params + data).digest()[:16]
