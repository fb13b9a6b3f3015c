"""``multipart/form-data`` (RFC 7578), written once and whole."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_BREAKS = re.compile(r'[\r\n"]')


class FilePart(NamedTuple):
    """The part that is a file."""

    name: str
    filename: str
    media_type: str
    data: bytes


def fields_of(body: bytes, *, without: str) -> Iterable[tuple[str, bytes]]:
    """Return the members of a JSON object as form fields, in order and without the one named, nulls left out.

    Texts stand as they are, numbers and booleans as JSON spells them (``0.2``, ``true``), a list becomes one field
    ``name[]`` for each item, and an object one field ``name[key]`` for each member: as the official SDKs write them.
    """
    for name, value in _MEMBERS.decode(body).items():
        if name != without:
            yield from _flat(name, value)


def _flat(name: str, value: msgspec.Raw) -> Iterable[tuple[str, bytes]]:
    match bytes(value)[:1]:
        case b'"':
            yield name, _STRING.decode(value).encode("utf-8", "replace")
        case b"[":
            each = name if name.endswith("[]") else f"{name}[]"
            for item in _ITEMS.decode(value):
                yield from _flat(each, item)
        case b"{":
            for key, item in _MEMBERS.decode(value).items():
                yield from _flat(f"{name}[{key}]", item)
        case b"n":
            return
        case _:
            yield name, bytes(value)


def multipart(fields: Iterable[tuple[str, bytes]], file: FilePart | None) -> tuple[bytes, str]:
    """Return a form's body and its content type; the file comes last.

    The boundary is made from what is sent, and from another round of hashing as long as it occurs in it: the same form
    gives the same bytes, and no data can end a part.
    """
    parts = [(_head(name), value) for name, value in fields]
    if file is not None:
        parts.append((_head(file.name, file.filename, file.media_type), file.data))
    boundary = _boundary(parts)
    pieces: list[bytes] = []
    for head, value in parts:
        pieces += (b"--", boundary, b"\r\n", head, b"\r\n\r\n", value, b"\r\n")
    pieces += (b"--", boundary, b"--\r\n")
    return b"".join(pieces), f"multipart/form-data; boundary={boundary.decode('ascii')}"


def _head(name: str, filename: str | None = None, media_type: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        disposition += f'; filename="{_quoted(filename)}"\r\nContent-Type: {media_type}'
    return disposition.encode("utf-8", "replace")


def _quoted(text: str) -> str:
    """Escape what would end a quoted name, as browsers do (HTML Standard, multipart form data)."""
    return _BREAKS.sub(lambda found: _ESCAPES[found[0]], text)


_ESCAPES: Mapping[str, str] = {"\r": "%0D", "\n": "%0A", '"': "%22"}


def _boundary(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    digest = hashlib.sha256()
    known = list(parts)
    for head, value in known:
        digest.update(b"%d %b %d " % (len(head), head, len(value)))
        digest.update(value)
    boundary = b"batchrunner-" + digest.hexdigest()[:40].encode()
    while any(boundary in value for _, value in known):
        boundary = b"batchrunner-" + hashlib.sha256(boundary).hexdigest()[:40].encode()
    return boundary
