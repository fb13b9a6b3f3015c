"""Where the store's synchronous calls run: in one thread of our own, or inline under a virtual clock.

One thread, always the same: SQLite's connection lives there, and ``anyio.to_thread`` promises no particular thread. A
thread is invisible to a clock that jumps, so virtual-time tests run the same calls inline.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs a blocking call somewhere and brings back what it returns or raises."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run the call; calls never overlap, and end in the order in which they began."""
        ...

    def close(self) -> None:
        """Wait for the last call and give the thread back."""
        ...


class ThreadOffload:
    """A thread of its own: the database's, or the files'. Needs asyncio, which the house runs on outside of tests."""

    def __init__(self, name: str = "batchrunner-db") -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, call: Callable[[], T]) -> T:
        """Run the call in this thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Wait for the last call and end the thread."""
        self._executor.shutdown(wait=True)


class InlineOffload:
    """Runs the call where it is asked for: time stands still meanwhile."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run the call at once."""
        return call()

    def close(self) -> None:
        """Nothing to give back."""
