"""What a report shows, as values: read from one or several databases, and made into a page without looking back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple, Protocol

from batchrunner.core.budget import Budget, Spent
from batchrunner.core.pricing import RateCard


class Slice(Protocol):
    """A slice of the costs. Money is in pico-dollars; the four sums are never mixed."""

    @property
    def key(self) -> tuple[str | None, ...]:
        """What it is a slice of, one part for each thing it was sliced by; None: what has no such tag."""

    @property
    def attempts(self) -> int:
        """Calls that have ended."""

    @property
    def succeeded(self) -> int:
        """Answers that were used."""

    @property
    def input(self) -> int:
        """Tokens, cached ones among them."""

    @property
    def cached(self) -> int: ...

    @property
    def output(self) -> int:
        """Tokens, those of reasoning among them."""

    @property
    def reasoning(self) -> int: ...

    @property
    def recorded(self) -> int: ...

    @property
    def estimated(self) -> int: ...

    @property
    def possibly_billed(self) -> int: ...

    @property
    def wasted(self) -> int: ...

    @property
    def unpriced(self) -> int:
        """Calls that were or may have been billed, and whose cost is unknown."""

    @property
    def wasted_estimated(self) -> int:
        """Of ``wasted``, what is known by our estimate only."""

    @property
    def images(self) -> int: ...

    @property
    def pixels(self) -> int: ...

    @property
    def milliseconds(self) -> int:
        """Of sound or film."""

    @property
    def characters(self) -> int: ...

    @property
    def searches(self) -> int: ...

    @property
    def audio_input(self) -> int:
        """Tokens, among ``input``; the next three are parts of ``input`` and ``output`` too."""

    @property
    def audio_output(self) -> int: ...

    @property
    def image_input(self) -> int: ...

    @property
    def image_output(self) -> int: ...


class Flow(NamedTuple):
    """Calls that ended in one stretch of time."""

    stretch: int
    """Counted in stretches from 1970, UTC."""
    answered: int
    throttled: int
    """Refused because there were too many: 429, 503, 529."""
    failed: int
    """All other calls that brought no answer, lost ones among them."""
    tokens: int
    """In and out, as far as they were told."""


class Latency(NamedTuple):
    """Answers of one model that took equally long, to two digits."""

    model: str
    milliseconds: int
    """From the send to the whole answer, rounded down to two significant digits."""
    answers: int


class FailedCalls(NamedTuple):
    """Calls that failed in one way."""

    kind: str
    status: int | None
    """None: no answer of HTTP came."""
    calls: int
    wasted: int
    """Pico-dollars that were billed for them."""
    possibly_billed: int
    """Pico-dollars that may have been, at worst."""
    example: str
    """What the first of them said."""


class Foreseen(NamedTuple):
    """What was expected of a model's answered calls before they were made, beside what they used.

    Only calls whose provider told what they used are in here.
    """

    model: str
    answers: int
    input_expected: int
    input: int
    bounded: int
    """Of the answers, those whose request bounds its output."""
    output_bound: int
    """Tokens that the bounded ones may have used."""
    output: int
    """Tokens that the bounded ones used."""
    priced: int
    """Of the answers, those whose worst case and cost are both known."""
    hold: int
    """Pico-dollars that these may have cost at worst."""
    cost: int
    """Pico-dollars that these cost."""


class Rate(NamedTuple):
    """A rate card that calls were priced by."""

    card: RateCard
    calls: int


class Requests(NamedTuple):
    """Where requests stand now, whenever they were loaded."""

    job: str
    total: int
    succeeded: int
    failed: int
    """For good; those set aside are among them."""
    cancelled: int

    @property
    def open(self) -> int:
        """Those that have no outcome yet."""
        return self.total - self.succeeded - self.failed - self.cancelled


class Capped(NamedTuple):
    """A budget, and what counted against it when the report was made, in the day or month (UTC) that it was then."""

    database: str
    job: str
    """The name of the job that it is for; empty where it is for no single one."""
    budget: Budget
    spent: Spent

    @property
    def left(self) -> int:
        """Pico-dollars; below nothing where the cap was lowered, or an answer was longer than assumed."""
        return self.budget.cap - self.spent.committed


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that a report shows. Sequences of slices add up to ``total``, in each of the sums."""

    made: int
    """Microseconds UTC."""
    version: str
    databases: tuple[str, ...]
    zone: tzinfo
    """In which times are shown."""
    since: str | None = None
    """The first and the last day that are counted, as ISO dates; None: from the first call, to the last."""
    until: str | None = None
    total: Slice
    saved: int
    """Pico-dollars that cached tokens would have cost more as fresh ones."""
    daily: Sequence[Slice]
    """By day and model."""
    models: Sequence[Slice]
    jobs: Sequence[Slice]
    """By job, or by database and job where there are several databases."""
    endpoints: Sequence[Slice]
    accounts: Sequence[Slice]
    """By provider and account."""
    tags: Sequence[tuple[str, Sequence[Slice]]]
    """For each key of a tag, by its values; None is what does not have the tag."""
    budgets: Sequence[Capped]
    """Those that were set, of every database."""
    requests: Sequence[Requests]
    """By job."""
    stretch: int
    """Microseconds of a ``Flow``."""
    flows: Sequence[Flow]
    latencies: Sequence[Latency]
    failures: Sequence[FailedCalls]
    foreseen: Sequence[Foreseen]
    rates: Sequence[Rate]
