"""A corpus: texts to be embedded, and what is asked for them."""

from typing import NamedTuple


class Text(NamedTuple):
    """One text of a corpus, as its source has it."""

    id: str
    text: str
    kept: bytes = b"{}"
    """The columns that are carried along, as a compact JSON object."""


class Asked(NamedTuple):
    """What every vector of a corpus has in common."""

    dimensions: int | None
    """None: not known before the first answer."""
    normalize: bool
    """Whether vectors are brought to length 1 before they are kept."""


class Vectors(NamedTuple):
    """What the answer to a pack brought: a vector for each of its texts, in their order."""

    data: bytes
    """``count`` times ``dimensions`` float32, little-endian."""
    dimensions: int
    count: int  # type: ignore[assignment]  # nobody misses a tuple's own count()


class Half(NamedTuple):
    """A part of a pack, as a request of its own."""

    body: bytes
    est_in: int
    texts: int


class Item(NamedTuple):
    """One text of a corpus, or one part of a text that was cut in parts, and where its vector is."""

    seq: int
    """From 0, in the order of the source."""
    part: int
    """From 0; a text that was not cut has one."""
    id: str
    digest: bytes
    """First 16 bytes of a SHA-256 over the text and everything that its vector depends on; empty: nothing is sent."""
    request_id: int | None
    """The pack that it is in; None: it is not sent."""
    pos: int
    """Its place in that pack."""
    weight: int
    """Estimated tokens of a part, by which parts are averaged; 0: the text was not cut."""
    kept: bytes
    note: str | None
    """``duplicate``, ``empty``, ``too_long``, ``truncated``; None: nothing to say."""


class Pack(NamedTuple):
    """One call's worth of texts, ready to be queued."""

    request_id: int
    body: bytes
    est_in: int
    """Estimated tokens of all its texts."""
    texts: int


class TextCounts(NamedTuple):
    """Texts of a corpus by what became of them; they add up to ``total``."""

    total: int
    embedded: int
    failed: int
    """Their packs failed for good."""
    waiting: int
    """Queued or in the air."""
    empty: int
    too_long: int
    duplicates: int
    """Of all these, the ones that stand for a text that came before them."""


DUPLICATE, EMPTY, TOO_LONG, TRUNCATED = "duplicate", "empty", "too_long", "truncated"
"""Notes of items. The words are stored and shown: never rename one."""
