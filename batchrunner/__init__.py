"""Batch jobs for LLM endpoints: a durable queue of rows, limits that are kept, and the bill.

Importing this package is cheap: what is behind its names is imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchrunner.api.estimate import Estimate
    from batchrunner.api.queue import BlockingQueue, Queue, open, open_blocking
    from batchrunner.api.values import JobStatus, Result
    from batchrunner.core.errors import (
        BatchrunnerError,
        ConfigurationError,
        DatabaseError,
        DatabaseHeldError,
        InputError,
    )
    from batchrunner.core.job import Job
    from batchrunner.runner.report import RunReport

    __version__: str

_HOMES = {
    "BatchrunnerError": "batchrunner.core.errors",
    "BlockingQueue": "batchrunner.api.queue",
    "ConfigurationError": "batchrunner.core.errors",
    "DatabaseError": "batchrunner.core.errors",
    "DatabaseHeldError": "batchrunner.core.errors",
    "Estimate": "batchrunner.api.estimate",
    "InputError": "batchrunner.core.errors",
    "Job": "batchrunner.core.job",
    "JobStatus": "batchrunner.api.values",
    "Queue": "batchrunner.api.queue",
    "Result": "batchrunner.api.values",
    "RunReport": "batchrunner.runner.report",
    "open": "batchrunner.api.queue",
    "open_blocking": "batchrunner.api.queue",
}

__all__ = [
    "BatchrunnerError",
    "BlockingQueue",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseHeldError",
    "Estimate",
    "InputError",
    "Job",
    "JobStatus",
    "Queue",
    "Result",
    "RunReport",
    "open",
    "open_blocking",
]


def __getattr__(name: str) -> Any:
    """Import what is behind a name."""
    if name == "__version__":
        from importlib.metadata import version

        return version("batchrunner")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
