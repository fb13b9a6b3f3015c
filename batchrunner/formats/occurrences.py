"""Names for lines that bring none: the digest of the body, and which one of its kind it is.

Counting needs to remember every digest, and memory must not grow with the number of lines. So the newest digests are
held in memory, 9 bytes each; older ones lie in runs in a nameless temporary file, behind a bitmap that answers "never
seen" without touching it. Ten million lines cost about 7 MiB, and less than that while there are few.
"""

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterable
from typing import IO, NamedTuple

from batchrunner.core.errors import DatabaseError

HELD = 250_000
"""Digests held in memory before they are written out as a run."""
MOST_RUNS = 8
"""Runs that are joined into one."""
PARTS = 4096
KEY = 5
RECORD = KEY + 4
BITMAP = 1 << 21
"""Bytes: one bit for each value of a key's last three bytes."""


class Run(NamedTuple):
    """One block of the temporary file: the records of every part, part after part."""

    start: int
    ends: "array[int]"


class Occurrences:
    """Counts values of 48 bits exactly. Not for use by two threads."""

    def __init__(self, held: int = HELD) -> None:
        self._limit = held
        self._fresh = [bytearray() for _ in range(PARTS)]
        self._held = 0
        self._runs: list[Run] = []
        self._older = bytearray()
        self._file: IO[bytes] | None = None

    def close(self) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()

    def count(self, value: bytes) -> int:
        """Return how often these 6 bytes have been counted, this time included.

        Raises DatabaseError where the disk of the temporary files is full.
        """
        part = value[0] << 4 | value[1] >> 4
        key = value[1:]  # its first four bits are in the part's number as well: cheaper than shifting them out
        fresh = self._fresh[part]
        at = _find(fresh, key)
        if at >= 0:
            seen = int.from_bytes(fresh[at + KEY : at + RECORD], "little") + 1
            fresh[at + KEY : at + RECORD] = seen.to_bytes(4, "little")
            return seen
        seen = self._seen_before(part, key) + 1
        fresh += key + seen.to_bytes(4, "little")
        self._held += 1
        if self._held >= self._limit:
            self._write_run()
        return seen

    def _seen_before(self, part: int, key: bytes) -> int:
        """Return the count that a written run holds; the newest run that knows the key is right."""
        if self._file is None:
            return 0
        bit = int.from_bytes(key[2:], "little")
        if not self._older[bit >> 3] >> (bit & 7) & 1:
            return 0
        for run in reversed(self._runs):
            block = _block(self._file, run, part)
            at = _find(block, key)
            if at >= 0:
                return int.from_bytes(block[at + KEY : at + RECORD], "little")
        return 0

    def _write_run(self) -> None:
        """Move what is held in memory to the end of the file, and mark it in the bitmap."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
                self._older = bytearray(BITMAP)
            self._runs.append(_append_run(self._file, self._fresh))
            if len(self._runs) == MOST_RUNS:
                self._merge(self._file)
        except OSError as error:
            raise DatabaseError(f"can't write to the folder for temporary files: {error.strerror}") from error
        for fresh in self._fresh:
            self._mark(fresh)
            fresh.clear()
        self._held = 0

    def _merge(self, old: IO[bytes]) -> None:
        """Join all runs into one, so that a look-up never reads more than a few; in each part the newest come first."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        newest_first = self._runs[::-1]
        parts = (b"".join(_block(old, run, part) for run in newest_first) for part in range(PARTS))
        self._runs = [_append_run(self._file, parts)]
        old.close()

    def _mark(self, records: bytearray) -> None:
        for at in range(0, len(records), RECORD):
            bit = int.from_bytes(records[at + 2 : at + KEY], "little")
            self._older[bit >> 3] |= 1 << (bit & 7)


class BareNames:
    """Names bare lines ``h-<12 hex of the body's SHA-256>-<k>``, k counting that name's lines in the file from 1.

    Stable when other lines are inserted or moved, and unique within the file.
    """

    def __init__(self, held: int = HELD) -> None:
        self._occurrences = Occurrences(held)

    def __call__(self, body: bytes) -> str:
        """Return the name of the next line with this body."""
        digest = hashlib.sha256(body).digest()[:6]
        return f"h-{digest.hex()}-{self._occurrences.count(digest)}"

    def close(self) -> None:
        """Forget the lines."""
        self._occurrences.close()


def first_name(body: bytes) -> str:
    """Return the name of the first line with this body."""
    return f"h-{hashlib.sha256(body).hexdigest()[:12]}-1"


def _append_run(file: IO[bytes], parts: Iterable[bytes | bytearray]) -> Run:
    """Write the parts behind what the file holds."""
    start = file.seek(0, os.SEEK_END)
    ends = array("Q")
    end = 0
    for part in parts:
        end += len(part)
        ends.append(end)
        file.write(part)
    file.flush()
    return Run(start, ends)


def _block(file: IO[bytes], run: Run, part: int) -> bytes:
    """Return a run's records of one part."""
    begin = run.ends[part - 1] if part else 0
    return os.pread(file.fileno(), run.ends[part] - begin, run.start + begin)


def _find(records: bytes | bytearray, key: bytes) -> int:
    """Return the offset of a key's record, or -1."""
    at = records.find(key)
    while at >= 0 and at % RECORD:
        at = records.find(key, at + 1)
    return at
