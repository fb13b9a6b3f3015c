"""The request, one call's worth of work, and the values it walks through the corridor as.

These are NamedTuples: frozen, and cheap enough to make several of them per row.
"""

from enum import StrEnum
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Outcome, Use
from batchrunner.core.retry import Verdict
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


class Opening(NamedTuple):
    """The intent to buy: becomes an attempt when it is committed."""

    head: Head
    opened: int
    """Microseconds UTC."""
    rate_id: int | None
    """The frozen rate card; None: unpriced."""
    hold: int | None
    """What this attempt may cost at worst, in pico-dollars; None where the price or the worst case is unknown."""


class Opened(NamedTuple):
    """A committed attempt, with the body to send."""

    attempt_id: int
    body: bytes
    repairs: int = 0
    """How often this request was asked again because its answer was not what it had asked for."""
    raises: int = 0
    """How often it was asked again with a higher output bound. Either way ``body`` is not the one that was loaded."""

    @property
    def answered(self) -> bool:
        """Whether an answer is kept that this call is to better."""
        return self.repairs + self.raises > 0


class Release(NamedTuple):
    """An open attempt that was never sent, taken back: as if it had not been."""

    attempt_id: int
    head: Head


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
