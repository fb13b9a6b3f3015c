"""Small pictures and sounds, made by code."""

import io
import math
import struct
import wave
import zlib


def png(width: int = 8, height: int = 8, *, shade: int = 0, padding: int = 0) -> bytes:
    """A grey picture that every decoder takes; ``padding`` bytes of a private chunk make it as large as is wanted."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([shade]) * width) * height
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows, 1))]
    if padding:
        chunks.append((b"prIv", bytes(range(256)) * (padding // 256) + bytes(padding % 256)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in [*chunks, (b"IEND", b"")])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg_head(width: int, height: int) -> bytes:
    """What a JPEG begins with, up to its frame header: enough to know its type and size."""
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    return b"\xff\xd8" + app + b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)


def gif_head(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3)


def webp_head(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size


def wav(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """A tone, 16 bits, mono."""
    frames = round(seconds * rate)
    samples = (round(8000 * math.sin(n / 5)) for n in range(frames))
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(struct.pack(f"<{frames}h", *samples))
    return out.getvalue()


def flac_head(samples: int, rate: int) -> bytes:
    """What a FLAC begins with: its STREAMINFO block (RFC 9639, 8.2)."""
    facts = rate << 44 | 0 << 41 | 15 << 36 | samples
    return b"fLaC\x80\x00\x00\x22" + bytes(10) + facts.to_bytes(8, "big") + bytes(16)
