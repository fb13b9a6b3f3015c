"""The one door of every verb that writes: the database itself where it is free, else the mailbox of its run.

Either way the same things happen, and the caller gets the same answer or the same error.
"""

import os
import time
from collections.abc import Callable

import msgspec

from batchrunner.api.reads import Reads, reads
from batchrunner.api.session import session
from batchrunner.config import Loaded
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.errors import ConfigurationError, DatabaseHeldError
from batchrunner.runner import commands
from batchrunner.runner.commands import Answer, Command, Done, Load, Refused
from batchrunner.runner.mailbox import Letter, Mailbox, Vanished
from batchrunner.store.lock import hold

TAKE_WITHIN = 5.0
"""Seconds in which a run that serves its mailbox takes a command; it looks there five times a second."""
SILENT_FOR = 30.0
"""Seconds without a sign of life after which a run that took a command is said to be stuck."""
POLL = 0.05


def ask(loaded: Loaded, make: Callable[[Reads], Command], *, wait: bool = False) -> Done:
    """Do what ``make`` says, here or by the run that holds the database; ``wait`` queues behind that run instead.

    Raises DatabaseHeldError where the holder takes no commands (it is loading, asking, or exporting), and whatever the
    command is refused for.
    """
    clock = SystemClock()
    while True:
        try:
            with session(loaded, wait=wait) as held:
                return held.do(make(held))
        except DatabaseHeldError as error:
            holder = error
        with reads(loaded) as read:
            data = commands.encode(_from_anywhere(make(read)))
        try:
            with Mailbox.open(loaded.settings.db, clock) as mailbox, mailbox.send(data) as letter:
                answer = _await(loaded, letter, holder, clock)
        except Vanished:
            continue
        if isinstance(answer, Refused):
            raise answer.error()
        if answer is not None:
            return answer


def _await(loaded: Loaded, letter: Letter, holder: DatabaseHeldError, clock: Clock) -> Answer | None:
    """Wait for the answer; None where the database is free meanwhile: then the command can be done here.

    It was done already if the run died between doing it and answering; doing it twice comes to the same.
    """
    until = clock.monotonic() + TAKE_WITHIN
    while True:
        data = letter.answer()
        if data is not None:
            return commands.answer(data)
        silent = letter.worked_on()
        if silent is None and clock.monotonic() > until and letter.withdraw():
            raise DatabaseHeldError(
                f"{holder.message}, and did not take the command within {TAKE_WITHIN:g} s: nothing was changed",
                hint="it may be loading, asking or exporting: try again later, or let the command queue with --wait",
            )
        if silent is not None and silent > SILENT_FOR:
            raise DatabaseHeldError(
                f"{holder.message}; it took the command, and is silent since {silent:.0f} s: it may still do it",
                hint="see whether it was stopped, and where the jobs stand: batchrunner status",
            )
        if _is_free(loaded):
            return None
        time.sleep(POLL)  # noqa: TID251 - for another process: there is no loop here, and nothing else to do


def _is_free(loaded: Loaded) -> bool:
    try:
        with hold(loaded.settings.db):
            return True
    except DatabaseHeldError:
        return False


def _from_anywhere(command: Command) -> Command:
    """Return the command as another process can do it, whose working folder and standard input are its own."""
    if not isinstance(command, Load):
        return command
    if command.path == "-":
        raise ConfigurationError(
            "standard input can't be handed to the run that holds the database",
            hint="save it to a file and load that, or let the load queue behind the run with --wait",
        )
    return msgspec.structs.replace(command, path=os.path.abspath(command.path))  # noqa: PTH100 - any bytes
