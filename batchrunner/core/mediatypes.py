"""What a file is, by its first bytes: names lie, and a provider looks at the content too.

The signatures are those of the formats' own specifications (PNG, JFIF, GIF89a, RIFF, ISO 14496-12, Matroska, FLAC,
RFC 3533, MPEG audio frames).
"""

LOOKED_AT = 64
"""Bytes from the start that tell a type."""

IMAGES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff")
"""Images that vision models are served with; the first four everywhere."""
SOUNDS = ("audio/wav", "audio/mpeg", "audio/mp4", "audio/flac", "audio/ogg", "audio/webm", "audio/aac")
VIDEOS = ("video/mp4", "video/webm", "video/quicktime", "video/x-matroska")

SUFFIXES = {
    "audio/wav": ("wav",),
    "audio/mpeg": ("mp3", "mpeg", "mpga"),
    "audio/mp4": ("m4a", "mp4"),
    "audio/flac": ("flac",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/webm": ("webm",),
    "audio/aac": ("aac",),
}
"""By what a sound's name ends; servers that go by the name know these."""

_EXACT = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime", b"avif": "image/avif"}
_HEIF = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis"})


def media_types(head: bytes) -> tuple[str, ...]:
    """Return the types that a file with this beginning may be, the likeliest first; none where it is nothing known.

    Containers hold sound as well as pictures that move, so WebM and MP4 are both.
    """
    for signature, media_type in _EXACT:
        if head.startswith(signature):
            return (media_type,)
    if head[:4] == b"RIFF":
        return _known(_RIFF.get(head[8:12]))
    if head[4:8] == b"ftyp":
        return _of_brand(head[8:12])
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ("video/x-matroska",) if b"matroska" in head else ("video/webm", "audio/webm")
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return ("image/bmp",)
    return _of_frame(head)


def _known(media_type: str | None) -> tuple[str, ...]:
    return () if media_type is None else (media_type,)


def _of_brand(brand: bytes) -> tuple[str, ...]:
    if brand in _HEIF:
        return ("image/heic",)
    return _known(_BRANDS.get(brand)) or ("video/mp4", "audio/mp4")


def _of_frame(head: bytes) -> tuple[str, ...]:
    """Tell MPEG audio by its first frame: eleven set bits, and no reserved version, layer, bit rate or sample rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return ()
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        return ("audio/aac",) if version >= 2 and head[2] >> 2 & 15 <= 12 else ()
    rate, frequency = head[2] >> 4, head[2] >> 2 & 3
    return ("audio/mpeg",) if version != 1 and 0 < rate < 15 and frequency != 3 else ()
