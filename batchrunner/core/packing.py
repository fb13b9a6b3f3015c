"""Texts into packs: how many of them one request may hold, and which go together. Pure and streaming."""

from collections.abc import Mapping
from typing import Final, NamedTuple

RESPONSE_BYTES: Final = 2 << 20
"""Bytes that the answer to a pack may have: 64 of them are in flight, and have to fit in memory."""
BYTES_PER_FLOAT: Final = 5.4
"""Of an answer in base64: four bytes become 5.33 characters, and each vector has a frame around it."""
REQUEST_BYTES: Final = 2 << 20
"""Bytes that the texts of a pack may have."""
ASSUMED_DIMENSIONS: Final = 1536
"""Of a model that is in no table."""


class ModelFacts(NamedTuple):
    """What is known of an embedding model."""

    dimensions: int
    text_tokens: int
    """The most tokens that one text may have."""


class ProviderFacts(NamedTuple):
    """What a provider takes in one request."""

    texts: int
    tokens: int | None = None


MODELS: Final[Mapping[str, ModelFacts]] = {
    "togethercomputer/m2-bert-80M-32k-retrieval": ModelFacts(768, 32_768),
    "togethercomputer/m2-bert-80M-8k-retrieval": ModelFacts(768, 8_192),
    "BAAI/bge-large-en-v1.5": ModelFacts(1024, 512),
    "BAAI/bge-base-en-v1.5": ModelFacts(768, 512),
    "Alibaba-NLP/gte-modernbert-base": ModelFacts(768, 8_192),
    "intfloat/multilingual-e5-large-instruct": ModelFacts(1024, 514),
    "text-embedding-3-small": ModelFacts(1536, 8_192),
    "text-embedding-3-large": ModelFacts(3072, 8_192),
    "text-embedding-ada-002": ModelFacts(1536, 8_192),
}
"""Together's and OpenAI's own documentation, November 2025."""

PROVIDERS: Final[Mapping[str, ProviderFacts]] = {
    "together": ProviderFacts(100),
    "openai": ProviderFacts(2_048, 300_000),
}
"""Together publishes no limit and advises at most 100 texts; OpenAI takes 2,048 texts and 300,000 tokens."""
ANY_PROVIDER: Final = ProviderFacts(100)


class PackBounds(NamedTuple):
    """What somebody says of a model at a provider, before the tables; None: nothing is said."""

    texts: int | None = None
    """The most texts in a request."""
    tokens: int | None = None
    """The most tokens in a request."""
    text_tokens: int | None = None
    """The most tokens of one text."""
    dimensions: int | None = None
    """The length of a vector where no other is asked for."""

    def before(self, other: "PackBounds") -> "PackBounds":
        """Return these, and those of ``other`` where nothing is said here."""
        return PackBounds(*(theirs if ours is None else ours for ours, theirs in zip(self, other, strict=True)))


NOTHING_SAID: Final = PackBounds()


class PackLimits(NamedTuple):
    """What one pack may hold."""

    texts: int
    tokens: int | None = None
    text_tokens: int | None = None
    """The most tokens of one text; None: not known."""
    bytes: int = REQUEST_BYTES


def limits(provider: str, model: str, dimensions: int | None = None, said: PackBounds = NOTHING_SAID) -> PackLimits:
    """Return what a pack may hold for a model at a provider; what is ``said`` goes before the tables.

    ``dimensions`` are those that were asked for. The answer's size bounds the texts whatever was said.
    """
    facts, host = MODELS.get(model), PROVIDERS.get(provider, ANY_PROVIDER)
    size = vector_size(model, dimensions, said)
    return PackLimits(
        texts=max(1, min(said.texts or host.texts, int(RESPONSE_BYTES / (size * BYTES_PER_FLOAT)))),
        tokens=said.tokens or host.tokens,
        text_tokens=said.text_tokens or (facts.text_tokens if facts else None),
    )


def vector_size(model: str, dimensions: int | None = None, said: PackBounds = NOTHING_SAID) -> int:
    """Return how long a model's vectors are: as asked for, as somebody says, or by the table; else it is assumed."""
    facts = MODELS.get(model)
    return dimensions or said.dimensions or (facts.dimensions if facts else ASSUMED_DIMENSIONS)


class Packer:
    """Puts texts into packs, one after the other: the order of the source is the order of the packs.

    A pack is closed by the first text that does not fit. For texts of one size that leaves less than one text's room
    in each; a text that is too large for any pack gets one of its own, since only the provider can refuse it.
    """

    def __init__(self, bounds: PackLimits) -> None:
        self._bounds = bounds
        self._closed = True
        self._texts = 0
        self._tokens = 0
        self._bytes = 0

    def begins(self, tokens: int, size: int) -> bool:
        """Take the next text, with so many tokens, and bytes in the request; return whether it begins a new pack."""
        bounds = self._bounds
        full = (
            self._closed
            or self._texts >= bounds.texts
            or (bounds.tokens is not None and self._tokens + tokens > bounds.tokens)
            or self._bytes + size > bounds.bytes
        )
        if full:
            self._closed, self._texts, self._tokens, self._bytes = False, 0, 0, 0
        self._texts += 1
        self._tokens += tokens
        self._bytes += size
        return full

    def close(self) -> None:
        """Close the pack, full or not: the next text begins another one."""
        self._closed = True


def cut(text: str, most: int) -> list[str]:
    """Cut a text into parts of about ``most`` tokens each, four bytes to a token, at spaces where there are any.

    The parts, put together, are the text.
    """
    parts: list[str] = []
    start = 0
    while start < len(text):
        end = _end(text, start, most)
        if end < len(text):
            space = text.rfind(" ", start + (end - start) // 2, end)
            end = space + 1 if space > 0 else end
        parts.append(text[start:end])
        start = end
    return parts


def _end(text: str, start: int, most: int) -> int:
    """Return where a part that begins at ``start`` ends at the latest; it has one character at least."""
    end = min(len(text), start + 4 * most)
    while end - start > 1 and len(text[start:end].encode("utf-8", "replace")) > 4 * most:
        end = start + max(1, (end - start) * 3 // 4)
    return end
