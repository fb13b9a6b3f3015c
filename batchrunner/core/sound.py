"""How long a sound is, by what its container says: what speech to text is billed by where the provider does not tell.

Pure; reads headers, never samples. Exact for WAV (RIFF) and FLAC (RFC 9639, 8.2), whose headers count samples; for
anything else nobody can tell without decoding it.
"""

from collections.abc import Iterator

_STREAMING = 0xFFFFFFFF
"""A size that was not known when the header was written."""


def milliseconds(data: bytes) -> int | None:
    """Return the length of a sound in milliseconds, rounded half up; None where its container does not tell."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _wav(data)
    return _flac(data) if data[:4] == b"fLaC" else None


def _wav(data: bytes) -> int | None:
    """Divide the bytes of samples by the bytes a second (``nAvgBytesPerSec``) of the format chunk before them."""
    rate = 0
    for name, start, size in _chunks(data):
        if name == b"fmt " and size >= 16:
            rate = int.from_bytes(data[start + 8 : start + 12], "little")
        elif name == b"data":
            there = len(data) - start
            return _rounded(there if size in (0, _STREAMING) else min(size, there), rate)
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of the chunks of a RIFF file, each padded to an even length."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, size
        at += 8 + size + size % 2


def _flac(data: bytes) -> int | None:
    """Read sample rate (20 bits) and number of samples (36 bits, 0: unknown) of STREAMINFO, always the first block."""
    if len(data) < 26 or data[4] & 0x7F != 0:
        return None
    facts = int.from_bytes(data[18:26], "big")
    return _rounded(facts & (1 << 36) - 1, facts >> 44)


def _rounded(amount: int, rate: int) -> int | None:
    return (amount * 1000 + rate // 2) // rate if amount > 0 and rate > 0 else None
