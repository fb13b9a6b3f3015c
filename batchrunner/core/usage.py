"""What one attempt used, in the units that are billed."""

import json
from enum import StrEnum
from typing import Final, NamedTuple


class UsageFrom(StrEnum):
    """Where a usage figure comes from."""

    PROVIDER = "provider"
    ESTIMATED = "estimated"
    NONE = "none"


class Usage(NamedTuple):
    """Tokens of one attempt, and what else was counted of it: whole numbers, 0 where there is none.

    ``input`` includes ``cached``, ``audio_input`` and ``image_input``; ``output`` includes ``reasoning``,
    ``audio_output`` and ``image_output``: the details are never added on top.

    The other units measure one thing in several ways (a picture has pixels, and may be told as tokens too). Which of
    them is billed, and that it is billed once, is decided by the rate card.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    images: int = 0
    """Pictures made."""
    pixels: int = 0
    """Of all these pictures together."""
    milliseconds: int = 0
    """Of audio or video, heard or made."""
    characters: int = 0
    """Of a text to be spoken."""
    searches: int = 0
    """Questions that a reranker was asked."""
    pixel_steps: int = 0
    """Pixels times the steps that were asked for; 0 where the model's own number of steps applies."""
    audio_input: int = 0
    """Of the input tokens, those of sound."""
    audio_output: int = 0
    image_input: int = 0
    """Of the input tokens, those of pictures."""
    image_output: int = 0
    cost: int | None = None
    """Pico-dollars that the provider itself says this costs: it wins over every card. None: it says nothing."""

    @property
    def total(self) -> int:
        """Return all tokens, each counted once."""
        return self.input + self.output


TOKENS: Final = 4
"""So many fields of a usage are those that most attempts have: tokens without their rarer details."""
OTHERS = Usage._fields[TOKENS:-1]
"""The names of all others that are counted; ``cost`` is none of them."""


def units_text(units: Usage | None) -> str | None:
    """Return what a body tells of its units before the call as compact JSON; None where it tells of none."""
    told = {} if units is None else {name: amount for name, amount in units._asdict().items() if amount}
    return json.dumps(told, separators=(",", ":")) if told else None


def units_value(text: str | None) -> Usage | None:
    """Return units as they were before ``units_text``; None where there are none, or where the text is not ours."""
    if text is None:
        return None
    try:
        told = json.loads(text)
        amounts = {name: told[name] for name in Usage._fields if name in told}
    except (ValueError, TypeError, RecursionError):
        return None  # somebody edited the database: what a call uses is then unknown beforehand
    return Usage(**amounts) if all(type(amount) is int for amount in amounts.values()) else None
