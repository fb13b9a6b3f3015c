"""pyarrow, which is an extra: imported when Parquet is read or written, and asked for by name where it is missing."""

from importlib import import_module
from types import ModuleType

from batchrunner.core.errors import ConfigurationError


class MissingDataExtraError(ConfigurationError):
    """The package that reads and writes Parquet is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Parquet needs the package pyarrow, which is not installed", hint="pip install 'batchrunner[data]'"
        )


def pyarrow() -> ModuleType:
    """Return pyarrow. Raises MissingDataExtraError."""
    return _imported("pyarrow")


def parquet() -> ModuleType:
    """Return pyarrow's Parquet module. Raises MissingDataExtraError."""
    return _imported("pyarrow.parquet")


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise MissingDataExtraError from None
