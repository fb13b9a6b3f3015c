"""The retry budget: a brown-out must not become a storm because everybody asks twice."""

SHARE = 0.1
"""Retries that one call earns: the load grows by a ninth at most, instead of by as many times as a row has tries."""
FLOOR = 1.0
"""Retries per second that are always allowed."""
MOST = 100.0
"""Retries that can be saved up."""
_AT_START = 10.0
_LONGEST = 900.0
"""Seconds that a row waits for the budget at most."""
_MEMORY = 5.0
"""Seconds over which the pace of calls is taken."""


class RetryBudget:
    """A bucket of retries, filled by calls (the SRE book's chapter on overload; Finagle's and Envoy's budgets).

    A retry that finds it empty waits until it will have been earned; it never fails for that. Monotonic seconds.
    """

    __slots__ = ("_at", "_calls", "_income", "_level", "_mark", "_mark_calls")

    def __init__(self, now: float) -> None:
        self._level = _AT_START
        self._calls = 0.0
        self._at = now
        self._mark = now
        self._mark_calls = 0.0
        self._income = FLOOR

    def take(self, calls: float, now: float) -> float:
        """Take one retry; return the seconds until it is covered. ``calls`` is how many were ever made."""
        earned = SHARE * (calls - self._calls) + FLOOR * max(0.0, now - self._at)
        self._calls, self._at = calls, now
        self._level = max(min(MOST, self._level + earned) - 1.0, -_LONGEST * self._income)
        if now - self._mark >= _MEMORY:
            self._income = FLOOR + SHARE * (calls - self._mark_calls) / (now - self._mark)
            self._mark, self._mark_calls = now, calls
        return min(_LONGEST, -self._level / self._income) if self._level < 0 else 0.0
