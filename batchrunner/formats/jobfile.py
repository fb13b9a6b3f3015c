"""Reading job files: one request per line, in three shapes that may be mixed at will.

``{"custom_id", "method", "url", "body"}`` is OpenAI's batch line, ``{"custom_id", "body"}`` Together's, and anything
without a ``body`` is a bare body. Bodies are taken as bytes and stay as they came.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Literal, Protocol

import msgspec

from batchrunner.core.errors import InputError, Problem
from batchrunner.formats.lines import LineTooLong, split_lines
from batchrunner.formats.occurrences import BareNames, first_name
from batchrunner.formats.screen import LineProblem, check_depth, refuse_duplicates, strict, value_at
from batchrunner.formats.source import MAX_LINE

MAX_CUSTOM_ID = 512
MAX_PRIORITY = 1000
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 16, 64, 512
"""OpenAI's bounds of a batch's metadata, kept for our tags."""

KNOWN = ("custom_id", "method", "url", "body")
KNOWN_SET = frozenset(KNOWN)
LINE_KEYS = (*KNOWN, "metadata")
BODY_KEYS = ("model",)
NO_KEYS: frozenset[str] = frozenset()
ESCAPED_LETTER = re.compile(rb"\\u00[567]")
QUOTED = tuple(b'"%b"' % key.encode() for key in LINE_KEYS)


class Content(Protocol):
    """What a job file is read from: a file, or what makes one."""

    @property
    def path(self) -> str:
        """Absolute, or ``-`` for standard input."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the content from its start, decompressed."""
        ...


class _Raw(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw()


class _Four(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """OpenAI's batch line with nothing beside it."""

    custom_id: str
    method: Literal["POST"]
    url: str
    body: msgspec.Raw


_QUOTES_OF_FOUR = 14
"""Double quotes of four keys and three strings: with one key more, or an escaped quote, there are others."""

_decode: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
_decode_body: Callable[[bytes], _Raw] = msgspec.json.Decoder(_Raw).decode
_decode_four: Callable[[bytes], _Four] = msgspec.json.Decoder(_Four).decode
_decode_members: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Line(msgspec.Struct, frozen=True, gc=False):
    """One good line of a job file."""

    number: int
    """From 1, blank lines counted."""
    custom_id: str
    """As given, else made from the body's digest."""
    url: str | None
    """As given, unchecked: which paths there are is the endpoints' business."""
    body: bytes
    """The bytes exactly as they came."""
    keys: frozenset[str]
    """The body's keys, by which a line without ``url`` tells its endpoint; empty where it has one."""
    extras: bytes | None
    """``metadata`` and unknown keys of the line, as one JSON object; None where it has none."""
    tags: tuple[tuple[str, str], ...]
    """From ``metadata.tags``, sorted by key."""
    priority: int
    """From ``metadata.priority``."""
    raw: bytes
    """The whole line, for the columns of what is found wrong with it later."""
    provider: str | None = None
    """From ``metadata.provider``, unchecked: which there are is the configuration's business."""

    def column(self, key: str) -> int:
        """Return the column of a key's value in the line itself, such as ``url``; 1 where it has no such key."""
        return value_at(self.raw, key) + 1

    def body_column(self, key: str | None) -> int:
        """Return the column of a key's value in the body; the body's own where it has no such key, or for None."""
        start = value_at(self.raw, "body")
        return (start if key is None else value_at(self.raw, key, start)) + 1


def parse_line(raw: bytes, number: int, name: Callable[[bytes], str] = first_name) -> Line:
    """Check one line and take it apart. Raises LineProblem, and nothing else whatever the bytes are.

    ``name`` makes the custom_id of a line that gives none from its body.
    """
    check_depth(raw)
    four = _four(raw, number)
    if four is not None:
        return four
    try:
        found = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = strict(raw)  # says what is wrong; what it lets pass are integers of more than 64 bits
    if "body" not in found:
        return _bare(raw, number, found, name)
    try:
        body = bytes(_decode_body(raw).body)
    except msgspec.DecodeError as error:
        raise LineProblem(f"invalid JSON: {error}", 1) from None
    if type(found["body"]) is not dict:
        raise LineProblem('"body" must be a JSON object', value_at(raw, "body") + 1)
    custom_id, url = _identity(raw, found)
    _refuse_twice(raw, body)
    keys = frozenset(found["body"]) if url is None else NO_KEYS
    extras, tags, priority = _beside(raw, found)
    provider = None if extras is None else _provider(raw, found.get("metadata"))
    return Line(number, custom_id or name(body), url, body, keys, extras, tags, priority, raw, provider)


def _four(raw: bytes, number: int) -> Line | None:
    """Return a line that has the four keys of OpenAI's batch line, in any order with the body last, and nothing odd.

    Three quarters of the price of the long way, which every line goes that this is not sure of.
    """
    try:
        line = _decode_four(raw)
        body = bytes(line.body)
        _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    custom_id, last = line.custom_id, len(raw) - len(body) - 1
    if not raw.startswith(body, last) or raw.count(b'"', 0, last) != _QUOTES_OF_FOUR:
        return None  # the body is not last, or a key may be there twice
    if not 1 <= len(custom_id) <= MAX_CUSTOM_ID or not custom_id.isprintable():
        return None
    if body.count(b'"model"') > 1 or _escapes_letters(body):
        return None
    return Line(number, custom_id, line.url, body, NO_KEYS, None, (), 0, raw)


def iter_lines(source: Content, cap: int = MAX_LINE) -> Iterator[Line | Problem]:
    """Yield every line that is not blank, as a Line or as the Problem it has; memory does not grow with the file.

    Raises InputError for what is wrong with the file as a whole, also at its end: no rows, or changed meanwhile.
    """
    number = rows = 0
    with closing(BareNames()) as names:
        try:
            for number, raw in enumerate(split_lines(source.chunks(), cap), 1):
                if not raw or raw.isspace():
                    continue
                rows += 1
                try:
                    line: Line | Problem = parse_line(raw, number, names)
                except LineProblem as problem:
                    line = Problem(number, problem.column, problem.reason)
                yield line
        except LineTooLong:
            rows += 1
            yield Problem(number + 1, cap + 1, f"longer than {cap:,} bytes; nothing after this line was read")
    if rows == 0:
        raise InputError(
            f"{source.path} has no rows", hint="a job file holds one JSON object per line", path=source.path
        )


def _bare(raw: bytes, number: int, found: dict[str, Any], name: Callable[[bytes], str]) -> Line:
    """The whole line is the body, and what it calls ``metadata`` is the provider's."""
    for key in ("custom_id", "method", "url"):
        if key in found:
            raise LineProblem(f'a line with "{key}" needs a "body" that holds what is sent', value_at(raw, key) + 1)
    if raw.count(b'"model"') > 1 or _escapes_letters(raw):
        refuse_duplicates(raw, BODY_KEYS)
    body = raw.strip()
    return Line(number, name(body), None, body, frozenset(found), None, (), 0, raw)


def _identity(raw: bytes, found: dict[str, Any]) -> tuple[str | None, str | None]:
    """Check and return custom_id and url."""
    custom_id = found.get("custom_id")
    if custom_id is not None or "custom_id" in found:
        _check_custom_id(raw, custom_id)
    url = found.get("url")
    if type(url) is not str and "url" in found:
        raise LineProblem('"url" must be a string such as "/v1/chat/completions"', value_at(raw, "url") + 1)
    if "method" in found and found["method"] != "POST":
        raise LineProblem('"method" must be "POST": nothing else is sent', value_at(raw, "method") + 1)
    return custom_id, url


def _check_custom_id(raw: bytes, custom_id: object) -> None:
    if type(custom_id) is not str:
        reason = '"custom_id" must be a string'
    elif not 1 <= len(custom_id) <= MAX_CUSTOM_ID:
        reason = f'"custom_id" must have 1 to {MAX_CUSTOM_ID} characters, not {len(custom_id):,}'
    elif not _is_plain(custom_id):
        reason = '"custom_id" holds control characters'
    else:
        return
    raise LineProblem(reason, value_at(raw, "custom_id") + 1)


def _is_plain(text: str) -> bool:
    """Tell whether text has no control characters and no line separators."""
    return text.isprintable() or not any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in text)


def _refuse_twice(raw: bytes, body: bytes) -> None:
    """Raise LineProblem for a key given twice, in the line or (``model``) in its body.

    Counting is a tenth of the price of looking, and exact where it counts one: what lies inside the body is cut out,
    and a key's quotes can't be shared by two strings.
    """
    hidden = _escapes_letters(raw)
    last = len(raw) - len(body) - 1  # where the body begins if nothing follows it, as in almost every file
    beside = raw[:last] if raw.startswith(body, last) else raw.replace(body, b"", 1)
    for quoted in QUOTED:
        if hidden or beside.count(quoted) > 1:
            refuse_duplicates(raw, LINE_KEYS)
            break
    if hidden or body.count(b'"model"') > 1:
        refuse_duplicates(raw, BODY_KEYS, value_at(raw, "body"))


def _escapes_letters(data: bytes) -> bool:
    """Tell whether letters may be spelled as escapes, so that a key can hide from a plain search."""
    # The first two only spare the third, which is slower.
    return b"\\" in data and b"\\u00" in data and ESCAPED_LETTER.search(data) is not None


def _beside(raw: bytes, found: dict[str, Any]) -> tuple[bytes | None, tuple[tuple[str, str], ...], int]:
    """Return what stands beside the four known keys, as bytes, and the tags and priority of ``metadata``."""
    if found.keys() <= KNOWN_SET:
        return None, (), 0
    kept = {key: bytes(value) for key, value in _decode_members(raw).items() if key not in KNOWN_SET}
    extras = b"{%b}" % b",".join(msgspec.json.encode(key) + b":" + value for key, value in kept.items())
    metadata = found.get("metadata")
    if metadata is None:
        return extras, (), 0
    if type(metadata) is not dict:
        raise LineProblem('"metadata" must be a JSON object', value_at(raw, "metadata") + 1)
    return extras, _tags(raw, metadata), _priority(raw, metadata)


def _tags(raw: bytes, metadata: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    tags = metadata.get("tags")
    if tags is None:
        return ()
    if type(tags) is not dict or len(tags) > MAX_TAGS:
        at = value_at(raw, "tags", value_at(raw, "metadata"))
        raise LineProblem(f'"metadata.tags" must be an object of at most {MAX_TAGS} strings', at + 1)
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY or not _is_plain(key):
            raise _bad_tag(raw, key, f"a tag's name has 1 to {MAX_TAG_KEY} characters, none of them control characters")
        if type(value) is not str or len(value) > MAX_TAG_VALUE or not _is_plain(value):
            raise _bad_tag(
                raw,
                key,
                f"a tag's value is a string of at most {MAX_TAG_VALUE} characters, none of them control characters",
            )
    return tuple(sorted(tags.items()))


def _bad_tag(raw: bytes, key: str, reason: str) -> LineProblem:
    tags_at = value_at(raw, "tags", value_at(raw, "metadata"))
    return LineProblem(reason, value_at(raw, key, tags_at) + 1)


def _provider(raw: bytes, metadata: dict[str, Any] | None) -> str | None:
    provider = None if metadata is None else metadata.get("provider")
    if provider is not None and type(provider) is not str:
        at = value_at(raw, "provider", value_at(raw, "metadata"))
        raise LineProblem('"metadata.provider" must be the name of a configured provider', at + 1)
    return provider


def _priority(raw: bytes, metadata: dict[str, Any]) -> int:
    priority = metadata.get("priority", 0)
    if type(priority) is not int or not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        at = value_at(raw, "priority", value_at(raw, "metadata"))
        raise LineProblem(f'"metadata.priority" must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}', at + 1)
    return priority
