"""The size of a picture from its first bytes, and what it counts as input. A reader of the simulator's own."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator
from typing import NamedTuple

TILE_TOKENS = 1601
_TILE = 560
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a JPEG's frame header, in which its size stands."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def tokens_of_picture(size: Size) -> int:
    """Together's formula for its vision models: 1,601 tokens for each of one to four tiles."""
    across = min(2, max(size.width // _TILE, 1))
    down = min(2, max(size.height // _TILE, 1))
    return across * down * TILE_TOKENS


def picture_of_url(url: str) -> bytes | None:
    """The bytes in a base64 data URL; None if it is none, or is broken."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        return None
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return None


def size_of(data: bytes) -> Size | None:
    """The size of a PNG, JPEG, GIF, WebP or BMP; None if it is none of them, or is cut off before its size."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return Size(*struct.unpack_from(">II", data, 16))
        if data.startswith((b"GIF87a", b"GIF89a")):
            return Size(*struct.unpack_from("<HH", data, 6))
        if data.startswith(b"\xff\xd8"):
            return next(_frames(data), None)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return Size(width, abs(height))
    except struct.error:
        pass
    return None


def _frames(data: bytes) -> Iterator[Size]:
    """Sizes in the frame headers of a JPEG, segment by segment."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], struct.unpack_from(">H", data, place + 2)[0]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            yield Size(width, height)
        place += 2 + max(length, 2)


def _webp(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return Size(1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Size(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return Size(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    return None
