"""What a JSON decoder complains about, in plain words: the field, what is expected there, and what is there instead."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from batchrunner.endpoints.rules import shown

_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<place>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_TYPES = re.compile(r"`([^`]*)`")
_LIMITS = (
    (re.compile(r" of length >= 1\b"), " that is not empty"),
    (re.compile(r" of length <= (\d+)"), r" of at most \1 characters"),
    (re.compile(r"(?<=\d)\.0\b"), ""),
    (re.compile(r" >= (?=-?\d)"), " of at least "),
    (re.compile(r" <= (?=-?\d)"), " of at most "),
)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def complaint(problem: str, kind: Any, value: bytes, field: str | None) -> tuple[str, str | None]:
    """Return a decoder's complaint about a value in plain words, and the top-level key that it is about.

    ``kind`` is the type that was decoded, ``field`` the key that the value stands under; None: it is the body itself.
    """
    found = _PROBLEM.fullmatch(problem)
    what, place = (found["what"], found["place"] or "") if found else (problem, "")
    path = f"{field or ''}{place}".lstrip(".")
    missing = _MISSING.fullmatch(what)
    if missing:
        return f"`{path}.{missing['name']}`".replace("`.", "`") + " is missing", _top(path) or missing["name"]
    expected = _described(kind, place)
    words = _TYPES.sub(_plain, what) if expected is None else f"expected {expected}"
    for limit, plain in _LIMITS:
        words = limit.sub(plain, words)
    words = f"{words[0].lower()}{words[1:]}"
    if not path:
        return words, None
    return f"`{path}`: {words}{_instead(words, value, place)}", _top(path)


def _plain(types: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types[1].split(" | "))


def _instead(words: str, value: bytes, place: str) -> str:
    """Return what stands there, unless that is said already, or can't be read."""
    if ", got " in words or not words.startswith("expected "):
        return ""
    try:
        for step in _STEP.finditer(place):
            if step[2]:
                value = bytes(msgspec.json.decode(value, type=list[msgspec.Raw])[int(step[2])])
            else:
                value = bytes(msgspec.json.decode(value, type=dict[str, msgspec.Raw])[step[1]])
        return f", not {shown(msgspec.json.decode(value))}"
    except (ValueError, LookupError, RecursionError):
        return ""


def _described(kind: Any, place: str) -> str | None:
    """Return what a top-level field takes where its type says so in words, or by a list of them."""
    name = place.removeprefix(".")
    for field in getattr(kind, "__struct_fields__", ()):
        if field == name:
            types = {each.encode_name: each.type for each in msgspec.inspect.type_info(kind).fields}  # type: ignore[attr-defined]
            return next(_said_of(types[name]), None)
    return None


def _said_of(kind: Any) -> Iterator[str]:
    """Yield what is said of a type: its description, or the words that it is one of."""
    if isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            yield from _said_of(each)
    elif isinstance(kind, msgspec.inspect.LiteralType):
        yield " or ".join(f'"{word}"' for word in kind.values)
    elif isinstance(kind, msgspec.inspect.Metadata):
        said: Mapping[str, Any] = kind.extra_json_schema or {}
        if "description" in said:
            yield str(said["description"])
        yield from _said_of(kind.type)


def _top(path: str) -> str | None:
    """Return the top-level key that a path such as ``messages[0].role`` begins with."""
    return re.split(r"[.\[]", path, maxsplit=1)[0] or None
