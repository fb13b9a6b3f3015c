"""What messages are made of, and their length in tokens: text, pictures by their size, sounds by their length."""

from __future__ import annotations

import binascii
from typing import Any, Final

from batchrunner.simulator.pictures import TILE_TOKENS, picture_of_url, size_of, tokens_of_picture
from batchrunner.simulator.sounds import length_of
from batchrunner.simulator.text import tokens_of

TOKENS_PER_SECOND: Final = 10
"""What a second of sound counts as input."""
_LINKS: Final = ("image_url", "video_url", "audio_url")


class BadPartError(Exception):
    """A part that the provider would refuse; the message is its own."""


def message_tokens(message: Any) -> int:
    """Tokens of one chat message, 3 of them for its frame. Raises BadPartError."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return tokens_of(content) + 3
    if isinstance(content, list):
        return 3 + sum(_part_tokens(part) for part in content)
    return 3


def _part_tokens(part: Any) -> int:
    if not isinstance(part, dict):
        return 0
    text = part.get("text")
    if isinstance(text, str):
        return tokens_of(text)
    kind = part.get("type")
    if kind in _LINKS:
        return _link_tokens(str(kind), part.get(str(kind)))
    return _sound_tokens(part.get("input_audio")) if kind == "input_audio" else 0


def _link_tokens(kind: str, link: Any) -> int:
    """A link on the web is not followed, and counts as one tile; so do a video and a sound."""
    url = link.get("url") if isinstance(link, dict) else link
    if not isinstance(url, str) or not url.startswith(("https://", "http://", "data:")):
        raise BadPartError(f"Invalid '{kind}': expected an http(s) URL or a base64 data URL.")
    if kind != "image_url" or not url.startswith("data:"):
        return TILE_TOKENS
    data = picture_of_url(url)
    size = None if data is None else size_of(data)
    if size is None:
        raise BadPartError("You uploaded an unsupported image. Please make sure your image is valid.")
    return tokens_of_picture(size)


def _sound_tokens(sound: Any) -> int:
    data = sound.get("data") if isinstance(sound, dict) else None
    try:
        raw = binascii.a2b_base64(data, strict_mode=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or not isinstance(sound.get("format"), str):
        raise BadPartError("Invalid 'input_audio': expected base64 data and a format.")
    return -(-length_of(raw) * TOKENS_PER_SECOND // 1000)
