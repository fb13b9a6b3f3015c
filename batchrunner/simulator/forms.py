"""Reading `multipart/form-data` (RFC 7578), strictly, by a reader of the simulator's own."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))')
_PARAMETER: Final = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"')


class Field(NamedTuple):
    """One part of a form; a file has a name of its own."""

    name: str
    filename: str | None
    content_type: str | None
    data: bytes

    @property
    def text(self) -> str:
        """Its data as text."""
        return self.data.decode("utf-8", "replace")


def read_fields(content_type: str, raw: bytes) -> list[Field] | None:
    """The parts in the order in which they came; None if it is no form, or a broken one."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/form-data"):
        return None
    line = b"--" + (found[1] or found[2]).encode()
    first, *rest = (b"\r\n" + raw).split(b"\r\n" + line)
    if first or not rest or rest[-1].rstrip(b"\r\n") != b"--":
        return None
    fields = [_field(part) for part in rest[:-1]]
    return [field for field in fields if field is not None] if all(fields) else None


def _field(part: bytes) -> Field | None:
    head, gap, data = part.partition(b"\r\n\r\n")
    if not gap or not head.startswith(b"\r\n"):
        return None
    headers = {}
    for each in head[2:].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = each.partition(":")
        if not colon:
            return None
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    given = dict(_PARAMETER.findall(disposition))
    if not disposition.startswith("form-data") or "name" not in given:
        return None
    return Field(_plain(given["name"]), given.get("filename"), headers.get("content-type"), data)


def _plain(quoted: str) -> str:
    return quoted.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
