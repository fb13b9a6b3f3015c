"""The request, one call's worth of work, and the values it walks through the corridor as.

These are NamedTuples: frozen, and cheap enough to make several of them per row.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Outcome, Use
from batchrunner.core.continuation import Artifact, Continuation
from batchrunner.core.corpus import Asked
from batchrunner.core.pricing import RateCard
from batchrunner.core.retry import GoOn, Verdict
from batchrunner.core.usage import Usage, UsageFrom


class RequestState(StrEnum):
    """States of a request. "Retry later" is ``queued`` with a ``not_before``: one waiting state, not three."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


class Lane(NamedTuple):
    """Provider and model: what limits, pauses and the claim work by."""

    id: int
    provider: str
    model: str


class NewRequest(NamedTuple):
    """One line of a job file, checked and ready to be queued."""

    line: int
    """Line number in the file, from 1; with the job it gives the input order."""
    custom_id: str
    endpoint: str
    """The endpoint's path, such as ``/v1/chat/completions``."""
    model: str
    body: bytes
    """The bytes that will be sent."""
    digest: bytes
    """First 16 bytes of the SHA-256 of ``body``."""
    est_in: int
    """Estimated input tokens, before calibration."""
    max_out: int | None
    """The output bound that the body sets, in tokens; None where it sets none. Zero where nothing is generated."""
    priority: int = 0
    """Higher goes first."""
    extras: bytes | None = None
    """The line's ``metadata`` and unknown keys, as one JSON object."""
    tags: tuple[tuple[str, str], ...] = ()
    """Line tags, sorted by key."""
    units: Usage | None = None
    """What the body tells of other units than tokens: pictures and their size, characters to speak; None: nothing."""
    composed: bool = False
    """Whether what is sent is made of ``body`` at send time, with local files that it refers to, or as a form."""
    files: int = 0
    """How many local files it refers to."""
    provider: str | None = None
    """The configured provider that this line asks for by name; None: the job's."""


class Head(NamedTuple):
    """A claimed request without its body: all that the gate and the ledger need to decide."""

    id: int
    job_id: int
    lane_id: int
    endpoint: str
    tag_set_id: int | None
    tries: int
    """Failures that count against this row so far."""
    attempts: int
    """Attempts made so far, of every kind."""
    priority: int
    est_in: int
    max_out: int | None
    digest: bytes
    units: str | None = None
    """What its body tells of other units than tokens, as ``units_text`` wrote it."""
    continues: int = 0
    """The open attempt that goes on with this request; 0: a new one is bought."""


class Opening(NamedTuple):
    """The intent to buy: becomes an attempt when it is committed."""

    head: Head
    opened: int
    """Microseconds UTC."""
    rate_id: int | None
    """The frozen rate card; None: unpriced."""
    hold: int | None
    """What this attempt may cost at worst, in pico-dollars; None where the price or the worst case is unknown."""


class Resumption(NamedTuple):
    """An attempt that was opened before and goes on, with what it was opened by."""

    continuation: Continuation
    opened: int
    rate_id: int | None
    hold: int | None
    card: RateCard | None
    """The rate card of its day; None: unpriced."""


class Opened(NamedTuple):
    """A committed attempt, with the body to send."""

    attempt_id: int
    body: bytes
    composed: bool = False
    """Whether what is sent has yet to be made of the body."""
    resumed: Resumption | None = None
    """Set where the attempt was bought before: nothing is sent but its next step."""
    repairs: int = 0
    """How often this request was asked again because its answer was not what it had asked for."""
    raises: int = 0
    """How often it was asked again with a higher output bound. Either way ``body`` is not the one that was loaded."""
    pack: Asked | None = None
    """Set for a pack of a corpus: its answer is read as vectors."""

    @property
    def answered(self) -> bool:
        """Whether an answer is kept that this call is to better."""
        return self.repairs + self.raises > 0


class Release(NamedTuple):
    """An open attempt that was never sent, taken back: as if it had not been."""

    attempt_id: int
    head: Head


class Continued(NamedTuple):
    """An attempt that stays open: written, with its continuation, before anything is done with that."""

    attempt_id: int
    opening: Opening
    continuation: Continuation
    verdict: GoOn


class Settled(NamedTuple):
    """The end of a continuation, beside the closing of its attempt: what it brought is in the artifacts folder."""

    attempt_id: int
    request_id: int
    artifacts: tuple[Artifact, ...]


class Beside(NamedTuple):
    """What is recorded of attempts that go on later, beside closings and releases."""

    continued: Sequence[Continued] = ()
    settled: Sequence[Settled] = ()


NOTHING_BESIDE = Beside()


class Closing(NamedTuple):
    """The end of an attempt and what follows for its request: written in one transaction."""

    attempt_id: int
    opening: Opening
    ended: int
    outcome: Outcome
    verdict: Verdict
    billing: Billing
    use: Use
    usage: Usage | None
    usage_from: UsageFrom
    cost: int | None
    """Pico-dollars by the attempt's rate card; None where price or usage is unknown. Never 0 for unknown."""
    ttfb: float
    """Seconds to the first byte of the answer."""
    ttft: float | None = None
    """Seconds to the first token of a streamed answer; None: it was not streamed, or none came."""
    sent: bytes | None = None
    """First 16 bytes of the SHA-256 of what was sent; None: the digest of the request, whose body it was."""
