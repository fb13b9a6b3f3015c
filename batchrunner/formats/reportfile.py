"""A report as a file: whole or not there, and never in the place of what somebody else wrote."""

import sys
from pathlib import Path

from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.replace import Replacement, begins_and_ends, disk_error, is_regular, sweep
from batchrunner.formats.report import END, HEAD

STDOUT = "-"
SUFFIXES = (".html", ".htm")


def check_target(out: str, *, force: bool = False) -> None:
    """Raise ConfigurationError where a report may not be written: ask before it is made.

    Another report is replaced, any other regular file only with ``force``, and what is not a regular file never.
    """
    if out == STDOUT:
        return
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"{out}: a report is an HTML file", hint="call it report.html, or - for stdout")
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}", hint="make it, or write somewhere else")
    regular = is_regular(path)
    if regular is False:
        raise ConfigurationError(f"{path} is not a regular file", hint="write to another path, or remove it")
    if regular and not force and not _is_report(path):
        raise ConfigurationError(f"{path} exists, and is no report", hint="write to another path, or add --force")


def write(page: str, out: str, *, force: bool = False) -> int:
    """Write a report and return its size in bytes; once this returns, the file is on the disk.

    Raises ConfigurationError as ``check_target`` does, DatabaseError for a full disk.
    """
    content = page.encode()
    if out == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return len(content)
    check_target(out, force=force)
    path = Path(out)
    sweep(path)
    with Replacement(path) as replacement:
        try:
            replacement.file.write(content)
        except OSError as error:
            raise disk_error(path, error) from error
        replacement.commit()
    return len(content)


def _is_report(path: Path) -> bool:
    try:
        return begins_and_ends(path, HEAD.encode(), END.encode())
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}", hint="write to another path") from error
