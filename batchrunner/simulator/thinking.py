"""Models that think before they answer: older ones in the text itself, between tags, newer ones in a field of its own.

What was thought is part of the answer's tokens and of its bound, and is counted again among the details of the usage.
"""

from __future__ import annotations

from typing import Any, Final

from batchrunner.simulator import catalogue
from batchrunner.simulator.calls import Call
from batchrunner.simulator.text import digest_of, prose

OPEN: Final = "<think>\n"
CLOSE: Final = "\n</think>\n\n"
_SHARE: Final = 2
"""Half as much again as it says is thought before."""


def thinks(call: Call) -> bool:
    """Whether the model thinks about this call: Together's `reasoning.enabled` can forbid it."""
    asked = call.body.get("reasoning")
    forbidden = isinstance(asked, dict) and asked.get("enabled") is False
    return call.endpoint == "chat" and not forbidden and bool(catalogue.thinking_of(call.model))


def thought_tokens(call: Call, wanted: int) -> int:
    """Tokens that are thought before an answer of so many."""
    return max(1, wanted // _SHARE) if thinks(call) else 0


def think(message: dict[str, Any], call: Call, digest: bytes, tokens: int, *, whole: bool) -> None:
    """Put the thoughts into a message; ones that are not whole were cut off before there was an answer."""
    if not tokens:
        return
    thoughts = prose(digest_of("thoughts", digest.hex()), tokens, whole=whole)
    if catalogue.thinking_of(call.model) == "field":
        message["reasoning"] = thoughts
    else:
        message["content"] = f"{OPEN}{thoughts}{CLOSE if whole else ''}{message['content'] or ''}"
