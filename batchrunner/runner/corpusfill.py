"""Texts of a corpus on their way into packs and items: told apart by their digests, cut where they are too long."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from batchrunner.core.corpus import DUPLICATE, Item, Pack
from batchrunner.core.job import Job
from batchrunner.core.packing import Packer, PackLimits
from batchrunner.endpoints.vectors import pack_body, pack_head
from batchrunner.runner.corpuscounting import Counting
from batchrunner.store.base import Corpus

Spot = tuple[int | None, int, bool]
"""Where a text is: its pack (None: it is not sent), its place in it, and whether this load had it before."""
NOWHERE: Final[Spot] = (None, 0, False)
CHUNK = 10_000
"""Texts that are looked up, and items that are stored, at a time."""
MOST_HELD = 50_000
"""Items that wait for the open pack at most: then it is closed, full or not."""
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


class Candidate(NamedTuple):
    """A text, or a part of one, on its way to its place."""

    seq: int
    part: int
    id: str
    digest: bytes
    """Empty: it is not sent."""
    data: bytes
    size: int
    """Tokens."""
    weight: int
    kept: bytes
    note: str | None


Part = tuple[Sequence[Pack], Sequence[Item]]
"""Packs that are full, and items that refer to them or to earlier ones."""


class Placed(NamedTuple):
    """Where some texts went."""

    fresh: dict[bytes, tuple[int, int]]
    """The digests that the source has had now for the first time: pack, and place in it."""
    parts: list[Part]


class Filling:
    """Puts texts into packs, in their order."""

    def __init__(self, options: CorpusOptions, first_request: int, loaded: CorpusLoaded) -> None:
        self._loaded = loaded
        self._packer = Packer(options.limits)
        self._head = pack_head(options.model, options.dimensions)
        self._packs: list[Pack] = []
        self._items: list[Item] = []
        self._open: list[bytes] = []
        self._open_id = first_request - 1
        self._open_tokens = 0

    def place(self, candidates: Sequence[Candidate], known: dict[bytes, Spot]) -> Placed:
        """Give some texts their places. ``known`` are those among them that have one; the new ones are added to it."""
        placed = Placed({}, [])
        fresh, items, open_ = placed.fresh, self._items, self._open
        for seq, part, name, digest, data, size, weight, kept, note in candidates:
            spot = known.get(digest)
            if spot is None and digest:
                if self._packer.begins(size, len(data) + 1):
                    self._close_pack()
                    if len(items) >= CHUNK:
                        placed.parts.append(self._take())
                        items = self._items
                    open_ = self._open
                    self._open_id += 1
                pos = len(open_)
                open_.append(data)
                self._open_tokens += size
                fresh[digest] = self._open_id, pos
                known[digest] = self._open_id, pos, True
                items.append(Item(seq, part, name, digest, self._open_id, pos, weight, kept, note))
                continue
            request_id, pos, had = spot or NOWHERE
            told = DUPLICATE if had and note is None else note
            items.append(Item(seq, part, name, digest, request_id, pos, weight, kept, told))
            if spot is not None and request_id is not None:
                self._count(digest, request_id, pos, had, known, fresh)
        if len(items) >= MOST_HELD:
            self._packer.close()
            placed.parts.append(self.rest())
        return placed

    def _count(
        self,
        digest: bytes,
        request_id: int,
        pos: int,
        had: bool,
        known: dict[bytes, Spot],
        fresh: dict[bytes, tuple[int, int]],
    ) -> None:
        """Count a text that has a place already: of an earlier load, or as a duplicate."""
        if had:
            self._loaded.duplicates += 1
            return
        self._loaded.known += 1
        known[digest] = request_id, pos, True
        fresh[digest] = request_id, pos

    def rest(self) -> Part:
        """Close the open pack, and return what was not returned yet."""
        self._close_pack()
        return self._take()

    def _close_pack(self) -> None:
        if not self._open:
            return
        body = pack_body(self._head, self._open)
        self._packs.append(Pack(self._open_id, body, self._open_tokens, len(self._open)))
        self._loaded.packs += 1
        self._loaded.sent += len(self._open)
        self._loaded.tokens += self._open_tokens
        self._open, self._open_tokens = [], 0

    def _take(self) -> Part:
        taken = self._packs, self._items
        self._packs, self._items = [], []
        return taken
