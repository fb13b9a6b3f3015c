"""The seam of a report's reads: what it asks of a database beside the costs. Import it from ``store.readerbase``."""

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from batchrunner.core.figures import FailedCalls, Flow, Foreseen, Latency, Rate, Requests


class Period(NamedTuple):
    """When attempts were opened: microseconds UTC, both ends among them."""

    first: int
    last: int


EVER = Period(0, (1 << 63) - 1)


class ReportReader(Protocol):
    """What a report reads beside the costs; each is a short read transaction, safe beside a live run."""

    def still(self) -> AbstractContextManager[None]:
        """Let all reads inside see one state, whatever a live run writes meanwhile: their sums agree."""

    def span(self, period: Period = EVER) -> Period | None:
        """Return when the first and the last call ended, of those opened in the period; None: there are none."""

    def flows(self, stretch: int, period: Period = EVER) -> list[Flow]:
        """Return the calls of each stretch of so many microseconds in which any ended, oldest first."""

    def latencies(self, period: Period = EVER) -> list[Latency]:
        """Return how many answers took how long, by model."""

    def failed_calls(self, period: Period = EVER) -> list[FailedCalls]:
        """Return the calls that brought no answer by kind and status, most frequent first."""

    def foreseen(self, period: Period = EVER) -> list[Foreseen]:
        """Return what was expected of used answers, and what they used, by model."""

    def rates(self, period: Period = EVER) -> list[Rate]:
        """Return the rate cards that calls were priced by, with the number of those that were or may be billed."""

    def requests(self) -> list[Requests]:
        """Return where the requests of each job stand, oldest job first."""

    def tag_keys(self) -> list[str]:
        """Return the keys of all tags that jobs or lines carry."""
