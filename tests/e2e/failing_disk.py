"""A disk that fails at its n-th call: a small library between the program and the C library, built when needed."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

SOURCE = Path(__file__).with_suffix(".c")
CALLS: Final = ("pwrite", "pread", "ftruncate", "sync")
"""The calls that can fail; ``sync`` are fsync and fdatasync. In the order of the library."""
COMPILER: Final = shutil.which("cc") if sys.platform == "linux" else None


class Count(NamedTuple):
    """How many calls of the kind were made, and how many of them failed."""

    seen: int
    failed: int


_STATE: Final = struct.Struct("=II")


def built(folder: Path) -> Path:
    """Build the library, for ``LD_PRELOAD``."""
    library = folder / "failing_disk.so"
    assert COMPILER is not None
    command = [COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


class FailingDisk:
    """The disk of one process: fails one ``call`` on files whose path begins with ``prefix``, and no dot follows it.

    So a folder stands for what is in it, and a database for its journal too, but not for the spill beside it.
    """

    def __init__(self, folder: Path, prefix: Path, call: str) -> None:
        self._state = folder / "disk"
        self._prefix = str(prefix)
        self._call = CALLS.index(call)

    def prelude(self, number: int = 0, *, sticky: bool = False) -> str:
        """Return what the process executes first: fail the ``number``-th call, or all from then on; 0: only count."""
        self._state.write_bytes(bytes(_STATE.size))
        given = (str(self._state).encode(), self._prefix.encode(), self._call, number, int(sticky))
        return f"import ctypes; assert ctypes.CDLL(None).failing_disk{given!r} == 0"

    def count(self) -> Count:
        """Return what the process did so far."""
        return Count._make(_STATE.unpack(self._state.read_bytes()))
