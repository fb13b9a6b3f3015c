"""Which batchrunner this is."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

UNKNOWN: Final = "unknown"


def program_version() -> str:
    """Return the version of this program; ``unknown`` in a checkout that was never installed."""
    try:
        return version("batchrunner")
    except PackageNotFoundError:
        return UNKNOWN
