"""How long a sound is, by what its container says: what speech to text is billed by where the provider does not tell.

Pure, and quick whatever the size: headers are read, never samples. WAV (RIFF), FLAC (RFC 9639, 8.2), MP4 (ISO 14496-12,
8.2.2) and Ogg (RFC 3533, 6; RFC 7845 for Opus) count their samples. MP3 tells its frames in a Xing or Info header;
without one its first frame's bit rate is taken for all, which is what a constant bit rate means. Of anything else
nobody can tell it without decoding it.
"""

from collections.abc import Callable, Iterator

_UNKNOWN = 0xFFFFFFFF
"""A size that was not known when the header was written."""
_LAST_PAGE = 65_536
"""Bytes at the end in which the last page of an Ogg stream begins: no page is longer."""
_MOST_BOXES = 10_000
_RATES = ((11025, 12000, 8000), (), (22050, 24000, 16000), (44100, 48000, 32000))
"""Hz, by the version of MPEG audio (2.5, reserved, 2, 1) and index."""
_BITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Kilobits a second of layer III, of version 1 and of the lower ones, from index 1."""


def milliseconds(data: bytes) -> int | None:
    """Return the length of a sound in milliseconds, rounded half up; None where its container does not tell."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _wav(data)
    if data[4:8] == b"ftyp":
        return _mp4(data)
    reader = _READERS.get(data[:4])
    return reader(data) if reader is not None else _mp3(data)


def _wav(data: bytes) -> int | None:
    """Divide the bytes of samples by the bytes a second (``nAvgBytesPerSec``) of the format chunk before them."""
    rate = 0
    for name, start, size in _chunks(data):
        if name == b"fmt " and size >= 16:
            rate = _little(data, start + 8)
        elif name == b"data":
            there = len(data) - start
            return _rounded(there if size in (0, _UNKNOWN) else min(size, there), rate)
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of the chunks of a RIFF file, each padded to an even length."""
    at = 12
    for _ in range(_MOST_BOXES):
        if at + 8 > len(data):
            return
        size = _little(data, at + 4)
        yield data[at : at + 4], at + 8, size
        at += 8 + size + size % 2


def _flac(data: bytes) -> int | None:
    """Read sample rate (20 bits) and number of samples (36 bits, 0: unknown) of STREAMINFO, always the first block."""
    if len(data) < 26 or data[4] & 0x7F != 0:
        return None
    facts = int.from_bytes(data[18:26], "big")
    return _rounded(facts & (1 << 36) - 1, facts >> 44)


def _mp4(data: bytes) -> int | None:
    """Read time scale and duration of the movie header (``moov/mvhd``)."""
    for name, start, end in _boxes(data, 0, len(data)):
        if name != b"moov":
            continue
        for inner, at, stop in _boxes(data, start, end):
            if inner == b"mvhd" and stop - at >= 32:
                wide = data[at] == 1
                place, size = (at + 20, 8) if wide else (at + 12, 4)
                duration = _big(data, place + 4, size)
                return None if duration == (1 << 8 * size) - 1 else _rounded(duration, _big(data, place, 4))
    return None


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of the boxes between two places."""
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size, head = _big(data, at, 4), 8
        if size == 1:
            size, head = _big(data, at + 8, 8), 16
        size = size or end - at  # 0: to the end
        if size < head:
            return
        yield data[at + 4 : at + 8], at + head, min(at + size, end)
        at += size


def _ogg(data: bytes) -> int | None:
    """Divide the last page's granule position by the rate of the stream that the first page announces."""
    if data[28:36] == b"OpusHead":
        rate, skipped = 48_000, int.from_bytes(data[38:40], "little")
    elif data[28:35] == b"\x01vorbis":
        rate, skipped = _little(data, 40), 0
    else:
        return None
    last = data.rfind(b"OggS", max(0, len(data) - _LAST_PAGE))
    granule = int.from_bytes(data[last + 6 : last + 14], "little", signed=True) if last >= 0 else 0
    return _rounded(granule - skipped, rate)


def _mp3(data: bytes) -> int | None:
    """Count the frames that a Xing or Info header tells, else divide the bytes by the first frame's bit rate."""
    start = 10 + _seven_bits(data[6:10]) if data[:3] == b"ID3" else 0
    head = data[start : start + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # 11 bits of sync, layer III
        return None
    version, bits, place = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or place == 3:
        return None
    found = start + 4 + _side(version, mono=head[3] >> 6 == 3)
    if data[found : found + 4] in (b"Xing", b"Info") and _big(data, found + 4, 4) & 1:
        samples = _big(data, found + 8, 4) * (1152 if version == 3 else 576)
        return _rounded(samples, _RATES[version][place])
    kilobits = (_BITS_1 if version == 3 else _BITS_2)[bits - 1]
    return _rounded(8 * (len(data) - start), kilobits * 1000)


def _side(version: int, *, mono: bool) -> int:
    """Return the bytes of side information, behind which a Xing header stands."""
    if version == 3:
        return 17 if mono else 32
    return 9 if mono else 17


def _seven_bits(size: bytes) -> int:
    """Read an ID3v2 size: four bytes of seven bits."""
    total = 0
    for byte in size:
        total = total << 7 | byte & 0x7F
    return total


def _little(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _rounded(amount: int, rate: int) -> int | None:
    return (amount * 1000 + rate // 2) // rate if amount > 0 and rate > 0 else None


_READERS: dict[bytes, Callable[[bytes], int | None]] = {b"fLaC": _flac, b"OggS": _ogg}
