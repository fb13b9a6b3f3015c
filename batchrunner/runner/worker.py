"""The fixed workers: send, read, judge, record. Nothing here waits for a limit, for a retry or for the disk."""

from collections.abc import Callable

from batchrunner.core.attachments import Composed
from batchrunner.core.attempt import Failure, FailureKind, Outcome, Pending, Reply
from batchrunner.core.clock import SECOND, Clock
from batchrunner.core.crashpoint import reached
from batchrunner.core.doubles import Doubles
from batchrunner.core.estimate import deadline
from batchrunner.core.hints import LimitHints
from batchrunner.core.http import HttpCall, HttpReply
from batchrunner.core.request import Head, Opened, Opening
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, RetryAt, RetryPolicy, Scope, Stop, Verdict
from batchrunner.core.usage import Usage
from batchrunner.endpoints.limitheaders import read_limits
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.runner.attaching import Attaching, Sendable, sendable
from batchrunner.runner.dispatcher import Dispatcher
from batchrunner.runner.inbox import Inbox
from batchrunner.runner.judging import Judging
from batchrunner.runner.lanes import Ready, RunLane, Ticket
from batchrunner.runner.ledger import Ledger
from batchrunner.runner.packs import Packs
from batchrunner.runner.rates import card_of
from batchrunner.runner.rowages import RowAges
from batchrunner.runner.settle import close, estimate_usage
from batchrunner.runner.steps import Steps

_COMPOSED_SECONDS = 600.0
"""A call with files takes at least so long before it is given up: an hour of speech is not heard in two minutes."""
_UPLOAD_RATE = 250_000
"""Bytes a second that a line sends at least; what a long body takes is added to its deadline."""


class Workers:
    """What every worker of a run shares. ``stopped`` is told a Stop verdict that the evidence bears out."""

    def __init__(  # noqa: PLR0913 - each is a seam of its own
        self,
        *,
        ledger: Ledger,
        dispatcher: Dispatcher,
        policy: RetryPolicy,
        clock: Clock,
        dice: Callable[[], float],
        stopped: Callable[[RunLane, Stop], None],
        attaching: Attaching,
        steps: Steps,
        ages: RowAges | None = None,
        keep_partial: bool = False,
        judging: Judging | None = None,
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._stopped = stopped
        self.doubles = Doubles()
        """What keeps one answer from two requests."""
        self._attaching = attaching
        self._steps = steps
        self._ages = ages
        self._keep_partial = keep_partial
        self._judging = judging or Judging()
        self._packs = Packs()

    async def run(self, inbox: Inbox) -> None:
        """Send what comes in until the inbox is closed and empty."""
        ready = await inbox.take()
        while ready is not None:
            await self._buy(ready)
            ready = self._dispatcher.landed(ready) or await inbox.take()

    async def _buy(self, ready: Ready) -> None:
        """One purchase, from the committed intent to the verdict."""
        ticket, opened = ready
        if not self._dispatcher.clear(ticket):
            self._dispatcher.release(ready)
            return
        if opened.resumed is not None:
            await self._steps.resume(ready)
            return
        if opened.composed:
            await self._buy_composed(ready)
            return
        if opened.pack is not None:
            await self._buy_pack(ready)
            return
        reached("send")
        feed = BY_PATH[ticket.opening.head.endpoint].feed(opened.body)
        answer = await ticket.lane.transport.send(self._call(ticket.opening, opened), feed)
        reached("answered")
        pending = self._settle(ticket, opened, answer)
        if pending is not None:
            await self._steps.begin(ticket, opened, pending, 0.0 if isinstance(answer, Failure) else answer.ttfb)

    async def _buy_pack(self, ready: Ready) -> None:
        """Send a pack, asking for vectors in the form that its lane takes."""
        ticket, opened = ready
        asked = opened._replace(body=self._packs.body(opened, floats=ticket.lane.floats))
        sent = None if asked.body == opened.body else sendable(asked.body)
        reached("send")
        answer = await ticket.lane.transport.send(self._call(ticket.opening, asked))
        reached("answered")
        self._settle(ticket, asked, answer, sent)

    async def _buy_composed(self, ready: Ready) -> None:
        """Make what is sent, from the body and the files that it refers to, and send it."""
        ticket, opened = ready
        async with self._attaching.composed(ticket.opening.head.endpoint, opened.body) as sent:
            if isinstance(sent, Failure):
                self._settle(ticket, opened, sent)
                return
            if not self._dispatcher.clear(ticket):  # reading took its time
                self._dispatcher.release(ready)
                return
            reached("send")
            feed = BY_PATH[ticket.opening.head.endpoint].feed(opened.body)
            answer = await ticket.lane.transport.send(self._call(ticket.opening, opened, sent.composed), feed)
        reached("answered")
        self._settle(ticket, opened, answer, sent)

    def _settle(
        self, ticket: Ticket, opened: Opened, answer: HttpReply | Failure, sent: Sendable | None = None
    ) -> Pending | None:
        """Judge and record what came; return what goes on later instead of ending."""
        lane, opening, permit = ticket
        head = opening.head
        outcome = answer if isinstance(answer, Failure) else self._read(lane, head, opened, answer)
        if isinstance(outcome, Reply):
            outcome = self.doubles.refuse(lane.lane.provider, head, outcome) or outcome
        elif isinstance(outcome, Pending):
            lane.gate.settle(permit, Reply(200, b"", None), self._clock.monotonic())
            return outcome
        elif isinstance(answer, HttpReply) and answer.ttft is not None:
            outcome = outcome._replace(partial=answer.body)  # a stream that ended before its answer did
        now, monotonic = self._clock.now(), self._clock.monotonic()
        again: AskAgain | None = None
        if isinstance(outcome, Reply) and self._judging.concerns(opened, outcome):
            outcome, again = self._judging.judge(head.endpoint, opened, outcome, now)
        lane.gate.settle(permit, outcome, monotonic, _hints(lane, answer, outcome, monotonic))
        verdict = again or self._judge(ticket, outcome, now, pack=opened.pack is not None)
        if self._ages is not None:
            verdict = self._ages.judge(opening, outcome, verdict)
        if opened.pack is not None:
            verdict, refused = self._packs.judge(head.job_id, opened.body, outcome, verdict, now)
            lane.floats = lane.floats or refused
        if isinstance(verdict, GiveUp) and opened.answered:
            verdict = FallBack(verdict.kind)
        if isinstance(outcome, Failure) and not (self._keep_partial and isinstance(verdict, GiveUp)):
            outcome = outcome._replace(partial=None)
        closing = close(
            opened.attempt_id,
            opening,
            outcome,
            verdict,
            card=card_of(lane),
            estimate=_estimate(lane, head, outcome, None if sent is None else sent.composed.milliseconds),
            ended=now,
            ttfb=0.0 if isinstance(answer, Failure) else answer.ttfb,
            ttft=None if isinstance(answer, Failure) else answer.ttft,
        )
        self._ledger.record(closing if sent is None else closing._replace(sent=sent.digest))
        return None

    def _read(self, lane: RunLane, head: Head, opened: Opened, answer: HttpReply) -> Outcome | Pending:
        if opened.pack is None:
            return BY_PATH[head.endpoint].read(answer, lane.classify)
        return self._packs.read(head.job_id, opened.pack, opened.body, answer, lane.classify)

    def _call(self, opening: Opening, opened: Opened, composed: Composed | None = None) -> HttpCall:
        head = opening.head
        longest = deadline(head.max_out)
        if composed is not None:
            longest = max(longest, _COMPOSED_SECONDS) + len(composed.body) / _UPLOAD_RATE
        if self._ages is not None:
            longest = self._ages.deadline(longest)
        call = HttpCall(head.endpoint, opened.body, str(opened.attempt_id), longest)
        if composed is None:
            return call
        return call._replace(body=composed.body, content_type=composed.content_type)

    def _judge(self, ticket: Ticket, outcome: Outcome, now: int, *, pack: bool = False) -> Verdict:
        lane, opening, permit = ticket
        head = opening.head
        shared = lane.gate.shared(permit) and not lane.blames(outcome, self._clock.monotonic())
        verdict = self._policy.judge(outcome, head.tries, now, self._dice, attempts=head.attempts, shared=shared)
        if isinstance(verdict, RetryAt) and isinstance(outcome, Failure):
            return self._within_budget(ticket, outcome, verdict, now)
        if not isinstance(verdict, Stop):
            return verdict
        if not lane.gate.evidence(verdict.kind):
            return self._policy.again(head.attempts, now, self._dice)
        if pack and verdict.kind is FailureKind.MISCONFIGURED:
            verdict = verdict._replace(scope=Scope.LANE)  # what packs ask for may be right for another model
        self._stopped(lane, verdict)
        return verdict

    def _within_budget(self, ticket: Ticket, failure: Failure, retry: RetryAt, now: int) -> RetryAt:
        """Put a retry off until the lane's retry budget covers it."""
        wait = (retry.not_before - now) / SECOND
        lane_wait = ticket.lane.gate.retry_wait(ticket.permit, failure.kind, wait, self._clock.monotonic())
        return retry if lane_wait == wait else retry._replace(not_before=now + round(lane_wait * SECOND))


def _hints(lane: RunLane, answer: HttpReply | Failure, outcome: Outcome, monotonic: float) -> LimitHints | None:
    """Read what the headers say of limits: of every failure, and of good answers as often as the gate cares."""
    if isinstance(answer, Failure) or (isinstance(outcome, Reply) and not lane.gate.heeds(monotonic)):
        return None
    return read_limits(answer.headers, answer.received, outcome)


def _estimate(lane: RunLane, head: Head, outcome: Outcome, heard: int | None) -> Usage | None:
    """Estimate the usage of a good answer that came without any, or counts too little; None for every other outcome.

    Where nothing was estimated it is as long as the sound that was sent, in milliseconds, as its own header tells; else
    None: unknown is not zero.
    """
    if isinstance(outcome, Failure) or (outcome.usage is not None and head.units is None):
        return None
    if head.est_in == 0 and head.units is None:
        return None if heard is None else Usage(milliseconds=heard)
    return estimate_usage(outcome, head, BY_PATH[head.endpoint], lane.gate.calibrated_input(head.est_in))
