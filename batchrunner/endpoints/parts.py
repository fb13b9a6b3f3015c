"""Files that the parts of messages refer to: found at load, and put in the place of their references when it is sent.

``{"type": "image_url", "image_url": {"url": "file:photos/1.jpg"}}`` and its likes for video and sound become data URLs,
``{"type": "input_audio", "input_audio": {"data": "file:talk.wav", "format": "wav"}}`` bare base64 (the chat formats of
OpenAI, Together and vLLM). Every other value keeps its bytes; the space around keys that lead to a file goes.
"""

import binascii
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from batchrunner.core.attachments import Attached, Wanted
from batchrunner.core.mediatypes import IMAGES, SOUNDS, VIDEOS
from batchrunner.endpoints.base import BadBody

SCHEME = "file:"
MOST_IMAGE = 20 * 1024 * 1024
"""Bytes of an image: the most that OpenAI takes."""
MOST_SOUND = 25 * 1024 * 1024
MOST_VIDEO = 50 * 1024 * 1024
"""Bytes of a video: what OpenAI takes of a whole request."""

FORMATS = {
    "wav": ("audio/wav",),
    "mp3": ("audio/mpeg",),
    "flac": ("audio/flac",),
    "ogg": ("audio/ogg",),
    "opus": ("audio/ogg",),
    "m4a": ("audio/mp4",),
    "aac": ("audio/aac",),
    "webm": ("audio/webm",),
}
"""What ``input_audio.format`` may say, and what the file then has to be; OpenAI and Together know the first two."""

Pieces = list[bytes]
"""JSON text in parts, so that a long file is copied once, into the body that is sent."""
Visit = Callable[[Wanted], Pieces | None]
"""Given a reference, returns the JSON value for its place; None leaves it."""
Change = Callable[[msgspec.Raw], Pieces | None]

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_name: Callable[[str], bytes] = msgspec.json.Encoder().encode


class _Kind(NamedTuple):
    """A kind of part."""

    accepts: tuple[str, ...]
    most: int


_LINKED = {
    "image_url": _Kind(IMAGES, MOST_IMAGE),
    "video_url": _Kind(VIDEOS, MOST_VIDEO),
    "audio_url": _Kind(SOUNDS, MOST_SOUND),
}


def may_refer(body: bytes) -> bool:
    """Whether a body can refer to files at all: a quick look that nearly every other body fails.

    Parts stand in a list within the list of turns; to count a single byte is quicker than to look for five.
    """
    if body.count(b"[") < 2:
        return False
    if b"file:" in body:
        return True
    return b"\\u00" in body and any(escaped in body for escaped in (b"\\u006", b"\\u003a", b"\\u003A"))


def references(body: bytes, turns: str = "messages") -> tuple[Wanted, ...]:
    """Return the files that the messages of a chat body refer to, in the order in which ``inlined`` wants them.

    ``turns`` is the key that they stand under. Raises BadBody for a sound whose ``format`` is missing or unknown.
    """
    found: list[Wanted] = []
    _change_body(body, turns, found.append)
    return tuple(found)


def inlined(body: bytes, files: Sequence[Attached], turns: str = "messages") -> bytes:
    """Return a chat body with its files in the places of their references."""
    left = iter(files)

    def visit(wanted: Wanted) -> Pieces:
        file = next(left)
        start = b'"' if wanted.accepts in _BARE else b'"data:%b;base64,' % file.media_type.encode()
        return [start, *_base64(file.data), b'"']

    pieces = _change_body(body, turns, visit)
    return body if pieces is None else b"".join(pieces)


def _base64(data: bytes) -> Pieces:
    """Encode a file, some of it at a time: other threads get their turn in between."""
    whole = memoryview(data)
    steps = range(0, len(data), _AT_ONCE)
    return [binascii.b2a_base64(whole[start : start + _AT_ONCE], newline=False) for start in steps]


_AT_ONCE = 3 * 128 * 1024
"""Bytes; a multiple of three, so that the pieces join without padding between them."""
_BARE = frozenset(FORMATS.values())


def reference(value: msgspec.Raw, accepts: tuple[str, ...], most: int) -> Wanted | None:
    """Return the file that a JSON value refers to; None where it is no string, or no reference."""
    try:
        text = _STRING.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Wanted(text[len(SCHEME) :], accepts, most, bytes(value)) if text.startswith(SCHEME) else None


def _change_body(body: bytes, turns: str, visit: Visit) -> Pieces | None:
    part = partial(_in_object, changes=_changes(visit))
    message = partial(_in_object, changes={"content": partial(_in_list, change=part)})
    return _in_object(msgspec.Raw(body), changes={turns: partial(_in_list, change=message)})


def _changes(visit: Visit) -> Mapping[str, Change]:
    changes: dict[str, Change] = {name: partial(_linked, kind=kind, visit=visit) for name, kind in _LINKED.items()}
    return changes | {"input_audio": partial(_sound, visit=visit)}


def _linked(value: msgspec.Raw, kind: _Kind, visit: Visit) -> Pieces | None:
    """A link of its own (as early vLLM wants it), or in an object as ``url``."""

    def change(url: msgspec.Raw) -> Pieces | None:
        wanted = reference(url, kind.accepts, kind.most)
        return None if wanted is None else visit(wanted)

    return change(value) or _in_object(value, changes={"url": change})


def _sound(value: msgspec.Raw, visit: Visit) -> Pieces | None:
    members = _members(value)
    if members is None or "data" not in members:
        return None
    wanted = reference(members["data"], SOUNDS, MOST_SOUND)
    if wanted is None:
        return None
    accepts = FORMATS.get(_text(members.get("format", msgspec.Raw())))
    if accepts is None:
        raise BadBody(f"`input_audio.format` beside a file must be one of {', '.join(FORMATS)}", "messages")
    fitting = wanted._replace(accepts=accepts)
    return _in_object(value, changes={"data": lambda _: visit(fitting)})


def _text(value: msgspec.Raw) -> str:
    try:
        return _STRING.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _in_object(value: msgspec.Raw, changes: Mapping[str, Change]) -> Pieces | None:
    """Change members of an object; None where nothing changes, or it is none."""
    members = _members(value)
    if members is None:
        return None
    changed = {name: new for name, change in changes.items() if name in members and (new := change(members[name]))}
    if not changed:
        return None
    pieces: Pieces = []
    for name, kept in members.items():
        pieces.append((b"," if pieces else b"{") + _name(name) + b":")
        pieces += changed.get(name) or [bytes(kept)]
    return [*pieces, b"}"]


def _in_list(value: msgspec.Raw, change: Change) -> Pieces | None:
    """Change the items of a list; None where nothing changes, or it is none."""
    try:
        items = _ITEMS.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    changed = [change(item) for item in items]
    if not any(changed):
        return None
    pieces: Pieces = []
    for kept, new in zip(items, changed, strict=True):
        pieces.append(b"," if pieces else b"[")
        pieces += new or [bytes(kept)]
    return [*pieces, b"]"]


def _members(value: msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    try:
        return _MEMBERS.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
