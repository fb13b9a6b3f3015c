"""The pauses of a run: which lanes are closed and why, when each is probed, and when it opens or is given up."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.clock import SECOND, Clock
from batchrunner.core.pauses import OUTAGE_SHOWS, Patience, probe_interval, quota_wait
from batchrunner.core.request import Closing, Continued
from batchrunner.core.retry import Scope, Stop
from batchrunner.runner.lanes import Probe, RunLane
from batchrunner.runner.report import Halt

_SHARED_WINDOW = 2.5
"""Seconds for which a dead host's other lanes are kept back; renewed at every tick while it is dead."""
_ANSWERED = frozenset(
    {
        FailureKind.INVALID_REQUEST,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTER,
        FailureKind.RESPONSE_TOO_LARGE,
    }
)
"""Refusals of a row by a provider that would serve others."""


@dataclass(slots=True, kw_only=True)
class _Pause:
    """One pause that has not ended: what people see of it, and what is done about it."""

    place: int
    """Where its halt is among the run's."""
    lanes: list[RunLane]
    began: float
    """Monotonic seconds."""
    probe_at: float
    """Monotonic seconds; infinite where it is not probed by us: it is given up, or the breaker does it."""
    outage: bool = False


class Halts:
    """Closes lanes by verdict, quota or outage; probes with one real row; opens them again.

    While a pause is waited for, one lane of it gets its gate open for a single row at growing intervals. A pause that
    is not waited for, or not any longer, keeps its lanes closed for the rest of the run. ``changed`` is called with a
    pause that began, was given up, or ended.
    """

    def __init__(
        self,
        lanes: Sequence[RunLane],
        patience: Patience,
        clock: Clock,
        *,
        wake: Callable[[], None],
        changed: Callable[[Halt], None],
    ) -> None:
        self.halts: list[Halt] = []
        """Every pause of the run, in order."""
        self.end = math.inf
        """Monotonic seconds at which the run ends anyway: nothing is waited for beyond."""
        self._lanes = lanes
        self._by_id = {lane.lane.id: lane for lane in lanes}
        self._patience = patience
        self._clock = clock
        self._wake = wake
        self._changed = changed
        self._pauses: list[_Pause] = []
        self._kept_back: dict[int, float] = {}
        """When a lane was last kept back for its host, by lane: before that, its outage says nothing."""

    def join(self, lane: RunLane) -> None:
        """Watch one more lane, which is in the list of the lanes already."""
        self._by_id[lane.lane.id] = lane

    def stop(self, lane: RunLane, stop: Stop) -> None:
        """Close the lanes that a Stop verdict names; what is queued behind them stays queued."""
        pause = self._pause_of(lane)
        if pause is None or pause.outage:
            self._begin(lane, stop.scope, stop.kind, stop.message, first=probe_interval(0))
        elif lane.probe is Probe.OUT:
            self._unchanged(pause, lane)

    def committed(self, closings: Sequence[Closing]) -> None:
        """Note what is on the disk: refusals that mean a quota of the day, and the ends of probes."""
        for closing in closings:
            if type(closing.outcome) is Failure and closing.outcome.kind is FailureKind.RATE_LIMITED:
                self._limited(self._by_id[closing.opening.head.lane_id], closing.outcome)
        for pause in list(self._pauses):
            self._note_probe(pause, closings)

    def continued(self, continued: Sequence[Continued]) -> None:
        """Note the ends of probes whose attempts go on: the provider answered, unless the step was missed."""
        for pause in list(self._pauses):
            lane = next((lane for lane in pause.lanes if lane.probe is Probe.OUT), None)
            one = next((each for each in continued if lane and each.opening is lane.probing), None)
            if lane is not None and one is not None:
                if one.continuation.misses:
                    self._unchanged(pause, lane)
                else:
                    self._end(pause)

    def tick(self) -> None:
        """Do what is due, about once a second: probes, outages that last, patience that ends."""
        now = self._clock.monotonic()
        self._watch_outages(now)
        for pause in list(self._pauses):
            if self.halts[pause.place].waits:
                self._look_after(pause, now)

    @property
    def next_probe(self) -> float:
        """Monotonic time of the next probe; infinite where none is due by itself."""
        return min((pause.probe_at for pause in self._pauses), default=math.inf)

    def probe_times(self) -> Iterator[tuple[Halt, float | None]]:
        """Yield the pauses that have not ended, with the seconds to their next probe (None: none, or now)."""
        now = self._clock.monotonic()
        for pause in self._pauses:
            seconds = pause.probe_at - now
            yield self.halts[pause.place], seconds if 0 < seconds < math.inf else None

    # --------------------------------------------------------------------------------------------------------- probing

    def _look_after(self, pause: _Pause, now: float) -> None:
        limit = self._patience.give_up_after
        if limit is not None and now - pause.began >= limit:
            self._give_up(pause)
        elif now >= pause.probe_at and not pause.outage and all(lane.probe is Probe.NONE for lane in pause.lanes):
            self._probe(pause)

    def _probe(self, pause: _Pause) -> None:
        """Open one lane of the pause for one row, if there is a row."""
        lane = next((lane for lane in pause.lanes if not lane.finished and not lane.gate.admitted), None)
        if lane is not None:
            lane.probe = Probe.DUE
            lane.gate.reopen()
            self._wake()

    def _note_probe(self, pause: _Pause, closings: Sequence[Closing]) -> None:
        lane = next((lane for lane in pause.lanes if lane.probe is Probe.OUT), None)
        closing = next((each for each in closings if lane and each.opening is lane.probing), None)
        if lane is None or closing is None:
            return
        outcome = closing.outcome
        if type(outcome) is Reply or (isinstance(outcome, Failure) and outcome.kind in _ANSWERED):
            self._end(pause)
        else:
            self._unchanged(pause, lane)

    def _unchanged(self, pause: _Pause, lane: RunLane) -> None:
        """Close the lane again after a probe that found the cause where it was, or found nothing out."""
        halt = self.halts[pause.place]
        lane.probe = Probe.NONE
        lane.gate.stop(halt.kind, halt.message)
        self.halts[pause.place] = replace(halt, probes=halt.probes + 1)
        pause.probe_at = self._clock.monotonic() + probe_interval(halt.probes + 1)
        if pause.probe_at > self.end:
            self._give_up(pause)

    # ---------------------------------------------------------------------------------------------- beginning and end

    def _begin(self, lane: RunLane, scope: Scope, kind: FailureKind, message: str, *, first: float) -> None:
        provider, now = lane.lane.provider, self._clock.monotonic()
        lanes = self._of(provider) if scope is Scope.PROVIDER else [lane]
        waits = self._patience.waits(kind) and now + first < self.end
        ref = provider if scope is Scope.PROVIDER else f"{provider} {lane.lane.model}"
        halt = Halt(scope=scope, ref=ref, kind=kind, message=message, since=self._clock.now(), waits=waits)
        for pause in list(self._pauses):  # a narrower one, or an outage: this says more
            if pause.lanes[0] in lanes:
                self._end(pause, because="another")
            pause.lanes = [other for other in pause.lanes if other not in lanes]
        self.halts.append(halt)
        pause = _Pause(place=len(self.halts) - 1, lanes=lanes, began=now, probe_at=now + first if waits else math.inf)
        self._pauses.append(pause)
        self._close(pause, halt)
        self._changed(halt)

    def _close(self, pause: _Pause, halt: Halt) -> None:
        for lane in pause.lanes:
            lane.probe = Probe.NONE
            lane.waits = halt.waits
            lane.gate.stop(halt.kind, halt.message)
        self._wake()

    def _end(self, pause: _Pause, *, because: str = "gone") -> None:
        """Open the lanes of a pause whose cause is gone."""
        self._pauses.remove(pause)
        halt = self.halts[pause.place] = replace(self.halts[pause.place], ended=self._clock.now())
        for lane in pause.lanes:
            lane.probe = Probe.NONE
            lane.waits = False
            lane.gate.reopen()
        if because == "gone":
            self._changed(halt)
        self._wake()

    def _give_up(self, pause: _Pause) -> None:
        """Wait no longer: what is queued behind these lanes stays queued for the next run."""
        halt = self.halts[pause.place] = replace(self.halts[pause.place], waits=False, gave_up=True)
        pause.probe_at = math.inf
        self._close(pause, halt)
        self._changed(halt)

    # -------------------------------------------------------------------------------------------- quotas and outages

    def _limited(self, lane: RunLane, failure: Failure) -> None:
        wait = quota_wait(failure)
        if wait is not None and self._pause_of(lane) is None:
            self._begin(lane, Scope.LANE, FailureKind.RATE_LIMITED, failure.message, first=wait)

    def _watch_outages(self, now: float) -> None:
        for lane in self._lanes:
            since, pause = self._outage_since(lane), self._pause_of(lane)
            if pause is None:
                if since is not None and not lane.finished and now - since >= self._shows_after:
                    self._outage(lane, since)
            elif pause.outage and since is None and lane is pause.lanes[0] and self.halts[pause.place].waits:
                self._end(pause)
        for provider in {lane.lane.provider for lane in self._lanes}:
            self._share_dead_host(provider, now)

    def _outage_since(self, lane: RunLane) -> float | None:
        since = lane.gate.outage_since
        return None if since is None else max(since, self._kept_back.get(lane.lane.id, since))

    @property
    def _shows_after(self) -> float:
        return min(OUTAGE_SHOWS, self._patience.give_up_after or OUTAGE_SHOWS)

    def _outage(self, lane: RunLane, since: float) -> None:
        """Make an outage that lasts a pause. Its breaker probes, and ends it; here it is told, and given up in time."""
        last = lane.failure or Failure(FailureKind.SERVER_ERROR, "no answer", Billing.UNKNOWN)
        dead = _unreached(last)
        provider, age = lane.lane.provider, self._clock.monotonic() - since
        halt = Halt(
            scope=Scope.PROVIDER if dead else Scope.LANE,
            ref=provider if dead else f"{provider} {lane.lane.model}",
            kind=last.kind,
            message=last.message,
            since=self._clock.now() - round(age * SECOND),
            waits=self._patience.waits(last.kind),
        )
        others = [other for other in self._of(provider) if other is not lane and self._pause_of(other) is None]
        lanes = [lane, *others] if dead else [lane]
        self.halts.append(halt)
        pause = _Pause(place=len(self.halts) - 1, lanes=lanes, began=since, probe_at=math.inf, outage=True)
        self._pauses.append(pause)
        if halt.waits:
            self._changed(halt)
        else:
            self._give_up(pause)

    def _share_dead_host(self, provider: str, now: float) -> None:
        """Let one lane probe a host that no connection reaches; its other lanes learn the end from that one."""
        lanes = [lane for lane in self._of(provider) if lane.gate.stopped is None and not lane.finished]
        dead = next((lane for lane in lanes if _is_dead(lane)), None)
        for lane in lanes:
            if dead is not None and lane is not dead:
                lane.gate.pause(now + _SHARED_WINDOW)
                self._kept_back[lane.lane.id] = now

    def _of(self, provider: str) -> list[RunLane]:
        return [lane for lane in self._lanes if lane.lane.provider == provider]

    def _pause_of(self, lane: RunLane) -> _Pause | None:
        return next((pause for pause in self._pauses if lane in pause.lanes), None)


def _is_dead(lane: RunLane) -> bool:
    """Whether no connection to its host can be made."""
    return lane.gate.outage_since is not None and lane.failure is not None and _unreached(lane.failure)


def _unreached(failure: Failure) -> bool:
    """Whether no connection was made at all."""
    never_sent = failure.billing is Billing.NOT_BILLED
    return never_sent and failure.kind in (FailureKind.CONNECTION, FailureKind.TIMEOUT)
