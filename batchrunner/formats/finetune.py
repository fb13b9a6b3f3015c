"""Files to fine-tune with, by the rules of Together's own check: what a line holds, and what all lines have alike."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from batchrunner.core.errors import Problem
from batchrunner.formats.lines import LineTooLong, split_lines
from batchrunner.formats.screen import LineProblem, check_depth, strict, value_at
from batchrunner.formats.source import MAX_LINE, Source

COLUMNS: Final = (
    frozenset({"text"}),
    frozenset({"messages"}),
    frozenset({"prompt", "completion"}),
    frozenset({"input", "preferred_output", "non_preferred_output"}),
)
"""The sets of columns that a file may have, one of them on every line."""
ROLES: Final = ("system", "user", "assistant", "tool")
MOST_BYTES: Final = 50 * (1 << 30) + (1 << 30) // 10
"""50.1 GiB."""
MOST_IMAGES: Final = 10
MOST_IMAGE: Final = 10 * (1 << 20)
_IMAGE = re.compile(r"data:image/(?:jpeg|png|webp);base64,")
_OPTIONAL: Final = frozenset({"tools"})

Found = tuple[str, str]
"""The top-level key at fault, and the reason."""


def finetune_problems(source: Source) -> Iterator[Problem | int]:
    """Yield the problems of a file line by line, and for each line that was looked at its number.

    Memory does not grow with the file.
    """
    if source.size > MOST_BYTES:
        yield Problem(1, 1, f"expected at most 50.1 GiB, not {source.size:,} bytes")
    columns: frozenset[str] | None = None
    number = 0
    try:
        for number, raw in enumerate(split_lines(source.chunks(), MAX_LINE), 1):
            if not raw or raw.isspace():
                continue
            yield number
            try:
                found = _object(raw)
            except LineProblem as problem:
                yield Problem(number, problem.column, problem.reason)
                continue
            columns = columns or next((each for each in COLUMNS if each <= found.keys()), None)
            yield from (Problem(number, value_at(raw, key) + 1, why) for key, why in _line(found, columns))
    except LineTooLong:
        yield Problem(number + 1, MAX_LINE + 1, f"longer than {MAX_LINE:,} bytes; nothing after it was read")
    if number == 0:
        yield Problem(1, 1, "expected at least one example, and the file is empty")


def _object(raw: bytes) -> dict[str, Any]:
    check_depth(raw)
    return strict(raw)


def _line(found: Mapping[str, Any], columns: frozenset[str] | None) -> Iterator[Found]:
    keys = found.keys() - _OPTIONAL
    if columns is None:
        wanted = "; ".join(" and ".join(sorted(each)) for each in COLUMNS)
        yield "", f"expected one of these sets of fields: {wanted}"
        return
    for key in sorted(columns - keys):
        yield "", f"`{key}` is missing: all lines of a file have the same fields"
    for key in sorted(keys - columns):
        yield key, f"`{key}`: expected no field but {', '.join(sorted(columns))}"
    for key in ("text", "prompt", "completion"):
        if key in columns & keys and not isinstance(found[key], str):
            yield key, f"`{key}`: expected a string"
    if "messages" in columns & keys:
        yield from _messages(found["messages"], "messages", "messages", wants_assistant=True)
    if "input" in columns & keys:
        yield from _preference(found)


def _preference(found: Mapping[str, Any]) -> Iterator[Found]:
    asked = found["input"].get("messages") if isinstance(found["input"], dict) else None
    yield from _messages(asked, "input", "input.messages", wants_assistant=False)
    if isinstance(asked, list) and asked and isinstance(asked[-1], dict) and asked[-1].get("role") == "assistant":
        yield "input", "`input.messages`: expected the last message to be no assistant's"
    for key in ("preferred_output", "non_preferred_output"):
        output = found.get(key)
        alone = isinstance(output, list) and len(output) == 1 and isinstance(output[0], dict)
        if output is not None and not (alone and output[0].get("role") == "assistant"):
            yield key, f"`{key}`: expected a list of exactly one message, an assistant's"


def _messages(messages: Any, key: str, field: str, *, wants_assistant: bool) -> Iterator[Found]:
    if not isinstance(messages, list) or not messages:
        yield key, f"`{field}`: expected a list of messages that is not empty"
        return
    before, images = None, 0
    for place, message in enumerate(messages):
        where = f"{field}[{place}]"
        if not isinstance(message, dict) or "role" not in message or "content" not in message:
            yield key, f"`{where}`: expected an object with role and content"
            continue
        yield from ((key, f"`{where}.{part}`: {why}") for part, why in _message(message, before))
        before = message["role"]
        if isinstance(message["content"], list):
            images += yield from _parts(message["content"], before, key, where)
    if images > MOST_IMAGES:
        yield key, f"`{field}`: expected at most {MOST_IMAGES} images, not {images}"
    if wants_assistant and not any(isinstance(each, dict) and each.get("role") == "assistant" for each in messages):
        yield key, f"`{field}`: expected at least one message of an assistant"


def _message(message: Mapping[str, Any], before: Any) -> Iterator[Found]:
    """Yield what is wrong with a message by itself, or after one of the role ``before``; fields within it."""
    role = message["role"]
    if role not in ROLES:
        yield "role", f"expected {', '.join(ROLES)}"
    elif role == before != "tool":
        yield "role", f"expected another role than in the message before ({role})"
    if message.get("weight") not in (None, 0, 1):
        yield "weight", "expected 0 or 1"
    if not isinstance(message["content"], str | list) and not message.get("tool_calls"):
        yield "content", "expected a string"


def _parts(parts: list[Any], role: str, key: str, where: str) -> Any:
    """Yield what is wrong with the parts of a message; return how many images they hold."""
    images = 0
    for place, part in enumerate(parts):
        at = f"{where}.content[{place}]"
        if not isinstance(part, dict) or part.get("type") not in ("text", "image_url"):
            yield key, f"`{at}`: expected a part of type text or image_url"
        elif part["type"] == "text" and not isinstance(part.get("text"), str):
            yield key, f"`{at}.text`: expected a string"
        elif part["type"] == "image_url":
            images += 1
            if role != "user":
                yield key, f"`{at}`: expected images in user messages only"
            yield from ((key, f"`{at}.image_url.url`: {why}") for why in _image(part.get("image_url")))
    return images


def _image(image: Any) -> Iterator[str]:
    url = image.get("url") if isinstance(image, dict) else None
    begins = _IMAGE.match(url) if isinstance(url, str) else None
    if begins is None or not isinstance(url, str):
        yield "expected a base64 data: URL of a jpeg, png or webp"
        return
    try:
        size = len(base64.b64decode(url[begins.end() :], validate=True))
    except (binascii.Error, ValueError):
        yield "expected base64"
        return
    if size > MOST_IMAGE:
        yield f"expected at most 10 MB, not {size:,} bytes"
