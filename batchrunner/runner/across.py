"""The loader's side of the store, for a thread that must not touch the database itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

from batchrunner.store.base import Loading


class Across:
    """``Loading`` for another thread: each call is done where the run's own calls are done, and never beside one."""

    def __init__(self, store: Loading, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._store = store
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        return lambda *given, **named: self._call(partial(method, *given, **named))
