"""Draws the pictures and plays the sounds of this folder: ``python jobs/files/draw.py`` writes all of them anew.

Nothing but arithmetic, so nobody else holds a right to them; a sound lasts a whole number of seconds, as it is billed.
"""

import math
import struct
import wave
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
RATE = 8000
"""Samples a second."""
Colour = tuple[int, int, int]
Paint = Callable[[int, int], Colour]

RAIN = {"Mar": 38, "Apr": 52, "May": 71, "Jun": 64, "Jul": 29}
"""Millimetres a month, as the chart shows them; two rows of dots are a millimetre."""
TUNE = (262, 294, 330, 262, 262, 294, 330, 262)
"""Hertz: how "Are you sleeping" begins, a quarter of a second each."""
MORSE = {"H": "....", "E": ".", "L": ".-..", "O": "---"}


def png(path: Path, width: int, height: int, paint: Paint) -> None:
    """Write a picture whose every dot ``paint(x, y)`` colours."""
    rows = b"".join(b"\0" + bytes(part for x in range(width) for part in paint(x, y)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def wav(path: Path, samples: Sequence[float]) -> None:
    """Write a sound of one channel and eight bits; samples lie between -1 and 1."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(RATE)
        sound.writeframes(bytes(128 + round(100 * sample) for sample in samples))


def harbour(x: int, y: int) -> Colour:
    """A sun that goes down behind a sailing boat."""
    if 60 <= y < 106 and 116 <= x < 118 + (y - 60) // 2:
        return 250, 248, 240  # the sail
    if 108 <= y < 116 and 96 + (y - 108) <= x < 144 - (y - 108):
        return 92, 44, 28  # the hull
    if y < 100:
        if math.hypot(x - 180, y - 92) < 26:
            return 255, 226, 120
        return 250 - y // 2, 140 + y // 2, 90 + y
    glitter = abs(x - 180) < 20 + (y - 100) // 3 and (y // 3 + x // 9) % 2
    return (240, 190, 120) if glitter else (24, 60 + (y - 100) // 2, 110)


def chart(x: int, y: int) -> Colour:
    """Five columns, one for each month, as high as it rained."""
    month, within = divmod(x - 10, 44)
    if y >= 158:
        return 40, 40, 40
    if 0 <= month < len(RAIN) and 6 <= within < 38 and 158 - y <= 2 * list(RAIN.values())[month]:
        return 46, 110, 180
    return (225, 225, 225) if (158 - y) % 40 == 0 else (255, 255, 255)


def tune() -> list[float]:
    """Eight notes, each dying away."""
    spell = RATE // 4
    return [math.exp(-3 * n / spell) * math.sin(math.tau * pitch * n / RATE) for pitch in TUNE for n in range(spell)]


def morse(text: str, seconds: int) -> list[float]:
    """A text in Morse code, 60 ms a dot, with silence up to the end."""
    marks = "   ".join(" ".join(MORSE[letter]) for letter in text)
    units = {".": (1, True), "-": (3, True), " ": (1, False)}
    dot = RATE * 60 // 1000
    on = [sounding for mark in marks for length, sounding in [units[mark]] for _ in range(length * dot)]
    samples = [0.8 * math.sin(math.tau * 600 * n / RATE) if sounding else 0.0 for n, sounding in enumerate(on)]
    return samples + [0.0] * (seconds * RATE - len(samples))


if __name__ == "__main__":
    png(HERE / "harbour.png", 240, 160, harbour)
    png(HERE / "rain.png", 240, 170, chart)
    wav(HERE / "tune.wav", tune())
    wav(HERE / "morse.wav", morse("HELLO", 4))
