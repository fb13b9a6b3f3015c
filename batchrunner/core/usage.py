"""What one attempt used, in the units that are billed."""

from enum import StrEnum
from typing import NamedTuple


class UsageFrom(StrEnum):
    """Where a usage figure comes from."""

    PROVIDER = "provider"
    ESTIMATED = "estimated"
    NONE = "none"


class Usage(NamedTuple):
    """Tokens of one attempt.

    ``input`` includes ``cached``, and ``output`` includes ``reasoning``: the details are never added on top.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Return all tokens, each counted once."""
        return self.input + self.output
