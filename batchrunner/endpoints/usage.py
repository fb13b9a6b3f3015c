"""The ``usage`` object of an answer, in all the shapes in which providers send it."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from batchrunner.core.usage import Usage

MOST_TOKENS = 1_000_000_000
"""No single answer uses more; a larger figure is a bug of the provider and must not reach a sum of money."""
MOST_RAW = 4096
"""Bytes of a ``usage`` object that is kept; a larger one is not kept beside the answer, which holds it anyway."""


MOST_SECONDS = 1_000_000
"""Eleven days: no single sound or film is longer."""
MOST_DIGITS = 60
"""Of a number that is sent as text; what has more is none."""


class Counted(NamedTuple):
    """Usage as it was read and as it was sent."""

    usage: Usage | None
    raw: bytes | None


NOT_COUNTED = Counted(None, None)

_PROMPT, _COMPLETION = ("prompt_tokens_details",), ("completion_tokens_details",)
_INPUT = ("input_tokens_details", "input_token_details")
_OUTPUT = ("output_tokens_details", "output_token_details")
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Reasoning(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


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
    given, made = sent.prompt_tokens_details, sent.completion_tokens_details
    cached = given.cached_tokens if given is not None else None
    if cached is None:
        cached = sent.cached_tokens or 0
    reasoning = (made.reasoning_tokens or 0) if made is not None else 0
    usage = _checked(sent.prompt_tokens, cached, sent.completion_tokens, reasoning)
    if given is not None and usage is not None and (given.audio_tokens or given.image_tokens):
        usage = _sensed(usage, "input", given.audio_tokens, given.image_tokens)
    if made is not None and usage is not None and (made.audio_tokens or made.image_tokens):
        usage = _sensed(usage, "output", made.audio_tokens, made.image_tokens)
    return Counted(usage, _kept(raw))


def consumed(raw: msgspec.Raw, first: str, second: str) -> Counted:
    """Read the usage of an answer that generates nothing: the tokens under ``first``, else under ``second``."""
    sent = _object(raw)
    if sent is None:
        return Counted(None, _kept(raw))
    amount = _whole(sent.get(second if sent.get(first) is None else first))
    return Counted(None if amount is None else _checked(amount, 0, 0, 0), _kept(raw))


def itemized(raw: msgspec.Raw, *, generates: bool = False) -> Counted:
    """Read a usage that calls its tokens ``input_tokens`` and ``output_tokens``, as OpenAI's newer endpoints do.

    Pictures, transcripts, speech and responses: what their tokens are made of (text, sound, pictures, what was cached,
    what was reasoned) is in detail objects, of which OpenAI spells the name in two ways. Where the answer is text that
    the model ``generates``, a usage without output tokens is unknown; elsewhere there were none.
    """
    sent = _object(raw)
    if sent is None:
        return Counted(None, _kept(raw))
    asked, answered = _whole(sent.get("input_tokens")), _whole(sent.get("output_tokens", None if generates else 0))
    if asked is None or answered is None:
        return Counted(None, _kept(raw))
    cached, reasoning = _first(sent, _INPUT, "cached_tokens"), _first(sent, _OUTPUT, "reasoning_tokens")
    usage = _checked(asked, cached or 0, answered, reasoning or 0)
    return Counted(_detailed(usage, sent, _INPUT, _OUTPUT), _kept(raw))


def timed(raw: msgspec.Raw) -> Counted:
    """Read the usage of a transcript: ``{"type":"duration","seconds":9}``, or tokens as ``itemized`` reads them."""
    sent = _object(raw)
    if sent is None or "seconds" not in sent:
        return itemized(raw)
    spoken = milliseconds(sent["seconds"])
    return Counted(None if spoken is None else Usage(milliseconds=spoken), _kept(raw))


def milliseconds(seconds: Any) -> int | None:
    """Return seconds, a number or the text of one, as whole milliseconds, rounded up; None where they can't be true.

    A float counts for the shortest digits that stand for it, which are those that were sent.
    """
    amount = decimal_of(seconds)
    if amount is None or not 0 < amount <= MOST_SECONDS:
        return None
    return max(1, int((amount * 1_000).to_integral_value(ROUND_CEILING)))


def decimal_of(sent: Any) -> Decimal | None:
    """Return a JSON number, or the text of one, with the digits that were sent; None for what is none."""
    if type(sent) not in (int, float, str):
        return None
    try:
        digits = str(sent)
        amount = Decimal(digits) if len(digits) <= MOST_DIGITS else None
    except (ValueError, InvalidOperation):
        return None
    return amount if amount is not None and amount.is_finite() else None


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
    usage = _checked(asked, cached or 0, answered, reasoning or 0)
    return Counted(_detailed(usage, sent, _PROMPT, _COMPLETION), _kept(raw))


def _checked(asked: int, cached: int, answered: int, reasoning: int) -> Usage | None:
    """Return the figures as Usage, or None where they can't be true."""
    if not (0 <= asked <= MOST_TOKENS and 0 <= answered <= MOST_TOKENS and asked + answered):
        return None
    if not 0 <= cached <= asked:
        cached = 0 if cached < 0 else asked
    if not 0 <= reasoning <= answered:
        reasoning = 0 if reasoning < 0 else answered
    return Usage(asked, cached, answered, reasoning)


def _sensed(usage: Usage, side: str, audio: int | None, image: int | None) -> Usage:
    """Add what part of the input or output tokens was sound and what pictures, clamped to what there is."""
    whole: int = getattr(usage, side)
    heard = min(max(audio or 0, 0), whole)
    seen = min(max(image or 0, 0), whole - heard)
    return usage._replace(**{f"audio_{side}": heard, f"image_{side}": seen})


def _detailed(
    usage: Usage | None, sent: Mapping[str, Any], given: tuple[str, ...], made: tuple[str, ...]
) -> Usage | None:
    """Add what the tokens were made of, from the detail objects of these names."""
    if usage is None:
        return None
    for side, groups in (("input", given), ("output", made)):
        audio, image = _first(sent, groups, "audio_tokens"), _first(sent, groups, "image_tokens")
        if audio or image:
            usage = _sensed(usage, side, audio, image)
    return usage


def _first(sent: Mapping[str, Any], groups: tuple[str, ...], name: str) -> int | None:
    return next((found for group in groups if (found := _detail(sent, group, name)) is not None), None)


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
