"""What a sound file is and how long it lasts, by rules of the simulator's own."""

from __future__ import annotations

import struct
from typing import Final

_GUESSED_RATE: Final = 16_000
"""Bytes a second (128 kbit) of what is not a WAV."""
_EXTENSIONS: Final = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
"""What OpenAI goes by."""


def kind_of(data: bytes) -> str | None:
    """`wav`, `flac`, `ogg`, `mp3`, `m4a`, `webm`, `aac`, or None if it is no sound that Together takes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    starts = {b"fLaC": "flac", b"OggS": "ogg", b"\x1a\x45\xdf\xa3": "webm"}
    if data[:4] in starts:
        return starts[data[:4]]
    if data[4:8] == b"ftyp":
        return "m4a"
    if data[:3] == b"ID3":
        return "mp3"
    if len(data) > 1 and data[0] == 0xFF and data[1] >= 0xE0:
        return "aac" if data[1] & 6 == 0 else "mp3"
    return None


def has_known_ending(filename: str) -> bool:
    """Whether OpenAI would take a file of this name."""
    return filename.rpartition(".")[2].lower() in _EXTENSIONS


def length_of(data: bytes) -> int:
    """Milliseconds, at least 1: exact for a WAV, else by its bytes."""
    rate: int = 0
    place: int = 12
    while kind_of(data) == "wav" and place + 8 <= len(data):
        name: bytes = data[place : place + 4]
        size: int = int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"fmt ":
            (rate,) = struct.unpack_from("<I", data, place + 16)
        if name == b"data" and rate:
            return max(1, round(min(size, len(data) - place - 8) * 1000 / rate))
        place += 8 + size + size % 2
    return max(1, round(len(data) * 1000 / _GUESSED_RATE))
