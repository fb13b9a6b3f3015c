"""Gzip, read as a stream: every member, bounded memory, and no bombs."""

import zlib
from collections.abc import Iterable, Iterator

from batchrunner.core.errors import InputError

MAX_RATIO = 500.0
"""Text compresses by 2 to 20, one prompt repeated for ever by a few hundred; deflate ends at 1,032."""
FREE = 8 << 20
"""Bytes that may come out before the ratio counts."""
GZIP = 31


def inflate(
    chunks: Iterable[bytes], name: str, chunk: int, *, max_ratio: float = MAX_RATIO, max_bytes: int | None = None
) -> Iterator[bytes]:
    """Yield what gzip members hold, ``chunk`` bytes at most at a time.

    Raises InputError for what is not gzip, ends early, or unpacks to more than ``max_bytes`` or ``max_ratio`` times
    its size.
    """
    taken = given = 0
    for piece in _members(chunks, name, chunk):
        if isinstance(piece, int):
            taken += piece
            continue
        given += len(piece)
        if (given > FREE and given > taken * max_ratio) or (max_bytes is not None and given > max_bytes):
            raise InputError(
                f"{name} unpacks to more than {given:,} bytes from {taken:,}: it looks like a decompression bomb",
                hint="if it is what you think it is, unpack it yourself and give the plain file",
                path=name,
            )
        yield piece


def _members(chunks: Iterable[bytes], name: str, chunk: int) -> Iterator[bytes | int]:
    """Yield the size of each compressed chunk, then what it unpacks to."""
    engine = None
    try:
        for data in chunks:
            yield len(data)
            rest = data
            while rest:
                if engine is None:
                    rest = rest.lstrip(b"\0")  # tape blocks pad with zeros; gzip itself skips them
                    if not rest:
                        break
                    engine = zlib.decompressobj(wbits=GZIP)
                yield from _drain(engine, rest, chunk)
                rest = engine.unused_data
                engine = None if engine.eof else engine
    except zlib.error as error:
        raise InputError(f"{name} is not a sound gzip file: {error}", path=name) from error
    if engine is not None:
        raise InputError(f"{name} is cut off: its gzip stream has no end", hint="copy or download it again", path=name)


def _drain(engine: "zlib._Decompress", data: bytes, chunk: int) -> Iterator[bytes]:
    """Yield all that these bytes unpack to, in pieces: one megabyte of zeros is a thousand times as much text."""
    while True:
        piece = engine.decompress(data, chunk)
        if piece:
            yield piece
        data = engine.unconsumed_tail
        if engine.eof or not data:
            return
