"""What passes through the store's seam: values, each a plain tuple. Import them from ``store.base``."""

from collections.abc import Sequence
from typing import NamedTuple

from batchrunner.core.continuation import Artifact
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Lane, RequestState
from batchrunner.core.usage import Usage


class RunnerInfo(NamedTuple):
    """Who runs."""

    host: str
    pid: int
    boot_id: str
    user: str
    version: str


class Rescue(NamedTuple):
    """What a dead runner left behind: its open attempts, closed as lost, and their requests, queued again."""

    lost: int
    hold: int
    """Pico-dollars that the lost attempts may have cost at worst, where that is known."""
    unpriced: int
    """Lost attempts without a known worst case."""
    quarantined: int = 0
    """Requests that were set aside, because they were in the air whenever a runner died."""


class TakenIn(NamedTuple):
    """What became of the answers that a run had put by, because its database could not take them."""

    taken: int = 0
    """Attempts that were closed with what they had brought."""
    known: int = 0
    """Attempts that were closed already, by an import that was cut short."""
    released: int = 0
    """Attempts that turned out never to have been sent."""
    strange: int = 0
    """Answers to requests that this database does not hold."""


class LaneWork(NamedTuple):
    """One lane that has queued requests, and the jobs they belong to, oldest first."""

    lane: Lane
    jobs: tuple[int, ...]
    queued: int


class Selection(NamedTuple):
    """Which of the queued requests one run works on."""

    upto: int | None = None
    """Only requests with an id up to this one."""
    ids: tuple[int, ...] | None = None
    """Only these requests."""


ALL = Selection()


class BucketLevel(NamedTuple):
    """A token bucket as it is kept across restarts."""

    lane_id: int
    kind: str
    """``requests`` or ``tokens``."""
    level: float
    at: int
    """Wall clock, microseconds UTC, at which the level held."""
    paused_until: int
    """Wall clock; 0: not paused."""


class Target(NamedTuple):
    """What a pause holds back."""

    scope: str
    """``lane``, ``provider`` or ``job``."""
    ref: str
    """Provider and model, the provider's name, or the job's id."""


BY_HAND = "paused by hand"
"""The reason of a pause that a person set: it outlives every run."""


class Pause(NamedTuple):
    """The fact that something is paused until a person acts, and why."""

    scope: str
    """``lane``, ``provider`` or ``job``."""
    ref: str
    """Provider and model, the provider's name, or the job's id."""
    reason: str
    evidence: str
    since: int
    """Microseconds UTC."""


class DuplicateIds(Exception):  # noqa: N818 - it carries findings, and is always caught
    """``add`` met custom_ids that the job has already: (line, custom_id, line of the first), nothing was added."""

    def __init__(self, found: Sequence[tuple[int, str, int]]) -> None:
        super().__init__(f"{len(found)} duplicate custom_ids")
        self.found = found


class Counts(NamedTuple):
    """Requests of a job by state; they add up to ``total``."""

    total: int
    queued: int
    waiting: int
    """Of the queued ones, those that wait for a ``not_before``."""
    running: int
    succeeded: int
    failed: int
    cancelled: int
    quarantined: int
    flagged: int = 0
    """Of the succeeded ones, those whose answer is flagged."""


class ResultRow(NamedTuple):
    """One request as an export shows it."""

    id: int
    line: int
    custom_id: str
    state: RequestState
    endpoint: str
    provider: str
    model: str
    attempts: int
    """Attempts made, lost ones included."""
    status: int | None
    body: bytes | None
    """The answer, or the refusal's body; None: never answered."""
    failure: str | None
    """The failure's kind."""
    message: str | None
    attempt_id: int | None
    """The attempt that settled it."""
    request_id: str | None
    """The provider's id of that attempt."""
    echoed_model: str | None
    opened: int | None
    ended: int | None
    usage: Usage | None
    """What that attempt used, in every unit."""
    usage_from: str | None
    billing: str | None
    cost: int | None
    """Pico-dollars of all this request's attempts whose cost is known; None where none is known."""
    extras: bytes | None
    ttft: int | None = None
    """Microseconds to the first token of a streamed answer."""
    partial: bool = False
    """Whether ``body`` is what had come of a streamed answer that broke off, and no answer."""
    artifacts: tuple[Artifact, ...] = ()
    """Files that the answer brought, in its order."""
    flags: tuple[str, ...] = ()
    """What is odd about the answer."""
    copy_of: str | None = None
    """The custom_id of the earlier request whose outcome this one has, as their bodies are the same: it is free."""


class FailureGroup(NamedTuple):
    """Failures of one kind, with one of them to look at."""

    kind: str
    status: int | None
    count: int  # type: ignore[assignment]  # nobody misses a tuple's own count()
    custom_id: str
    line: int
    message: str


class CostRow(NamedTuple):
    """The four sums of one slice, in pico-dollars, and what they are made of. They are never mixed."""

    key: tuple[str | None, ...]
    """Its part of each slice; None of a tag: what has no such tag, which is nobody's."""
    attempts: int
    succeeded: int
    input: int
    cached: int
    output: int
    reasoning: int
    recorded: int
    """Used answers, priced by the provider's own usage."""
    estimated: int
    """Used answers without usage, priced by our estimate."""
    possibly_billed: int
    """The holds of attempts that may have been billed: timeouts, resets after sending, 5xx, lost attempts."""
    wasted: int
    """Billed attempts whose answer was not used."""
    unpriced: int
    """Billed or possibly billed attempts without a known cost: their model has no price, or no worst case."""
    images: int = 0
    """Pictures made; this and what follows is what else was counted beside the tokens, or of them."""
    pixels: int = 0
    milliseconds: int = 0
    characters: int = 0
    searches: int = 0
    pixel_steps: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    wasted_estimated: int = 0
    """Of ``wasted``, what is known by our estimate only; the rest is by the provider's own usage."""
    doubtful: int = 0
    """Attempts that ``possibly_billed`` and ``unpriced`` are about: nobody knows whether they were billed."""


class ChargeRow(NamedTuple):
    """What was certainly billed of one day, job, model, rate card and tags: the grain of an export for finance."""

    day: int
    job_id: int
    job: str
    lane_id: int
    provider: str
    model: str
    endpoint: str
    account: str
    processing: str
    """``live`` or ``batch``."""
    used: bool
    """Whether the answers were of use."""
    reported: bool
    """Whether the provider counted the usage; else it is our estimate."""
    rate_id: int | None
    card: RateCard | None
    """What these attempts were priced by; None: nothing, or what the provider stated itself."""
    tags: tuple[tuple[str, str], ...]
    usage: Usage
    """The sums of all units; its ``cost`` is None."""
    attempts: int
    unpriced: int
    """Of these attempts, those of unknown cost."""
    cost: int
    """Pico-dollars of those of known cost."""


class Billed(NamedTuple):
    """One billed attempt: what it used, and what was booked for it."""

    provider: str
    model: str
    job: str
    day: int
    """On which it was opened, in UTC, counted from 1970."""
    endpoint: str
    account: str
    processing: str
    """``live`` or ``batch``."""
    use: str
    usage_from: str
    cost: int | None
    """Pico-dollars; None: unknown."""
    usage: Usage | None
    """None: not known."""


class LaneRow(NamedTuple):
    """A lane as status shows it."""

    lane: Lane
    queued: int
    paused_until: int
    pause: str | None
    """The reason of its last pause that has not ended."""


class RunnerRow(NamedTuple):
    """The newest runner of this database."""

    id: int
    host: str
    pid: int
    started: int
    heartbeat: int
    ended: int | None
    end_reason: str | None
    snapshot: bytes | None
