"""What keeps paid answers when the database takes nothing more: the ballast, the spill, and the words about it."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from batchrunner.core.errors import DatabaseError, DiskFullError
from batchrunner.core.request import NOTHING_BESIDE, Beside, Closing, Release
from batchrunner.formats.replace import sync_folder
from batchrunner.runner import spill
from batchrunner.runner.spill import Spill
from batchrunner.store.base import Disk, Queue, TakenIn

AT_ONCE = 64
"""Answers that one transaction takes in from a spill."""
LARGEST_JOURNAL = 256 << 20
"""Bytes of write-ahead log beyond which something keeps SQLite from folding it into the database: by itself it stays
below a tenth of that."""


class Storage:
    """The way of a run's answers to the disk, once the way through the database is closed.

    ``put_by`` and ``free_ballast`` run where the store's calls run, one at a time.
    """

    def __init__(self, db: str, disk: Disk) -> None:
        self.disk = disk
        self.fault: DatabaseError | None = None
        """What went wrong first; from then on nothing new is bought."""
        self.spilling = False
        """Whether answers go to the spill, and the database is left alone."""
        self.kept = 0
        """Ends of attempts, and continuations, that are in the spill."""
        self.lost = 0
        """Those that no disk took: their answers are gone."""
        self.notes: tuple[str, ...] = ()
        """What a person should know of the disk, and the run goes on with; each said once."""
        self._db = db
        self._spill = Spill(db)
        self._together = 0
        self._largest = 0

    def prepare(self) -> None:
        """Lay in the ballast, and be ready to spill. Raises DatabaseError where the disk is not."""
        self.disk.prepare()
        try:
            self._spill.prepare()
        except OSError as error:
            raise self.disk.explained(error) from error

    def seen(self, together: int, closing: Closing) -> None:
        """Learn from a committed group how much is in the air at once; one answer of each group is looked at."""
        self._together = max(self._together, together)
        self._largest = max(self._largest, len(closing.outcome.body))

    def low(self) -> DiskFullError | None:
        """Return the error to stop with where the disk has too little room for what may be in the air."""
        return self.disk.low(self._together * self._largest)

    def look(self) -> None:
        """Note a write-ahead log that grows and grows; asked once a second."""
        if self.notes or (size := self.disk.journal()) <= LARGEST_JOURNAL:
            return
        db = os.fsencode(self._db).decode("utf-8", "backslashreplace")  # a note goes into JSON, a path may be any bytes
        self.notes = (
            f"{db}-wal has grown to {size >> 20:,} MiB: probably some program keeps a read transaction on the"
            " database open, and until that ends SQLite can't fold this log into the database; nothing is lost, but"
            f" the disk fills up. Close that program (`fuser -v {shlex.quote(db)}` tells who has it open)",
        )

    def fail(self, error: DatabaseError) -> None:
        """Note a fault; the first one is what is told."""
        self.fault = self.fault or error

    def put_by(self, closings: Sequence[Closing], released: Sequence[Release], beside: Beside = NOTHING_BESIDE) -> None:
        """Keep in the spill what the database did not take; it is on the disk when this returns, or counted as lost."""
        if not self.spilling:
            self.spilling = True
            self.disk.free_ballast()
        if not (closings or released or beside.continued or beside.settled):
            return
        try:
            kept = self._spill.write(closings, released, beside)
        except OSError as error:
            kept = 0
            self.fail(self.disk.explained(error))
        self.kept += kept
        self.lost += len(closings) + len(beside.continued) - kept

    def close(self) -> None:
        """Close the spill and give the ballast's room back."""
        self._spill.end()
        self.disk.free_ballast()

    def error(self) -> DatabaseError:
        """Return the fault in words: what happened, what became of the answers in the air, and how to go on."""
        fault = self.fault
        assert fault is not None  # noqa: S101 - for the type checker: nobody asks without a fault
        message = f"{fault.message}. No new calls were made since; {self._fate()}"
        steps = (fault.hint, f"room now: {self.disk.room()}", "then run the same command again")
        return type(fault)(message, hint="; ".join(step for step in steps if step))

    def _fate(self) -> str:
        if self.lost:
            return f"{self.lost:,} answers could be written nowhere and are lost: they count as possibly billed"
        if self.kept:
            where = ", ".join(self._spill.paths)
            return f"{self.kept:,} answers that were on their way are safe in {where}, and the next run takes them in"
        return "every answer that came is in the database"


def take_in(queue: Queue, db: str, now: int) -> TakenIn:
    """Take in the spills of earlier runs, before anything else is done with their database.

    Repeating it after a crash changes nothing. A spill goes away when all of it is in the database; one that can't be
    read as a whole, or belongs to another database, is set aside. Raises DatabaseError.
    """
    total = TakenIn()
    for path in spill.found(db):
        done = _take_in(queue, path, now)
        total = TakenIn._make(map(sum, zip(total, done, strict=True)))
    return total


def _take_in(queue: Queue, path: str, now: int) -> TakenIn:
    try:
        content = spill.read(path)
    except (OSError, ValueError) as error:
        raise DatabaseError(
            f"{path} can't be read, and it may hold answers that were paid for: {error}",
            hint="look at the file; move it away to go on without them",
        ) from error
    total = TakenIn(strange=content.damaged)
    for start in range(0, max(len(content.closings), 1), AT_ONCE):
        first, last = start == 0, start + AT_ONCE >= len(content.closings)
        done = queue.take_in(
            content.closings[start : start + AT_ONCE],
            content.released if first else [],
            now,
            Beside(content.continued if first else [], content.settled if last else []),
        )
        total = TakenIn._make(map(sum, zip(total, done, strict=True)))
    try:
        if total.strange:
            _set_aside(path)
        else:
            spill.remove(path)
    except OSError as error:
        raise DatabaseError(
            f"{path} is in the database, but can't be removed: {error.strerror}", hint="remove it"
        ) from error
    return total


def _set_aside(path: str) -> None:
    number = 1
    while (aside := Path(f"{path}.strange-{number}")).exists():
        number += 1
    Path(path).rename(aside)
    sync_folder(Path(path).parent)
