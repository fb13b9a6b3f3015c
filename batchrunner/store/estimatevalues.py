"""What estimates read through the store's seam. Import it from ``store.base``."""

from operator import add
from typing import Final, NamedTuple

from batchrunner.core.request import Lane, RequestState
from batchrunner.core.usage import Usage

LENGTHS: Final = tuple(round(4_096 * 2 ** (n / 2)) for n in range(21))
"""Where classes of long prompts begin, in estimated input tokens: from 4,096 on in half octaves, to four million."""


class LongPrompts(NamedTuple):
    """Queued requests of a lane whose prompts are about as long: of one class of ``LENGTHS``."""

    requests: int
    est_in: int
    max_out: int
    unbounded: int
    longest: int
    """Estimated input tokens of the longest among them."""

    def plus(self, other: "LongPrompts") -> "LongPrompts":
        """Return both together."""
        return LongPrompts._make((*map(add, self[:-1], other[:-1]), max(self.longest, other.longest)))


class Workload(NamedTuple):
    """The queued requests of one lane, as an estimate needs them."""

    lane: Lane
    requests: int
    est_in: int
    """Sum of the estimated input tokens."""
    max_out: int
    """Sum of the output bounds that are set."""
    unbounded: int
    """Requests without an output bound."""
    counted: int = 0
    """Requests whose bodies tell of other units than tokens."""
    units: tuple[Usage, ...] = ()
    """Sums of these units; pictures of different numbers of steps are apart, since steps are priced by the picture."""
    going_on: int = 0
    """Requests whose attempts are open and go on: what they take was bought before, and is in no sum but this one and
    ``requests``.
    """
    long: tuple[LongPrompts, ...] = ()
    """Of these sums, what long prompts make up, by class: they may have other prices."""


class DrawnRow(NamedTuple):
    """What one request came to: its attempts since some time, of every outcome. Money is in pico-dollars."""

    lane: Lane
    est_in: int
    max_out: int | None
    units: Usage | None
    """What its body tells of other units than tokens."""
    state: RequestState
    calls: int
    input: int
    output: int
    recorded: int
    estimated: int
    possibly_billed: int
    wasted: int
    unpriced: int
    """Calls of unknown cost, billed or possibly billed."""
    unknown: int
    """Of those, the ones that were billed for certain: then what it cost is not known."""
    microseconds: int
    """For which its calls were out, all together."""

    @property
    def billed(self) -> int:
        """What it cost for certain, used or wasted."""
        return self.recorded + self.estimated + self.wasted


class Pace(NamedTuple):
    """How long the last answered calls of a lane took."""

    lane_id: int
    calls: int
    microseconds: int
    """All together."""
