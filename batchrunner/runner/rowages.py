"""``--row-timeout``: the age of a row over all its attempts."""

from batchrunner.core.attempt import Outcome, Reply
from batchrunner.core.clock import SECOND
from batchrunner.core.request import Opening
from batchrunner.core.retry import GiveUp, RetryAt, Verdict


class RowAges:
    """Gives up a row that keeps failing by itself past its time, and lets no call go on for longer than that.

    A retry that could not begin in time is not made. One that began late, as others were before it, is not cut short
    (it would be paid for nothing), and is the last. The age counts from the row's first attempt of this run that failed
    by the row's own doing; limits, outages and pauses, which rows share, age none. Only such rows are remembered.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: dict[int, int] = {}

    def deadline(self, longest: float) -> float:
        """Return the seconds that a call may take of the ``longest`` that its size allows."""
        return min(longest, self._seconds)

    def judge(self, opening: Opening, outcome: Outcome, verdict: Verdict) -> Verdict:
        """Return the verdict, or GiveUp where the row could not be tried again in its time."""
        request_id = opening.head.id
        if not isinstance(verdict, RetryAt):
            self._first.pop(request_id, None)
            return verdict
        if not verdict.counts or isinstance(outcome, Reply):
            return verdict
        first = self._first.setdefault(request_id, opening.opened)
        if verdict.not_before - first < self._seconds * SECOND:
            return verdict
        del self._first[request_id]
        return GiveUp(outcome.kind)
