"""The interpreter, tuned while rows go through it."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread gives way: with the default of 5 ms the database thread starves beside a busy loop."""
COLLECT_AFTER = 20_000
"""New objects after which the collector looks for cycles; the interpreter's 700 are a few rows of a run."""

COLLECT_LOADING = 1_000_000
"""The same while a corpus is loaded: a chunk of it is a hundred thousand new objects, and none of them in a cycle."""


@contextmanager
def tuned(collect_after: int = COLLECT_AFTER) -> Iterator[None]:
    """Threads give way sooner, and the collector looks less often: rows make few cycles, and each look costs.

    Measured with ``bench/whole_job.py`` and ``bench/load_export.py``: a sixth of the CPU of a row of a run, and a fifth
    more rows loaded a second.
    """
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # what is there already is not looked at again
    gc.set_threshold(collect_after, *thresholds[1:])
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
