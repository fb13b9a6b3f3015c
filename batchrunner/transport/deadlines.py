"""The deadlines of all calls in flight, watched by one task."""

import math

import anyio
from anyio.abc import TaskStatus


class Deadlines:
    """Cancels the scopes of calls whose time is up.

    One task sleeps until the earliest deadline, which costs a call a tenth of what a timer of its own would. With no
    call in flight it does not wake at all. It cancels scopes, never tasks: a worker outlives its call.
    """

    def __init__(self) -> None:
        self._ends: dict[anyio.CancelScope, float] = {}
        self._nap: anyio.CancelScope | None = None

    def watch(self, scope: anyio.CancelScope, end: float) -> None:
        """Cancel ``scope`` at ``end`` (on ``anyio.current_time``) unless it is forgotten before.

        Raises RuntimeError when nobody sweeps: a call without a deadline could hang for ever.
        """
        nap = self._nap
        if nap is None:
            raise RuntimeError("deadlines are not watched: enter the transport with `async with` before sending")
        self._ends[scope] = end
        if end < nap.deadline:  # noqa: PLR1730 - setting a deadline costs a timer, so not by min()
            nap.deadline = end

    def forget(self, scope: anyio.CancelScope) -> None:
        """End the watch over a scope."""
        self._ends.pop(scope, None)

    def end_all(self) -> None:
        """Cancel every scope that is watched, now."""
        for scope in list(self._ends):
            scope.cancel()

    async def sweep(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled."""
        try:
            task_status.started()
            while True:
                with anyio.CancelScope(deadline=min(self._ends.values(), default=math.inf)) as self._nap:
                    await anyio.sleep_forever()
                self._cancel_the_late()
        finally:
            self._nap = None

    def _cancel_the_late(self) -> None:
        now = anyio.current_time()
        for scope, end in list(self._ends.items()):
            if end <= now:
                del self._ends[scope]
                scope.cancel()
