"""What a provider's headers say of its limits, as far as it makes sense; what is made of it is the gate's to say."""

from typing import NamedTuple

LONGEST_STALL = 60.0
"""Seconds: no header, however absurd, keeps a lane waiting for longer."""


class LimitHints(NamedTuple):
    """The limits that one reply tells of."""

    requests: float | None = None
    """Requests per second that are allowed."""
    tokens: float | None = None
    """Tokens per second that are allowed."""
    ready_in: float | None = None
    """Seconds after which a refused call would pass, 0 to LONGEST_STALL; None: not said."""
    short_of_tokens: bool = False
    """Whether a refusal was for tokens; otherwise it was for requests, or does not say."""
