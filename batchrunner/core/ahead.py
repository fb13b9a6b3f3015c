"""How many attempts to open before there is room for their calls."""

SLACK = 64
"""The most: by as many may the open attempts on the disk exceed the concurrency, and a crash make repeated calls."""
COMMITS = 3
"""An opening waits for the commit that runs, then for its own; the third is for calls that land in waves."""
WINDOW = 0.5
"""Seconds over which landings are counted: calls of one length land in waves, and a single wave is no pace."""
_WEIGHT = 1 / 8
"""Of the newest commit in the length of a usual one."""


class Ahead:
    """As many as land while three commits run: Little's law, for the line at the disk.

    At the pace of short calls that keeps every place in the air taken; at the pace of language models it is none, so
    that a crash leaves nothing open that was not sent. All times are monotonic seconds.
    """

    __slots__ = ("_began", "_commit", "_landings", "_pace", "now_allowed")

    def __init__(self) -> None:
        self.now_allowed = 0
        """How many."""
        self._landings = 0
        self._began: float | None = None
        self._pace = 0.0
        self._commit = 0.0

    def landed(self) -> None:
        """Note that a call has landed."""
        self._landings += 1

    def committed(self, seconds: float, now: float) -> None:
        """Note that a commit has ended, which took ``seconds``."""
        self._commit += (seconds - self._commit) * _WEIGHT
        began = self._began
        if began is None:
            self._began, self._landings = now, 0
        elif now - began >= WINDOW:
            self._pace = self._landings / (now - began)
            self._began, self._landings = now, 0
        self.now_allowed = min(SLACK, int(COMMITS * self._pace * self._commit))
