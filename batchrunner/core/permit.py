"""What a gate is told and what it answers: limits, go or wait, the permit of one call."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from batchrunner.core.attempt import FailureKind
from batchrunner.core.learnedrate import Rate
from batchrunner.core.ratelimit import Reservation


class Bottleneck(StrEnum):
    """What a lane waits for. The words are shown: never rename one."""

    CONCURRENCY = "concurrency"
    RPM = "rpm"
    TPM = "tpm"
    PAUSED = "paused"
    """The provider asked us to stay away (Retry-After)."""
    OUTAGE = "outage"
    """The breaker is open, or lets a service that came back grow into its load."""


class Go(NamedTuple):
    """The next call may be admitted now."""


class Wait(NamedTuple):
    """Ask again at ``until``."""

    until: float
    """Monotonic seconds; infinite where only an answer changes anything: ask again after ``landed`` or ``settle``."""
    why: Bottleneck


class Stopped(NamedTuple):
    """The lane is closed until a person acts."""

    kind: FailureKind
    message: str


class Headroom(NamedTuple):
    """How much of one limit is in use, for people."""

    what: Bottleneck
    used: float
    """Calls in the air now; requests, or tokens as far as they are known, of the last minute."""
    limit: float | None
    """None: not limited."""
    who: str = ""
    """Who set the limit: ``you``, ``learned``, ``provider's header``; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """The limits of one lane, as they were configured."""

    concurrency: int
    """Most calls in the air."""
    adaptive: bool = False
    """Whether fewer are let through until the answers show that as many are welcome."""
    rpm: Rate = None
    """Requests per minute; ``auto``: as headers and refusals teach; None: not limited."""
    tpm: Rate = None
    """Tokens per minute, input and output together; ``auto`` and None as for ``rpm``."""
    reserve: Literal["learned", "upper"] = "learned"
    """What is reserved of ``tpm`` for a call in the air: what it will probably use, or the most that it can use."""

    def __post_init__(self) -> None:
        """Raise ValueError where a limit would let nothing through, or is no number."""
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {self.concurrency}")
        for name, limit in (("rpm", self.rpm), ("tpm", self.tpm)):
            if isinstance(limit, str) and limit != "auto":
                raise ValueError(f"{name} must be a number above 0 or auto, not {limit!r}")
            if isinstance(limit, int | float) and not 0 < limit < math.inf:
                raise ValueError(f"{name} must be a number above 0, not {limit}")


class Permit:
    """One admitted call, from before its attempt is opened until its outcome is recorded. Opaque but for reading."""

    __slots__ = ("at", "est_in", "in_air", "landed", "max_out", "reservation", "reserve", "settled", "ticket")

    def __init__(self, at: float, est_in: int, max_out: int | None, reserve: float, ticket: int) -> None:
        self.at = at
        self.est_in = est_in
        self.max_out = max_out
        self.reserve = reserve
        """Tokens reserved for it."""
        self.ticket = ticket
        self.reservation: Reservation | None = None
        self.in_air = False
        self.landed = False
        self.settled = False
