"""One lane of a run: its gate, its transport, its prices, and the heads that were claimed for it."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome
from batchrunner.core.clock import DAY, SECOND
from batchrunner.core.gate import Gate
from batchrunner.core.permit import Permit
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Head, Lane, Opened, Opening
from batchrunner.endpoints.base import Classifier
from batchrunner.store.base import BucketLevel
from batchrunner.transport.base import Transport

LONG_OUTAGE = 3600.0
"""Seconds after which the last rows of a lane are suspected of what looks like an outage."""
LAST_ROWS = 64
"""How many rows, at most, are the last ones."""
_BY_A_ROW = frozenset({FailureKind.SERVER_ERROR, FailureKind.TIMEOUT, FailureKind.CONNECTION, FailureKind.BAD_REPLY})
FLOATS = "floats"
"""The name under which a lane keeps that it does not take base64."""
PAUSE = "pause"
"""The kind of a level that keeps a pause instead of a bucket."""


class Probe(Enum):
    """Whether one row is to find out if the cause of a pause is gone."""

    NONE = 0
    DUE = 1
    """The next row that the gate lets through is the probe."""
    OUT = 2
    """The probe is on its way; no other row goes before its outcome is on the disk."""


class Ticket(NamedTuple):
    """A head that the gate let through, on its way into the ledger."""

    lane: "RunLane"
    opening: Opening
    permit: Permit


class Ready(NamedTuple):
    """A ticket whose attempt is open: all that a worker needs to send it."""

    ticket: Ticket
    opened: Opened


@dataclass(slots=True, kw_only=True, eq=False)
class RunLane:
    """What the claimer and the workers know of one lane while a run lives."""

    lane: Lane
    jobs: Sequence[int]
    """The jobs whose rows may be sent: those of this run that nobody holds back."""
    gate: Gate
    transport: Transport
    classify: Classifier
    rate: tuple[int, RateCard] | None = None
    """Id and card of today's price; None: unpriced."""
    rate_day: int = -1
    heads: deque[Head] = field(default_factory=deque)
    job_index: int = 0
    """The job whose fresh rows are being claimed; all jobs before it have none left."""
    after: tuple[int, int] | None = None
    """Where the next claim of that job goes on."""
    next_due: int | None = None
    """The earliest ``not_before`` of the rows that wait; None: none waits."""
    held: bool = False
    """Whether a person holds back all that is queued here."""
    ready: deque[Ready] = field(default_factory=deque)
    """Open attempts for which there was no room in the air yet."""
    busy: set[int] = field(default_factory=set)
    """Requests that are claimed and not yet recorded: a claim that meets them again passes them over."""
    drops: int = 0
    """How often claimed heads were forgotten: a claim that began before says nothing of where the next one goes on."""
    waits: bool = False
    """Whether a stop of this lane is waited for: then the run goes on as long as the lane has rows."""
    probe: Probe = Probe.NONE
    probing: Opening | None = None
    """The opening of the last probe."""
    failure: Failure | None = None
    """The last failure whose row is tried again."""
    floats: bool = False
    """Whether vectors are asked for as numbers, since this lane was found not to take base64."""

    def learned(self) -> dict[str, float]:
        """Return what the next run should know of this lane; figures by name."""
        return self.gate.learned() | ({FLOATS: 1.0} if self.floats else {})

    def levels(self, monotonic: float, now: int) -> list[BucketLevel]:
        """Return what must outlive this process: the buckets' levels, and a pause that is on."""
        levels = [BucketLevel(self.lane.id, kind, level, now, 0) for kind, level in self.gate.levels(monotonic)]
        pause = self.gate.pause_until - monotonic
        if pause > 0:
            levels.append(BucketLevel(self.lane.id, PAUSE, 0.0, now, now + round(pause * SECOND)))
        return levels

    def restore(self, kept: Iterable[BucketLevel], monotonic: float, now: int) -> None:
        """Go on from what an earlier run kept of this lane."""
        for level in kept:
            if level.kind == PAUSE:
                self.gate.pause(monotonic + (level.paused_until - now) / SECOND)
            else:
                self.gate.restore(level.kind, level.level, (now - level.at) / SECOND)

    def drop_heads(self) -> None:
        """Give claimed heads back: claiming wrote nothing, so forgetting them is all; they may be claimed anew."""
        if not self.heads:
            return
        self.busy.difference_update(head.id for head in self.heads)
        self.heads.clear()
        self.drops += 1
        self.job_index, self.after, self.next_due = 0, None, 1

    def restart(self, jobs: Sequence[int], now: int) -> None:
        """Work on these jobs from here on, from their first rows; what was claimed of others is given back."""
        self.jobs, self.job_index, self.after, self.next_due = jobs, 0, None, now
        self.drops += 1
        gone = [head for head in self.heads if head.job_id not in jobs]
        self.busy.difference_update(head.id for head in gone)
        self.heads = deque(head for head in self.heads if head.job_id in jobs)

    def is_priced(self, now: int) -> bool:
        """Whether ``rate`` is today's, as every attempt's that is opened now has to be."""
        return self.rate_day == now // DAY

    @property
    def fresh(self) -> bool:
        """Whether there may be rows that were never claimed."""
        return self.job_index < len(self.jobs)

    def blames(self, failure: Outcome, monotonic: float) -> bool:
        """Whether this failure counts against its row, although it looks like an outage's.

        Rows at fault, left over at the end of a job, look like an outage that never ends, but a run has to end. So the
        last rows use up their tries once nothing of their lane was answered for an hour: at its breaker's pace, and
        only where the provider took the call.
        """
        since = self.gate.outage_since
        if since is None or monotonic - since < LONG_OUTAGE or self.fresh or len(self.busy) > LAST_ROWS:
            return False
        return isinstance(failure, Failure) and failure.kind in _BY_A_ROW and failure.billing is not Billing.NOT_BILLED

    @property
    def finished(self) -> bool:
        """Whether nothing of this lane is left to do, now or later."""
        return not (self.fresh or self.heads or self.busy or self.next_due is not None)
