"""Notices to a command: started without a shell, in an environment without any key, the JSON on its stdin."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
from anyio.abc import Process

from batchrunner.core.errors import ConfigurationError

SECONDS = 20.0
"""How long a command may take before it is killed with its children."""

_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "DISPLAY", "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SYSTEMROOT",
)  # fmt: skip
"""All that a command is told of our environment: what is not named here could be a key."""


class CommandNotifier:
    """Runs a command for each notice. Raises ConfigurationError for one that can't be parsed or found."""

    def __init__(self, line: str, environment: Mapping[str, str]) -> None:
        self._words = split(line)
        self._environment = {name: environment[name] for name in _KEPT if name in environment}
        self._environment |= {name: value for name, value in environment.items() if name.startswith("LC_")}

    async def tell(self, notice: bytes) -> str | None:
        """Run it once; a status other than 0, no end in time, or no start at all is a problem."""
        name = Path(self._words[0]).name
        try:
            process = await anyio.open_process(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C that is meant for the run does not strike it
            )
        except OSError as error:
            return f"the notification command {name} could not be started: {error.strerror or type(error).__name__}"
        try:
            with anyio.move_on_after(SECONDS):
                await _hand_over(process, notice)
                code = await process.wait()
                return None if code == 0 else f"the notification command {name} ended with status {code}"
            return f"the notification command {name} took longer than {SECONDS:.0f} seconds and was ended"
        finally:
            with anyio.CancelScope(shield=True):
                _kill(process)
                await process.aclose()


def split(line: str) -> list[str]:
    """Return the words of a command as a shell would part them. Raises ConfigurationError."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigurationError(
            f"--notify can't be read as a command: {error}", hint="close its quotes, or give an https:// address"
        ) from None
    if not words:
        raise ConfigurationError("--notify names no command", hint="give a command, or an https:// address")
    return words


async def _hand_over(process: Process, notice: bytes) -> None:
    if process.stdin is None:
        return
    try:
        await process.stdin.send(notice + b"\n")
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        return  # a command need not read what it is told


def _kill(process: Process) -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
