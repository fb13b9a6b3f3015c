"""What bodies and answers tell of units other than tokens: pictures, sound, characters, a cost that is stated. Pure.

What a body tells belongs into ``Facts.units``: it is the worst case before the call, and the estimate after it where
the answer counts nothing. What an answer tells is its ``Usage``. Each function reads decoded JSON of any type and says
None, or counts nothing, for what can't be true: a figure of a stranger must not reach a sum of money.
"""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING
from typing import Any

import msgspec

from batchrunner.core.pricing import PICO
from batchrunner.core.usage import Usage
from batchrunner.endpoints.usage import decimal_of, milliseconds

SIDE = 1024
"""Pixels of a side where a body gives none: Together's default for width and height."""
MOST_SIDE = 16_384
"""Pixels of a side; no model paints larger pictures."""
MOST_IMAGES = 128
MOST_STEPS = 1_000
MOST_STATED = 10_000
"""USD that one call may say it costs; more is a provider's mistake."""

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def pictures(body: Mapping[str, Any]) -> Usage | None:
    """Return what a body for pictures asks for: how many, their pixels, and pixels times steps where it gives steps.

    The size is ``size`` (OpenAI, ``1024x1024``) or ``width`` and ``height`` (Together). Where it is left to the model
    (``auto``, an aspect ratio, a reference picture's own) the pixels are not known and are not counted. None where the
    number of pictures can't be.
    """
    images = _whole(body.get("n", 1), MOST_IMAGES)
    if images is None:
        return None
    width, height = _sides(body)
    pixels = images * width * height
    return Usage(images=images, pixels=pixels, pixel_steps=pixels * (_whole(body.get("steps"), MOST_STEPS) or 0))


def delivered(asked: Usage | None, images: int) -> Usage:
    """Return what so many pictures of the size that was asked for are: the ones that came are the ones that cost."""
    if asked is None or not asked.images:
        return Usage(images=images)
    pixels, steps = asked.pixels // asked.images, asked.pixel_steps // asked.images
    return Usage(images=images, pixels=images * pixels, pixel_steps=images * steps)


def spoken(text: str) -> Usage:
    """Return the characters of a text to be spoken: code points, as Together and OpenAI count them."""
    return Usage(characters=len(text))


def clip(body: Mapping[str, Any]) -> Usage | None:
    """Return the length of the film that a body asks for in ``seconds``, which Together takes as text; None: not told.

    Its pixels are not counted: films are priced by the clip or by their length.
    """
    length = milliseconds(body.get("seconds"))
    return None if length is None else Usage(milliseconds=length)


def heard(answer: Mapping[str, Any]) -> Usage | None:
    """Return how long the sound of a transcript was: ``duration`` of ``verbose_json``, or where its last part ends."""
    length = milliseconds(answer.get("duration"))
    if length is None:
        ends = [milliseconds(end) for name in ("segments", "words") for end in _ends(answer.get(name))]
        length = max((end for end in ends if end is not None), default=None)
    return None if length is None else Usage(milliseconds=length)


def heard_in(body: bytes) -> Usage | None:
    """Return how long the sound of a transcript was, from the bytes of its answer; None where they don't tell."""
    try:
        answer = _OBJECT.decode(body)
    except (ValueError, RecursionError):
        return None
    return heard(answer)


def stated(usd: Any) -> Usage | None:
    """Return what a provider says that a call cost, in USD: a number or the text of one (Together's films: 0.28).

    Digits beyond a pico-dollar are rounded up. None where nothing is said that can be true.
    """
    amount = decimal_of(usd)
    if amount is None or not 0 <= amount <= MOST_STATED:
        return None
    return Usage(cost=int((amount * PICO).to_integral_value(ROUND_CEILING)))


def completed(usage: Usage | None, asked: Usage | None) -> Usage | None:
    """Return an answer's usage with what only its body tells, or None where the answer counted enough by itself.

    An answer that names tokens or a cost is billed by them; so is one that counted anything but pictures. One that only
    holds pictures does not say how large they are.
    """
    if asked is None:
        return None
    if usage is None:
        return asked
    if usage.total or usage.cost is not None or not usage.images or usage.pixels or not asked.pixels:
        return None
    return delivered(asked, usage.images)


_OBJECT = msgspec.json.Decoder(dict[str, Any])


def _sides(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height; 0 and 0 where the model chooses them."""
    size = body.get("size")
    if size is not None:
        found = _SIZE.fullmatch(size) if isinstance(size, str) else None
        return (min(int(found[1]), MOST_SIDE), min(int(found[2]), MOST_SIDE)) if found else (0, 0)
    given = (body.get("width"), body.get("height"))
    if given == (None, None) and any(body.get(name) for name in ("aspect_ratio", "image_url", "reference_images")):
        return 0, 0
    width, height = (SIDE if side is None else _whole(side, MOST_SIDE) for side in given)
    return (width, height) if width and height else (0, 0)


def _ends(parts: Any) -> list[Any]:
    return [part.get("end") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _whole(value: Any, most: int) -> int | None:
    return value if type(value) is int and 0 < value <= most else None
