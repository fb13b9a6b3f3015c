"""Real small files, drawn and spoken by code: PNG pictures, WAV and MP3 sound, an MP4 shell. And the links to them.

A file is made anew from its name at every look, so nothing has to be kept: the name says what it shows, how large it
is, and until when the link holds.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

FILES: Final = "/files/"
"""Where they are served, without a key, as a provider's storage does."""
_NAME: Final = re.compile(r"(img|snd|vid)-(\d{1,5})x(\d{1,5})-([0-9a-f]{16})-(\d{1,12})\.(png|wav|mp4)")
_SAMPLES: Final = 8_000
"""Samples a second."""
_MP3_FRAME: Final = b"\xff\xfb\x90\x64" + bytes(413)
"""One frame of silence: MPEG-1 layer III, 128 kbit/s at 44.1 kHz, 26 ms."""
TYPES: Final[Mapping[str, str]] = {
    "png": "image/png",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "raw": "application/octet-stream",
    "pcm": "application/octet-stream",
    "mp4": "video/mp4",
}


class File(NamedTuple):
    """A file behind a link."""

    content_type: str
    body: bytes
    until: int
    """Unix seconds at which its link ends."""


def png(width: int, height: int, seed: str) -> bytes:
    """A picture of stripes in two colours that `seed` (16 hex digits) decides; its size is true."""
    colours = bytes.fromhex(seed)[:6]
    stripe = bytes.fromhex(seed)[6:7] * ((width + 7) // 8)
    rows = (b"\0" + stripe) * height
    head = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", colours), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def samples(milliseconds: int, seed: str) -> bytes:
    """A tone whose pitch `seed` decides: 16-bit samples, one channel."""
    half = 8 + bytes.fromhex(seed)[0] % 24
    wave = struct.pack("<h", 8000) * half + struct.pack("<h", -8000) * half
    size = 2 * _SAMPLES * milliseconds // 1000
    return (wave * (size // len(wave) + 1))[:size]


def wav(milliseconds: int, seed: str) -> bytes:
    """The same as a WAV file."""
    data = samples(milliseconds, seed)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _SAMPLES, 2 * _SAMPLES, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 28 + 8 + len(data), b"WAVE")
        + form
        + struct.pack("<4sI", b"data", len(data))
        + data
    )


def mp4(width: int, height: int, seed: str) -> bytes:
    """The boxes of a video file, with the seed and the size in place of pictures."""
    words = f"{width}x{height} {seed} ".encode() * 64
    boxes = ((b"ftyp", b"isom\0\0\2\0isommp41"), (b"free", b""), (b"mdat", words))
    return b"".join(struct.pack(">I4s", 8 + len(data), kind) + data for kind, data in boxes)


def speech(form: str, milliseconds: int, seed: str) -> bytes:
    """Sound in one of the formats that are made here: wav, mp3 (silence), raw or pcm."""
    if form == "wav":
        return wav(milliseconds, seed)
    if form == "mp3":
        return _MP3_FRAME * max(1, milliseconds // 26)
    return samples(milliseconds, seed)


def link(kind: str, size: tuple[int, int], seed: str, until: int) -> str:
    """The path of a picture (`img`) or a video (`vid`)."""
    return f"{FILES}{kind}-{size[0]}x{size[1]}-{seed}-{until}.{'png' if kind == 'img' else 'mp4'}"


_MAKERS: Final[Mapping[str, Callable[[int, int, str], bytes]]] = {"img": png, "vid": mp4}


def behind(path: str) -> File | None:
    """The file that a path names; None where it names none."""
    found = _NAME.fullmatch(path.removeprefix(FILES))
    if found is None or found[1] not in _MAKERS:
        return None
    body = _MAKERS[found[1]](int(found[2]), int(found[3]), found[4])
    return File(TYPES[found[6]], body, int(found[5]))
