"""One task watches all deadlines, and lets go of what has ended."""

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.transport.deadlines import Deadlines

SECONDS = st.floats(0.0, 1000.0).map(lambda number: round(number, 3))


@pytest.mark.usefixtures("virtual_time")
async def test_what_is_forgotten_is_never_cancelled_and_wakes_nobody():
    deadlines = Deadlines()
    async with anyio.create_task_group() as group:
        await group.start(deadlines.sweep)
        ended, running = anyio.CancelScope(), anyio.CancelScope()
        deadlines.watch(ended, 10.0)
        deadlines.watch(running, 20.0)
        deadlines.forget(ended)
        deadlines.forget(ended)
        await anyio.sleep(30.0)
        assert (ended.cancel_called, running.cancel_called) == (False, True)
        group.cancel_scope.cancel()


@pytest.mark.slow
@given(calls=st.lists(st.tuples(SECONDS, SECONDS, SECONDS), max_size=20))
def test_every_call_ends_with_its_work_or_at_its_deadline_whichever_is_first(calls):
    ends = []

    async def one(deadlines, start, seconds, deadline):
        await anyio.sleep_until(start)
        scope = anyio.CancelScope()
        deadlines.watch(scope, start + deadline)
        with scope:
            await anyio.sleep(seconds)
        deadlines.forget(scope)
        ends.append((start, seconds, deadline, round(trio.current_time(), 3)))

    async def all_of_them():
        deadlines = Deadlines()
        async with anyio.create_task_group() as outer:
            await outer.start(deadlines.sweep)
            async with anyio.create_task_group() as group:
                for call in calls:
                    group.start_soon(one, deadlines, *call)
            outer.cancel_scope.cancel()

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(all_of_them, backend="trio", backend_options={"clock": clock})
    assert sorted(call[:3] for call in ends) == sorted(calls)
    for start, seconds, deadline, end in ends:
        assert end == pytest.approx(start + min(seconds, deadline), abs=2e-3)
