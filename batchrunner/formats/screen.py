"""The exact, slow look at one line of JSON: what is wrong with it, and at which byte.

The fast parser answers "fine" for almost every line; what it refuses or can't vouch for comes here. Offsets count
bytes from 0, columns count bytes from 1.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, Never

MAX_DEPTH = 100

# Possessive, so that a string of 32 MiB costs no memory; an unterminated string is eaten to its end.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|$)|[][{}:,]|-?[0-9][0-9.eE+-]*+|-?[A-Za-z]++', re.DOTALL)
ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
TRAILING = "a comma with nothing after it"
WORDS = {
    "Illegal trailing comma before end of object": TRAILING,
    "Illegal trailing comma before end of array": TRAILING,
    "Extra data": "text after the end of the JSON object",
    "Expecting property name enclosed in double quotes": "a key in double quotes was expected",
    "Expecting value": "a value was expected; text needs double quotes, and it is null, true, false",
    "Expecting ',' delimiter": "a comma was expected, or the end of the object or array",
    "Expecting ':' delimiter": "a colon was expected after the key",
    "Unterminated string starting at": "a string begins here and never ends",
    "Invalid control character at": "a raw control character inside a string; JSON wants it escaped",
    "Invalid \\escape": "an escape that JSON does not have",
    "Invalid \\uXXXX escape": "a \\u escape without four hexadecimal digits",
    "Unexpected UTF-8 BOM (decode using utf-8-sig)": "a byte order mark, which may stand at the start of the file only",
}


class LineProblem(Exception):  # noqa: N818 - it describes a line, and is always caught and reported as a Problem
    """What is wrong with a line, and where. ``column`` counts its bytes from 1."""

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column


class Member(NamedTuple):
    """One key of an object, with the offsets of the key and of its value."""

    key: str
    key_at: int
    value_at: int


def strict(line: bytes) -> dict[str, Any]:
    """Parse a line by the letter of RFC 8259 and what can be sent as UTF-8; return the object.

    Integers of any length are fine, though long ones come back as 0: only the bytes are ever sent. Raises LineProblem.
    """
    text = _text(line)
    check_depth(line)
    try:
        found = json.loads(text, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise _invalid(text, error) from None
    _check_tokens(line)
    if not isinstance(found, dict):
        raise LineProblem("a line must be a JSON object", len(line) - len(line.lstrip()) + 1)
    return found


def check_depth(line: bytes) -> None:
    """Raise LineProblem where arrays and objects are nested deeper than MAX_DEPTH, before any parser sees them."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in TOKEN.finditer(line):
        first = line[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise LineProblem(f"nested deeper than {MAX_DEPTH} levels", token.start() + 1)
        elif first in b"]}":
            depth -= 1


def members(data: bytes, start: int = 0) -> Iterator[Member]:
    """Yield the keys of the object that begins at or after ``start``, without those of objects inside it.

    ``data`` must be valid JSON from there on to the object's end.
    """
    depth = 0
    key: re.Match[bytes] | None = None
    named = False
    for token in TOKEN.finditer(data, start):
        mark = token[0]
        if named and key is not None:
            yield Member(json.loads(key[0]), key.start(), token.start())
            key, named = None, False
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return
        elif depth == 1 and mark == b":":
            named = True
        elif depth == 1 and mark != b",":
            key = token


def value_at(data: bytes, key: str, start: int = 0) -> int:
    """Return the offset of a key's value in the object at ``start``; the object's own offset if it has no such key."""
    found = [member.value_at for member in members(data, start) if member.key == key]
    return found[-1] if found else data.find(b"{", start)


def refuse_duplicates(data: bytes, keys: Collection[str], start: int = 0) -> None:
    """Raise LineProblem where the object at ``start`` holds one of these keys twice.

    Two parsers may take different ones: what was checked here would not be what the provider reads.
    """
    seen = set()
    for member in members(data, start):
        if member.key in seen:
            raise LineProblem(f'"{member.key}" appears twice in one object', member.key_at + 1)
        if member.key in keys:
            seen.add(member.key)


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineProblem(f"not UTF-8: byte 0x{line[error.start]:02x}", error.start + 1) from None


def _integer(digits: str) -> int:
    # Python refuses to convert more than 4,300 digits, and nothing of ours is that long.
    return int(digits) if len(digits) < 20 else 0


def _invalid(text: str, error: json.JSONDecodeError) -> LineProblem:
    """Say what to change, where Python's message says what its parser hoped for."""
    reason, position = WORDS.get(error.msg.removesuffix(":"), error.msg.lower()), error.pos
    before = text[:position].rstrip()
    if text[position : position + 1] in ("}", "]") and before.endswith(","):  # Python 3.13 points at the comma itself
        reason, position = TRAILING, len(before) - 1
    return LineProblem(f"invalid JSON: {reason}", _bytes_before(text, position) + 1)


def _bytes_before(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8"))


def _check_tokens(line: bytes) -> None:
    """Look for what Python's parser takes and JSON, or UTF-8, does not."""
    for token in TOKEN.finditer(line):
        mark, at = token[0], token.start()
        if mark[:1] == b'"':
            if b"\\u" in mark:
                _check_surrogates(mark, at)
        elif mark in (b"NaN", b"Infinity", b"-Infinity"):
            raise LineProblem(f"{mark.decode()} is not JSON", at + 1)
        elif mark[-1:].isdigit() and not mark.lstrip(b"-").isdigit() and math.isinf(float(mark)):
            raise LineProblem("a number too large for any parser", at + 1)


def _check_surrogates(string: bytes, start: int) -> None:
    """Raise LineProblem at the first half of a UTF-16 pair that stands alone."""
    high: int | None = None
    end = 0
    for escape in ESCAPE.finditer(string):
        unit = int(escape[1], 16) if escape[1] else 0
        if high is not None and (escape.start() != end or not 0xDC00 <= unit <= 0xDFFF):
            _lone(start + high)
        if high is None and 0xDC00 <= unit <= 0xDFFF:
            _lone(start + escape.start())
        high = escape.start() if 0xD800 <= unit <= 0xDBFF else None
        end = escape.end()
    if high is not None:
        _lone(start + high)


def _lone(offset: int) -> Never:
    raise LineProblem("half of a surrogate pair: it can't be sent as UTF-8", offset + 1)
