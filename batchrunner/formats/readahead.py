"""Reading ahead: the database is read in one thread while what came before is written by another."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items, each of which was being made while the one before was in use. Raises what ``items`` raises.

    They are made in one thread of its own from the first to the last, so that at most two are held at a time.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batchrunner-read") as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item
