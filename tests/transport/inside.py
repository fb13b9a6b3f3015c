"""Answers for the engine without a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Said:
    """What a function in this process answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b'{"ok":true}'
    delay: float = 0.0
    fault: str | None = None
    pieces: Sequence[bytes] = ()
    pace: float = 0.0
