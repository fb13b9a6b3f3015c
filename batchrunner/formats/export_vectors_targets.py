"""Files of vectors that may be replaced: those that their job wrote, and those with nothing in them to lose."""

from collections.abc import Callable, Iterable
from pathlib import Path

from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.replace import is_regular


def check_files(paths: Iterable[Path], is_ours: Callable[[Path], bool], *, force: bool) -> None:
    """Raise ConfigurationError where one of these files is somebody else's, unless ``force`` says that it may go.

    What is not a regular file (a link, a folder, a pipe) is never replaced.
    """
    for path in paths:
        if not path.parent.is_dir():
            raise ConfigurationError(f"there is no folder {path.parent}", hint="make it, or export somewhere else")
        regular = is_regular(path)
        if regular is False:
            raise ConfigurationError(f"{path} is not a regular file", hint="export to another path, or remove it")
        if regular and not force and path.stat().st_size and not is_ours(path):
            raise ConfigurationError(
                f"{path} exists, and was not written from this job", hint="export to another path, or add --force"
            )
