"""The circuit breaker: an outage costs a few probes a minute and fails no row."""

import math
from collections.abc import Callable
from enum import StrEnum

from batchrunner.core.attempt import FailureKind, Outcome, Reply

THRESHOLD = 10
"""Failures in a row, with no success between, that open the breaker."""
SHARE = 0.5
"""Of the calls of one window whose failing opens it too: a service that answers now and then is not well."""
SHARE_CALLS = 20
"""Calls of which a share says anything."""
SHARE_WINDOW = 30.0
"""Seconds. A window begins with a failure."""
FIRST_OPEN = 5.0
"""Seconds; doubles with each opening until the service is well again."""
LONGEST_OPEN = 16.0
"""Seconds, before the dice add or take a fifth: a service that came back is noticed within 20 s, however long
it was gone."""
PROBES_TO_CLOSE = 2

EVIDENCE_WINDOW = 60.0
"""Seconds within which a second failure of the same kind is evidence, where other failures lie between."""

_OUTAGE = frozenset({FailureKind.CONNECTION, FailureKind.TIMEOUT, FailureKind.SERVER_ERROR, FailureKind.OVERLOADED})
# Refusals by a service that is there: they end an outage, but prove too little of its health to reset the count.
_ANSWERED = frozenset(
    {
        FailureKind.RATE_LIMITED,
        FailureKind.INVALID_REQUEST,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTER,
        FailureKind.RESPONSE_TOO_LARGE,
        FailureKind.AUTH,
        FailureKind.NO_CREDIT,
        FailureKind.MODEL_UNAVAILABLE,
    }
)
_STOPPING = frozenset(
    {FailureKind.AUTH, FailureKind.NO_CREDIT, FailureKind.MODEL_UNAVAILABLE, FailureKind.MISCONFIGURED}
)


class BreakerState(StrEnum):
    """States of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Closed, open for a while, half open for one probe at a time, closed again with room that doubles from 1.

    A call carries the ticket that ``admitted`` returned for it and hands it back once, with its end. It tells a probe,
    and a call of today, from those that were in the air when the breaker opened: they come in late and prove nothing.
    """

    __slots__ = (
        "_dice", "_episode", "_failures", "_limit", "_opened", "_out", "_room", "_successes", "_window_at",
        "_window_failures", "_window_successes", "state", "until",
    )  # fmt: skip

    def __init__(self, limit: int, dice: Callable[[], float]) -> None:
        """``limit`` is the concurrency of ordinary days; ``dice`` returns floats in [0, 1)."""
        self.state = BreakerState.CLOSED
        self.until = -math.inf
        """Monotonic seconds before which no probe goes; it says nothing while the breaker is closed."""
        self._limit = limit
        self._dice = dice
        self._room = limit
        self._episode = 0
        self._out = 0
        self._opened = 0
        self._failures = 0
        self._successes = 0
        self._window_at = -math.inf
        self._window_failures = 0
        self._window_successes = 0

    def allow(self, now: float) -> bool:
        """Whether a call may go. Asking changes nothing."""
        if self.state is BreakerState.CLOSED:
            return self._room == self._limit or self._out < self._room
        return self._out == 0 and now >= self.until

    def admitted(self) -> int:
        """Note a call that ``allow`` let through (the only one for now, where it is a probe); return its ticket."""
        if self.state is not BreakerState.CLOSED:
            self.state = BreakerState.HALF_OPEN
        self._out += 1
        return self._episode

    def resize(self, limit: int) -> None:
        """Set another concurrency of ordinary days; room that is still growing grows on."""
        if self._room == self._limit:
            self._room = limit
        self._limit = limit
        self._room = min(self._room, limit)

    def is_current(self, ticket: int) -> bool:
        """Whether the breaker has not opened since this call was admitted."""
        return ticket == self._episode

    def shared(self, ticket: int) -> bool:
        """Whether a failure of this call, already told to the breaker, is the outage's and not its row's."""
        return self.state is not BreakerState.CLOSED or ticket != self._episode

    def note(self, ticket: int, outcome: Outcome, now: float) -> None:
        """Note how a call ended. In an outage, a refusal shows as well as a reply that the service is back."""
        if isinstance(outcome, Reply):
            self.on_success(ticket)
        elif outcome.kind in _OUTAGE:
            self.on_failure(ticket, now)
        elif outcome.kind in _ANSWERED and self.state is not BreakerState.CLOSED:
            self.on_success(ticket)
        else:
            self.on_other(ticket)

    def on_success(self, ticket: int) -> None:
        """Note a call that the service answered well."""
        if not self._ended(ticket):
            return
        if self.state is BreakerState.CLOSED:
            self._failures = 0
            self._window_successes += 1
            if self._room < self._limit:
                self._resume(self._room + 1)  # one more for each answer doubles it each round
        else:
            self._successes += 1
            if self._successes == PROBES_TO_CLOSE:
                self.state = BreakerState.CLOSED
                self._failures = 0
                self._resume(1)

    def on_failure(self, ticket: int, now: float) -> None:
        """Note a call that failed as calls fail in an outage."""
        if not self._ended(ticket):
            return
        if self.state is BreakerState.CLOSED:
            self._failures += 1
            if not self._is_share_high(now) and self._failures < THRESHOLD:
                return
        self._open(now)

    def on_other(self, ticket: int) -> None:
        """Note an end that tells nothing of the service's health: after a probe that ended so, the next may go."""
        self._ended(ticket)

    def _ended(self, ticket: int) -> bool:
        """Take a call of this episode off the count; False for one from before the last opening."""
        if ticket != self._episode:
            return False
        self._out -= 1
        return True

    def _is_share_high(self, now: float) -> bool:
        """Count a failure; return whether too many of its window's calls have failed."""
        if now - self._window_at >= SHARE_WINDOW:
            self._window_at, self._window_failures, self._window_successes = now, 0, 0
        self._window_failures += 1
        calls = self._window_failures + self._window_successes
        return calls >= SHARE_CALLS and self._window_failures >= SHARE * calls

    def _resume(self, room: int) -> None:
        self._room = room
        if room == self._limit:
            self._opened = 0

    def _open(self, now: float) -> None:
        seconds = min(LONGEST_OPEN, FIRST_OPEN * 2 ** min(self._opened, 10))
        self.until = now + seconds * (0.8 + 0.4 * self._dice())
        self.state = BreakerState.OPEN
        self._episode += 1
        self._out = 0
        self._window_at = -math.inf
        self._opened += 1
        self._successes = 0


class Evidence:
    """Tells a revoked key, empty credit or a model that is gone from a single glitch at the provider's edge."""

    __slots__ = ("_last", "_previous", "_proven")

    def __init__(self) -> None:
        self._last: dict[FailureKind, float] = {}
        self._previous: FailureKind | None = None
        self._proven: set[FailureKind] = set()

    def note(self, outcome: Outcome, now: float) -> None:
        """Note how a call ended; an answer takes back all suspicion."""
        if isinstance(outcome, Reply):
            if self._previous is not None:
                self._previous = None
                self._last.clear()
                self._proven.clear()
            return
        kind = outcome.kind
        if kind in _STOPPING:
            last = self._last.get(kind)
            if last is not None and (now - last <= EVIDENCE_WINDOW or self._previous is kind):
                self._proven.add(kind)
            self._last[kind] = now
        self._previous = kind

    def holds(self, kind: FailureKind) -> bool:
        """Whether this kind came twice without an answer between: within 60 s, or with nothing else between."""
        return kind in self._proven
