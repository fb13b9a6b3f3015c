"""How long a sound is, by its header, and what a file is, by its first bytes."""

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.mediatypes import IMAGES, LOOKED_AT, SOUNDS, SUFFIXES, VIDEOS, media_types
from batchrunner.core.sound import milliseconds
from tests.media import flac_head, gif_head, jpeg_head, png, wav, webp_head


@given(
    st.integers(1, 3), st.sampled_from([1, 2, 4]), st.sampled_from([8000, 11025, 44100, 48000]), st.integers(1, 5000)
)
def test_a_wav_is_as_long_as_it_has_frames(channels, width, rate, frames):
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(bytes(channels * width * frames))
    assert milliseconds(out.getvalue()) == int(frames * 1000 / rate + 0.5) or None


def test_a_wav_with_chunks_before_its_data_and_one_that_was_streamed():
    plain = wav(1.0)
    listed = plain[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + plain[36:]
    assert milliseconds(listed) == 1000
    for size in (0, 0xFFFFFFFF):
        assert milliseconds(plain[:40] + struct.pack("<I", size) + plain[44:]) == 1000
    assert milliseconds(plain[: 44 + 8000]) == 500  # cut off: what is there counts


@given(st.integers(1, 2**36 - 1), st.integers(1, 2**20 - 1))
def test_a_flac_is_as_long_as_its_streaminfo_says(samples, rate):
    assert milliseconds(flac_head(samples, rate)) == (samples * 1000 + rate // 2) // rate or None


def box(name, content):
    return struct.pack(">I", 8 + len(content)) + name + content


def mp4(duration, scale, *, version=0, size=None):
    wide = ">II" if version == 0 else ">QQ"
    times = struct.pack(wide, 0, 0) + struct.pack(">I", scale) + struct.pack(">I" if version == 0 else ">Q", duration)
    header = bytes([version, 0, 0, 0]) + times + bytes(80)
    return (
        box(b"ftyp", b"M4A \0\0\0\0") + box(b"free", b"x" * 20) + box(b"moov", box(b"udta", b"") + box(b"mvhd", header))
    )


@pytest.mark.parametrize("version", [0, 1])
def test_an_mp4_is_as_long_as_its_movie_header_says(version):
    assert milliseconds(mp4(90_500, 1000, version=version)) == 90_500
    assert milliseconds(mp4(44_100 * 3, 44_100, version=version)) == 3000
    assert milliseconds(mp4((1 << (32 if version == 0 else 64)) - 1, 1000, version=version)) is None, "unknown"


def page(granule, content):
    return b"OggS\0\0" + struct.pack("<qIII", granule, 1, 0, 0) + bytes([1, len(content)]) + content


def test_an_ogg_is_as_long_as_its_last_page_says():
    opus = page(0, b"OpusHead\1\1" + struct.pack("<H", 312) + bytes(7))
    assert milliseconds(opus + page(5, b"x" * 200) + page(48_000 * 7 + 312, b"y")) == 7000
    vorbis = page(0, b"\x01vorbis" + bytes(4) + b"\1" + struct.pack("<I", 44_100) + bytes(14))
    assert milliseconds(vorbis + page(44_100 * 2, b"y")) == 2000
    assert milliseconds(page(0, b"Speex   ") + page(9, b"y")) is None


MP3 = b"\xff\xfb\x90\x00"
"""MPEG 1 layer III, 128 kbit/s, 44,100 Hz, stereo: 417 bytes a frame."""


def test_an_mp3_is_as_long_as_its_frames_or_its_bit_rate_say():
    assert milliseconds(MP3 + bytes(16_000 * 10 - 4)) == 10_000
    counted = MP3 + bytes(32) + b"Xing" + struct.pack(">II", 1, 441) + bytes(400)
    assert milliseconds(counted) == 11_520
    tagged = b"ID3\4\0\0" + bytes([0, 0, 1, 72]) + bytes(200) + counted
    assert milliseconds(tagged) == 11_520
    assert milliseconds(b"\xff\xfb\xf0\x00" + bytes(100)) is None, "no such bit rate"
    assert milliseconds(b"\xff\xf1\x50\x80" + bytes(100)) is None, "AAC"


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC", flac_head(0, 44100), flac_head(9, 0), b"ID3\4"]
)
def test_nobody_can_tell_the_length_of_what_does_not_say(data):
    assert milliseconds(data) is None


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            *(b"", b"RIFF\0\0\0\0WAVE", b"fLaC\0", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", b"OggS", b"ID3", MP3),
            *(mp4(1, 1)[:40], b"\0\0\0\0ftyp", page(0, b"OpusHead"), MP3 + bytes(32) + b"Xing\0\0\0\1"),
        ]
    ),
)
def test_no_bytes_make_it_raise(data, start):
    length = milliseconds(start + data)
    assert length is None or length >= 0
    assert all("/" in each for each in media_types(start + data))


@pytest.mark.parametrize(
    ("head", "types"),
    [
        (png(), ("image/png",)),
        (jpeg_head(1, 1), ("image/jpeg",)),
        (gif_head(1, 1), ("image/gif",)),
        (webp_head(1, 1), ("image/webp",)),
        (b"BM\x36\0\0\0\0\0\0\0", ("image/bmp",)),
        (b"BMW drivers", ()),
        (b"II*\0", ("image/tiff",)),
        (wav(0.01), ("audio/wav",)),
        (b"fLaC\0", ("audio/flac",)),
        (b"ID3\4", ("audio/mpeg",)),
        (b"\xff\xfb\x90\x64", ("audio/mpeg",)),
        (b"\xff\xf1\x50\x80", ("audio/aac",)),
        (b"\xff\xff\xff\xff", ()),
        (b"OggS\0", ("audio/ogg",)),
        (b"\0\0\0\x20ftypM4A \0\0", ("audio/mp4",)),
        (b"\0\0\0\x20ftypisom\0\0", ("video/mp4", "audio/mp4")),
        (b"\0\0\0\x20ftypqt  \0\0", ("video/quicktime",)),
        (b"\0\0\0\x20ftypheic\0\0", ("image/heic",)),
        (b"\0\0\0\x20ftypavif\0\0", ("image/avif",)),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01webm", ("video/webm", "audio/webm")),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01matroska", ("video/x-matroska",)),
        (b"<svg xmlns", ()),
        (b"%PDF-1.7", ()),
        (b"\x7fELF", ()),
        (b"SQLite format 3\0", ()),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", ()),
        (b"", ()),
    ],
)
def test_a_file_is_known_by_its_first_bytes(head, types):
    assert media_types(head[:LOOKED_AT]) == types


def test_every_sound_has_an_ending_and_no_type_is_of_two_kinds():
    assert set(SUFFIXES) == set(SOUNDS)
    assert len({*IMAGES, *SOUNDS, *VIDEOS}) == len(IMAGES) + len(SOUNDS) + len(VIDEOS)
