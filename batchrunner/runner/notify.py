"""Telling a person: a small JSON at every pause and at the end. It may fail; the run never fails with it."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import anyio
import msgspec

SCHEMA = "batchrunner.notice/1"
WAITING = 20
"""Notices that wait to be told at most; of more, the oldest go."""
LAST_SECONDS = 45.0
"""Seconds that what is still to be told may take once the run has ended."""


class Notifier(Protocol):
    """Tells one notice: a command, or an address on the web."""

    async def tell(self, notice: bytes) -> str | None:
        """Hand over a JSON object; return what went wrong in words for people, None for nothing. Raises nothing.

        Ends by itself within half a minute. Gets no key, and shows none.
        """
        ...


class Bell:
    """Tells notices one after the other beside the run, and remembers what went wrong."""

    def __init__(self, notifier: Notifier | None) -> None:
        self.problems: list[str] = []
        """What went wrong, each said once."""
        self._notifier = notifier
        self._notices: deque[bytes] = deque(maxlen=WAITING)
        self._wake = anyio.Event()

    def ring(self, event: str, facts: Mapping[str, Any]) -> None:
        """Have something told: ``paused``, ``resumed`` or ``ended``, and the facts of it."""
        if self._notifier is None:
            return
        self._notices.append(msgspec.json.encode({"schema": SCHEMA, "event": event, **facts}))
        self._wake.set()

    async def run(self) -> None:
        """Tell what comes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            await self._tell_all()

    async def finish(self) -> None:
        """Tell what is left, within ``LAST_SECONDS``."""
        with anyio.move_on_after(LAST_SECONDS) as scope:
            await self._tell_all()
        if scope.cancelled_caught:
            self._note("not everything could be told in time")

    async def _tell_all(self) -> None:
        while self._notices and self._notifier is not None:
            notice = self._notices[0]
            problem = await self._notifier.tell(notice)
            if self._notices and self._notices[0] is notice:
                self._notices.popleft()  # only now: what is cut off by the end of the run is told again after it
            if problem is not None:
                self._note(problem)

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
