"""What comes after a purchase: polls and downloads, the steps of an attempt that stays open. They buy nothing.

Whatever a step brings is written before the next one is made, so a crash repeats a step and never the purchase.
"""

from collections.abc import Callable
from typing import NamedTuple

from batchrunner.core.attempt import Billing, Failure, FailureKind, Pending, Reply
from batchrunner.core.clock import Clock
from batchrunner.core.continuation import UNKNOWN_TYPE, Artifact, Continuation, Step, asked_for
from batchrunner.core.crashpoint import reached
from batchrunner.core.errors import DatabaseError
from batchrunner.core.http import Fetch
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Continued, Opened, Opening, Settled
from batchrunner.core.retry import GiveUp, GoOn, RetryPolicy, Scope, Stop, Succeed, Verdict
from batchrunner.core.usage import Usage, units_value
from batchrunner.endpoints.base import Part
from batchrunner.endpoints.limitheaders import read_limits
from batchrunner.endpoints.registry import FILED, POLLED
from batchrunner.endpoints.units import completed
from batchrunner.runner.artifacts import Artifacts
from batchrunner.runner.lanes import Ready, RunLane, Ticket
from batchrunner.runner.ledger import Ledger
from batchrunner.runner.offload import Offload
from batchrunner.runner.rates import card_of
from batchrunner.runner.settle import close
from batchrunner.runner.storage import Storage

FETCH_SECONDS = 600.0
_ANSWERED = Reply(200, b"", None)
"""What a lane's gate is told where the provider answered, whatever it said of its job."""
_LAST_MISS = {
    FailureKind.EXPIRED: 3,
    FailureKind.BAD_REPLY: 3,
    FailureKind.RESPONSE_TOO_LARGE: 1,
    FailureKind.INVALID_REQUEST: 3,
    FailureKind.MODEL_UNAVAILABLE: 5,  # a 404: the job is not known yet, or not any more
}
"""Steps that failed in a row, by the kind of the last one, after which what was bought is given up."""
_STOPPING = frozenset({FailureKind.AUTH, FailureKind.NO_CREDIT, FailureKind.MISCONFIGURED})
_LONGEST_WAIT = 60
"""Seconds: the longest wait of the retry curve, by which misses are counted as time."""


class Purchase(NamedTuple):
    """An open attempt that goes on: what it was opened by, and where it is."""

    lane: RunLane
    attempt_id: int
    opening: Opening
    card: RateCard | None
    body: bytes
    """What was sent."""
    continuation: Continuation
    ttfb: float = 0.0


def _may_be_renewed(bought: Purchase) -> bool:
    """Whether a file could not be fetched, and a job can be asked for another link to it: links expire, jobs last."""
    continuation = bought.continuation
    return bool(continuation.misses and continuation.target) and bought.opening.head.endpoint in POLLED


class Steps:
    """Takes purchases to their ends. ``stopped`` is told what stops a lane, ``faulted`` of a disk that is full.

    ``poll_for`` seconds of waiting are spent on one purchase, then it is given up: it may be billed.
    """

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        *,
        ledger: Ledger,
        artifacts: Artifacts,
        storage: Storage,
        offload: Offload,
        policy: RetryPolicy,
        clock: Clock,
        dice: Callable[[], float],
        poll_for: float,
        stopped: Callable[[RunLane, Stop], None],
        faulted: Callable[[DatabaseError], None],
    ) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._storage = storage
        self._offload = offload
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._poll_for = poll_for
        self._stopped = stopped
        self._faulted = faulted

    async def begin(self, ticket: Ticket, opened: Opened, pending: Pending, ttfb: float) -> None:
        """Go on from the answer to a purchase: it is written down before anything else is done."""
        lane, opening, _ = ticket
        bought = Purchase(
            lane, opened.attempt_id, opening, card_of(lane, opening.rate_id), opened.body, pending.continuation, ttfb
        )
        await self._take_on(bought, pending)

    async def resume(self, ready: Ready) -> None:
        """Make the next step of an attempt that waited in the queue."""
        (lane, opening, permit), opened = ready
        resumed = opened.resumed
        assert resumed is not None  # noqa: S101 - for the type checker: only those are resumed
        own = Opening(opening.head, resumed.opened, resumed.rate_id, resumed.hold)
        if lane.probing is opening:
            lane.probing = own
        bought = Purchase(lane, opened.attempt_id, own, resumed.card, opened.body, resumed.continuation)
        if resumed.continuation.step is Step.FETCH and not _may_be_renewed(bought):
            lane.gate.release(permit)
            await self._file(bought)
        else:
            await self._poll(bought, ready.ticket)

    # --------------------------------------------------------------------------------------------------------- polls

    async def _poll(self, bought: Purchase, ticket: Ticket) -> None:
        lane, opening, permit = ticket
        endpoint = POLLED[opening.head.endpoint]
        call = endpoint.resume(bought.continuation)._replace(client_request_id=str(bought.attempt_id))
        reached("poll")
        answer = await lane.transport.send(call)
        reached("polled")
        outcome: Pending | Failure
        if isinstance(answer, Failure):
            outcome, hints, refused = answer, None, True
        else:
            outcome = endpoint.go_on(bought.continuation, answer, lane.classify)
            refused = answer.status != 200
            hints = read_limits(answer.headers, answer.received, outcome) if isinstance(outcome, Failure) else None
        told = outcome if isinstance(outcome, Failure) and refused else _ANSWERED
        lane.gate.settle(permit, told, self._clock.monotonic(), hints)
        if isinstance(outcome, Pending):
            if bought.continuation.step is Step.FETCH:  # a new link is no new beginning: its fetches are few, too
                misses = bought.continuation.misses
                outcome = outcome._replace(continuation=outcome.continuation._replace(misses=misses))
            await self._take_on(bought, outcome)
        elif refused or outcome.kind is FailureKind.BAD_REPLY:
            self._missed(bought, outcome)
        else:
            self._end_badly(bought, outcome)

    async def _take_on(self, bought: Purchase, pending: Pending) -> None:
        """Write down where a purchase goes on, and go on at once where only its files are missing."""
        bought = bought._replace(continuation=pending.continuation)
        if pending.continuation.step is Step.POLL:
            if asked_for(pending.continuation.steps) < self._poll_for:
                self._wait(bought, pending.not_before)
            else:
                self._give_up(bought, f"the provider's job has not ended after {self._poll_for:,.0f} s of waiting")
            return
        parts = FILED[bought.opening.head.endpoint].parts(pending.continuation)
        if any(part.url is not None for part in parts):
            verdict = GoOn(max(1, self._clock.now()), stays=True)
            self._ledger.go_on(Continued(bought.attempt_id, bought.opening, pending.continuation, verdict))
            await self._ledger.flush()
            reached("continued")
            if self._storage.spilling:
                return  # it is in the spill, and the next run goes on
        await self._file(bought)

    # --------------------------------------------------------------------------------------------------------- files

    async def _file(self, bought: Purchase) -> None:
        """Put the files of a whole answer into the artifacts folder, then let its request succeed."""
        endpoint = FILED[bought.opening.head.endpoint]
        continuation = bought.continuation
        kept = list(continuation.kept)
        for part in endpoint.parts(continuation)[len(kept) :]:
            try:
                found = await self._keep(bought.lane, part)
            except OSError as error:
                self._faulted(self._storage.disk.explained(error))
                found = Failure(FailureKind.INTERRUPTED, "the disk took no file", Billing.NOT_BILLED)
            except ValueError as error:
                text = f"The answer is no file at {part.place}: {error}."
                self._end_badly(bought, Failure(FailureKind.BAD_REPLY, text, Billing.UNKNOWN, 200))
                return
            if isinstance(found, Failure):
                self._missed(bought._replace(continuation=continuation._replace(kept=tuple(kept))), found)
                return
            kept.append(found)
        reply = endpoint.whole(continuation, tuple(kept))
        self._end(bought, reply, Succeed(), tuple(kept))

    async def _keep(self, lane: RunLane, part: Part) -> Artifact | Failure:
        """Bring one file into the folder. Raises OSError, and ValueError for text that holds no file."""
        if part.url is None:
            data = part.data
            assert data is not None  # noqa: S101 - for the type checker: a part has one of the two
            return await self._offload.run(lambda: self._artifacts.put(data(), part.place, "", part.name))
        making = await self._offload.run(self._artifacts.begin)
        try:
            reached("fetch")
            fetched = await lane.transport.fetch(Fetch(part.url, FETCH_SECONDS, part.most), making.write)
            if isinstance(fetched, Failure):
                return fetched
            if not fetched.size:
                return Failure(FailureKind.BAD_REPLY, "the file is empty", Billing.NOT_BILLED)
            reached("fetched")
            return await self._offload.run(lambda: making.keep(part.place, fetched.content_type, part.name))
        finally:
            making.drop()

    # ---------------------------------------------------------------------------------------------------------- ends

    def _missed(self, bought: Purchase, failure: Failure) -> None:
        """Make a step that failed again later; what was bought is given up only once it can't be had any more."""
        kind, now = failure.kind, self._clock.now()
        if kind is FailureKind.INTERRUPTED:
            self._wait(bought, now)
            return
        misses = bought.continuation.misses + 1
        bought = bought._replace(continuation=bought.continuation._replace(misses=misses))
        if misses >= _LAST_MISS.get(kind, misses + 1) or misses * _LONGEST_WAIT >= self._poll_for:
            self._give_up(bought, failure.message)
        else:
            if kind in _STOPPING and bought.lane.gate.evidence(kind):
                self._stopped(bought.lane, Stop(Scope.PROVIDER, kind, failure.message))
            again = self._policy.again(misses - 1, now, self._dice, retry_after=failure.retry_after)
            self._wait(bought, again.not_before)

    def _give_up(self, bought: Purchase, why: str) -> None:
        """End a purchase of which nothing more can be had, and say that it was paid for, or may have been."""
        paid = bought.continuation.step is Step.FETCH
        told = "its answer was paid for" if paid else "it may have been paid for"
        text = f"{why}; {told}, and can't be had any more"
        billing = Billing.BILLED if paid else Billing.UNKNOWN
        status = 200 if paid else None
        answer = bought.continuation.answer if paid else b""
        failure = Failure(FailureKind.EXPIRED, text, billing, status, answer)
        failure = failure._replace(
            request_id=bought.continuation.request_id, usage=_usage_without_files(bought) if paid else None
        )
        self._end(bought, failure, GiveUp(failure.kind))

    def _end_badly(self, bought: Purchase, failure: Failure) -> None:
        """End a purchase that the provider failed: it is judged as any other failure is."""
        head, now = bought.opening.head, self._clock.now()
        verdict = self._policy.judge(failure, head.tries, now, self._dice, attempts=head.attempts)
        if isinstance(verdict, Stop):  # the purchase itself was let through: one job's word stops no lane
            verdict = self._policy.again(head.attempts, now, self._dice)
        self._end(bought, failure, verdict)

    def _end(
        self,
        bought: Purchase,
        outcome: Reply | Failure,
        verdict: Verdict,
        artifacts: tuple[Artifact, ...] = (),
    ) -> None:
        """Close the attempt. What the answer does not tell of what it is billed by, its body told before."""
        asked = units_value(bought.opening.head.units)
        closing = close(
            bought.attempt_id,
            bought.opening,
            outcome,
            verdict,
            card=bought.card,
            estimate=completed(outcome.usage, asked) if _is_billed(outcome) else None,
            ended=self._clock.now(),
            ttfb=bought.ttfb,
        )
        self._ledger.record(closing)
        self._ledger.settle(Settled(bought.attempt_id, bought.opening.head.id, artifacts))

    def _wait(self, bought: Purchase, not_before: int) -> None:
        """Send the request back to the queue; its attempt stays open."""
        verdict = GoOn(max(1, not_before))
        self._ledger.go_on(Continued(bought.attempt_id, bought.opening, bought.continuation, verdict))


def _is_billed(outcome: Reply | Failure) -> bool:
    return isinstance(outcome, Reply) or outcome.billing is Billing.BILLED


def _usage_without_files(bought: Purchase) -> Usage | None:
    """Return what a whole answer says that it used, although its files can't be had."""
    endpoint, answer = FILED[bought.opening.head.endpoint], bought.continuation
    missing = tuple(Artifact(part.place, "", UNKNOWN_TYPE, 0, part.name) for part in endpoint.parts(answer))
    return endpoint.whole(answer, missing).usage
