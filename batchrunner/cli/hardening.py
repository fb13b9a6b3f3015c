"""What the program does to its own process before anything else, so that the key stays in it.

Only the command line does this: a program that uses the Python face decides about its own process.
"""

import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Linux, prctl(2): whether a process may be traced by its user's other processes, and leaves a core when it dies."""


def harden() -> None:
    """Let nobody else read what this process makes or holds, and let no character end it.

    Files are made for their owner alone (umask 077). A crash writes no core, in which the key would be; on Linux the
    user's other processes can't attach to this one either, nor read its memory and environment.
    """
    os.umask(0o077)
    with suppress(OSError, ValueError):  # a limit that is lower already stays
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _undumpable()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 gets escapes and no traceback


def _undumpable() -> None:
    """Ask the kernel. Where there is no such library or call, the limit on cores holds all the same."""
    with suppress(OSError, AttributeError, ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def leaks(environment: Mapping[str, str]) -> str | None:
    """Warn where the environment makes TLS give its secrets away: Python honours ``SSLKEYLOGFILE``."""
    path = environment.get("SSLKEYLOGFILE")
    if not path:
        return None
    return (
        f"SSLKEYLOGFILE is set: whoever can read {path} can read the key and the prompts off the network; "
        "unset it unless you are looking for a fault"
    )
