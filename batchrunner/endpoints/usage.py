"""The ``usage`` object of an answer, in all the shapes in which providers send it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from batchrunner.core.usage import Usage

MOST_TOKENS = 1_000_000_000
"""No single answer uses more; a larger figure is a bug of the provider and must not reach a sum of money."""
MOST_RAW = 4096
"""Bytes of a ``usage`` object that is kept; a larger one is not kept beside the answer, which holds it anyway."""


class Counted(NamedTuple):
    """Usage as it was read and as it was sent."""

    usage: Usage | None
    raw: bytes | None


NOT_COUNTED = Counted(None, None)

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Reasoning(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Generated(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoning | None = None


_GENERATED = msgspec.json.Decoder(_Generated)


def generated(raw: msgspec.Raw) -> Counted:
    """Read the usage of an answer that generates text.

    ``prompt_tokens`` includes what was cached and ``completion_tokens`` what was reasoned; cached tokens come flat
    (Together's Llama models) or in ``prompt_tokens_details`` (OpenAI, Together's reasoning models), which wins.
    Missing, negative, absurd or unreadable figures make the usage unknown (None), never zero; so does a total of zero,
    since no answer is made of nothing. Details that can't be read count as none, and are clamped to what they are a
    part of.
    """
    if not raw:
        return NOT_COUNTED
    try:
        sent = _GENERATED.decode(raw)
    except (ValueError, RecursionError):
        return _read_loosely(raw)
    details = sent.prompt_tokens_details
    cached = details.cached_tokens if details is not None else None
    if cached is None:
        cached = sent.cached_tokens or 0
    reasoning = 0
    if sent.completion_tokens_details is not None:
        reasoning = sent.completion_tokens_details.reasoning_tokens or 0
    return Counted(_checked(sent.prompt_tokens, cached, sent.completion_tokens, reasoning), _kept(raw))


class _Responded(msgspec.Struct, gc=False):
    input_tokens: int
    output_tokens: int
    input_tokens_details: _Cached | None = None
    output_tokens_details: _Reasoning | None = None


_RESPONDED = msgspec.json.Decoder(_Responded)


def responded(raw: msgspec.Raw) -> Counted:
    """Read the usage of a response (OpenAI): as ``generated``, under other names.

    Figures that can't be read make the usage unknown, and details that can't be read count as none.
    """
    if not raw:
        return NOT_COUNTED
    try:
        sent = _RESPONDED.decode(raw)
    except (ValueError, RecursionError):
        return _respond_loosely(raw)
    inner, outer = sent.input_tokens_details, sent.output_tokens_details
    cached = inner.cached_tokens if inner is not None else None
    reasoning = outer.reasoning_tokens if outer is not None else None
    return Counted(_checked(sent.input_tokens, cached or 0, sent.output_tokens, reasoning or 0), _kept(raw))


def _respond_loosely(raw: msgspec.Raw) -> Counted:
    sent = _object(raw) or {}
    asked, answered = _whole(sent.get("input_tokens")), _whole(sent.get("output_tokens"))
    if asked is None or answered is None:
        return Counted(None, _kept(raw))
    cached = _detail(sent, "input_tokens_details", "cached_tokens") or 0
    reasoning = _detail(sent, "output_tokens_details", "reasoning_tokens") or 0
    return Counted(_checked(asked, cached, answered, reasoning), _kept(raw))


def consumed(raw: msgspec.Raw, first: str, second: str) -> Counted:
    """Read the usage of an answer that generates nothing: the tokens under ``first``, else under ``second``."""
    sent = _object(raw)
    if sent is None:
        return Counted(None, _kept(raw))
    amount = _whole(sent.get(second if sent.get(first) is None else first))
    return Counted(None if amount is None else _checked(amount, 0, 0, 0), _kept(raw))


def _read_loosely(raw: msgspec.Raw) -> Counted:
    """Read a usage object of which some part has an unexpected type."""
    sent = _object(raw)
    if sent is None:
        return Counted(None, _kept(raw))
    asked, answered = _whole(sent.get("prompt_tokens")), _whole(sent.get("completion_tokens"))
    total = _whole(sent.get("total_tokens"))
    if sent.get("completion_tokens") is None and asked is not None and total is not None:
        answered = total - asked
    if asked is None or answered is None:
        return Counted(None, _kept(raw))
    cached = _detail(sent, "prompt_tokens_details", "cached_tokens")
    if cached is None:
        cached = _whole(sent.get("cached_tokens"))
    reasoning = _detail(sent, "completion_tokens_details", "reasoning_tokens")
    return Counted(_checked(asked, cached or 0, answered, reasoning or 0), _kept(raw))


def _checked(asked: int, cached: int, answered: int, reasoning: int) -> Usage | None:
    """Return the figures as Usage, or None where they can't be true."""
    if not (0 <= asked <= MOST_TOKENS and 0 <= answered <= MOST_TOKENS and asked + answered):
        return None
    if not 0 <= cached <= asked:
        cached = 0 if cached < 0 else asked
    if not 0 <= reasoning <= answered:
        reasoning = 0 if reasoning < 0 else answered
    return Usage(asked, cached, answered, reasoning)


def _whole(value: Any) -> int | None:
    """Return a JSON number that is whole, however it was spelled (``12.0`` is)."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    return None


def _detail(sent: Mapping[str, Any], group: str, name: str) -> int | None:
    details = sent.get(group)
    return _whole(details.get(name)) if isinstance(details, dict) else None


def _object(raw: msgspec.Raw) -> dict[str, Any] | None:
    try:
        return _OBJECT.decode(raw) if raw else None
    except (ValueError, RecursionError):
        return None


def _kept(raw: msgspec.Raw) -> bytes | None:
    kept = bytes(raw)
    return kept if kept != b"null" and 0 < len(kept) <= MOST_RAW else None
