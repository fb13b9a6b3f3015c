"""How many calls of a lane may be in the air, learned: additive increase, multiplicative decrease, slow start."""

import math

SLOW_START = 8
"""Calls in the air at the start of a lane that nothing is known of."""
BACKOFF = 0.8
"""What a refusal leaves of the limit."""
STEP = 0.05
"""Growth per round once slow start is over, one call at least."""
SATURATED = 0.8
"""Of the limit that must have been in the air during a round: who does not use the limit learns nothing about it."""
COOLDOWN = 15.0
"""Seconds after a cut in which answers do not count, and no second cut is made."""
_SPARE = 1.5
"""Of the calls that a paced lane keeps in the air: room for slower answers, since its rate does the braking."""
_WEIGHT = 0.05
"""Of the newest answer in the usual length of a call."""


class Concurrency:
    """The limit that answers let grow and refusals cut.

    A round is as many good answers as the limit allows calls. A saturated round doubles the limit until the first
    refusal, and adds a twentieth from then on (the rule of inspect_ai's adaptive controller and Netflix' AIMD limiter).
    Calls that were admitted before a cut belong to its episode and cut no more. All times are monotonic seconds.
    """

    __slots__ = ("_before", "_clean", "_cut_at", "_peak", "_quiet_until", "_seconds", "_slow", "ceiling", "limit")

    def __init__(self, ceiling: int, learned: float = 0.0) -> None:
        """``ceiling`` is the most there may ever be; ``learned`` the limit of an earlier run, of which half is kept."""
        self.ceiling = ceiling
        self.limit = min(ceiling, max(SLOW_START, int(min(learned, 2.0 * ceiling) / 2)))
        self._slow = True
        self._before: tuple[int, bool] | None = None
        self._clean = 0
        self._peak = 0
        self._cut_at = -math.inf
        self._quiet_until = -math.inf
        self._seconds = 0.0

    def answered(self, air: int, seconds: float, now: float) -> None:
        """Note a good answer that took ``seconds``; ``air`` calls were in the air when it came, itself included."""
        self._seconds += (seconds - self._seconds) * (_WEIGHT if self._seconds else 1.0)
        if now < self._quiet_until:
            return
        self._clean += 1
        if air > self._peak:  # noqa: PLR1730 - once a call: a third of what max costs
            self._peak = air
        if self._clean >= self.limit:
            if self._peak >= SATURATED * self.limit:
                more = self.limit if self._slow else max(1, math.ceil(STEP * self.limit))
                self.limit = min(self.ceiling, self.limit + more)
                self._before = None
            self._clean = self._peak = 0

    def troubled(self) -> None:
        """Note a failure that is no fault of the limit, a server error or overload: the round begins anew."""
        self._clean = self._peak = 0

    def refused(self, at: float, now: float, *, per_second: float, paced: bool, pause: float = 0.0) -> None:
        """Note a refusal of a call that was admitted ``at``; one episode makes one cut.

        The cut goes to what the ``per_second`` calls that were accepted lately keep in the air (Little's law), to half
        at the most; where nothing is known of them, and where the lane is ``paced`` by a learned rate, which brakes
        better, by a fifth. ``pause`` is the wait in seconds that the provider asked for.
        """
        if not self._begins_episode(at, now, pause):
            return
        self._before = self._before or (self.limit, self._slow)
        carried = math.ceil(per_second * self._seconds)
        fifth = int(BACKOFF * self.limit)
        if paced:
            cut = max(fifth, math.ceil(_SPARE * carried) + 1)
        else:
            cut = max(min(fifth, carried), self.limit // 2) if carried else fifth
        self._cut(cut, now)

    def timed_out(self, at: float, now: float) -> None:
        """Note that a call which was admitted ``at`` was given up; cuts by a fifth, once for an episode."""
        if self._begins_episode(at, now, 0.0):
            self._before = None
            self._cut(int(BACKOFF * self.limit), now)

    def strayed(self, now: float) -> None:
        """Note that the refusals so far have nothing to do with us: what they cut since the last growth comes back."""
        if self._before is not None:
            (limit, self._slow), self._before = self._before, None
            self.limit = max(self.limit, limit)
            self._quiet_until = now

    def _begins_episode(self, at: float, now: float, pause: float) -> bool:
        self.troubled()
        self._quiet_until = max(self._quiet_until, now + max(COOLDOWN, pause))
        return at > self._cut_at and now >= self._cut_at + COOLDOWN

    def _cut(self, limit: int, now: float) -> None:
        self._slow, self._cut_at = False, now
        self.limit = max(1, min(self.limit, limit))
