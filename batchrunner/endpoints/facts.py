"""What every request body is checked for before it is queued: the parts that the endpoints' ``inspect`` share."""

import json
import re
from typing import Annotated, Any, TypeVar

import msgspec

from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.complaints import complaint

MOST_CHOICES = 128
"""Both Together's and OpenAI's description allow ``n`` up to this."""
MOST_TOKENS = 10_000_000
"""An output bound above this is a slip of the pen or a cost bomb: no model writes that much in one answer."""

Text = Annotated[str, msgspec.Meta(min_length=1)]
Bound = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)]

T = TypeVar("T")


class Asked(msgspec.Struct, gc=False):
    """What every body has."""

    model: Text


class Generation(Asked, gc=False, kw_only=True):
    """What a body may say about how much is generated, and how it is sent back.

    ``stream_tokens`` is the name that ``stream`` had in Together's first API.
    """

    n: Count | None = None
    max_tokens: Bound | None = None
    stream: bool | None = None
    stream_tokens: bool | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is asked for as a stream."""
        return bool(self.stream or self.stream_tokens)


def decode(decoder: msgspec.json.Decoder[T], value: bytes | msgspec.Raw, field: str | None = None) -> T:
    """Decode a body, or the value of its ``field``; raises BadBody that names the place and what was expected there."""
    try:
        return decoder.decode(value)
    except (ValueError, RecursionError) as problem:
        raise BadBody(*complaint(str(problem), decoder.type, bytes(value), field)) from None


def may_stream(body: bytes) -> bool:
    """Whether a body may ask for its answer as a stream: a quick look, which decodes nothing."""
    return b'"stream' in body or (_BACKSLASH in body and has_escaped_letters(body))


def has_escaped_letters(body: bytes) -> bool:
    """Whether ASCII letters are written as escapes in a body, so that a key may hide from a search for its name."""
    return b"\\u006" in body or b"\\u007" in body


def keys(*names: str) -> re.Pattern[bytes]:
    """Return what finds these keys in a body, at any depth: for ``refuse_repeats``."""
    return re.compile(rb'"(%s)"\s*:' % "|".join(names).encode())


def refuse_repeats(body: bytes, watched: re.Pattern[bytes]) -> None:
    """Raise BadBody where a top-level key that decides about money is there twice.

    Parsers disagree about which of the two counts, so the provider might run another model, or more tokens, than we
    counted. The exact look is only paid for by bodies in which one of the names occurs twice at any depth, or in which
    ASCII letters are written as escapes (nobody does that without a reason).
    """
    found = watched.findall(body)
    if len(found) != len(set(found)) or (_BACKSLASH in body and has_escaped_letters(body)):
        _look_for_repeats(body, watched)


def larger(one: int | None, other: int | None) -> int | None:
    """Return the larger of two bounds of which either may be missing."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def bound(tokens: int | None, answers: int) -> int | None:
    """Return the output tokens that may be generated for ``answers`` answers; None where nothing bounds them."""
    return None if tokens is None else tokens * answers


_BACKSLASH = ord("\\")


def _look_for_repeats(body: bytes, watched: re.Pattern[bytes]) -> None:
    top: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        top[:] = pairs  # the outermost object is reported last

    json.loads(body, object_pairs_hook=keep, parse_int=len, parse_float=len)
    seen = set()
    for name, _ in top:
        if name in seen and watched.fullmatch(b'"%s":' % name.encode()):
            raise BadBody(f"`{name}` is there twice: keep one of them", name)
        seen.add(name)
