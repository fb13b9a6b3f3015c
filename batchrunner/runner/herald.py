"""Says what holds a run up, or soon will: to readers of the database, and to whoever is notified."""

from collections.abc import Callable

from batchrunner.runner.heartbeat import Heartbeat
from batchrunner.runner.notices import budget_facts, event_of, pause_facts
from batchrunner.runner.notify import Bell
from batchrunner.runner.report import Halt


class Herald:
    """``left`` says how many rows of the run have no outcome yet."""

    def __init__(self, heartbeat: Heartbeat, bell: Bell, left: Callable[[], int]) -> None:
        self._heartbeat = heartbeat
        self._bell = bell
        self._left = left

    def pause(self, halt: Halt) -> None:
        """Have a pause that began, was given up or ended written down, and told."""
        self._heartbeat.changed(halt)
        self._bell.ring(event_of(halt), pause_facts(halt, left=self._left()))

    def budget(self, job_id: int, message: str | None) -> None:
        """Have it written down, and told, that a budget holds a job back, or with None that the job goes on."""
        self._heartbeat.held(job_id, message)
        facts = budget_facts(job_id, message, left=self._left())
        self._bell.ring("resumed" if message is None else "paused", facts)

    def warning(self, text: str) -> None:
        """Have it told that a budget is nearly used up, or can't be relied on."""
        self._bell.ring("budget", {"message": text, "rows_left": self._left()})
