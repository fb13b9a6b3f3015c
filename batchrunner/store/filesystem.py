"""Where a file lies: the file system beneath it, its kind and its free space."""

import os
from pathlib import Path
from typing import Final, NamedTuple

NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "fuse"})
"""File systems on which SQLite's write-ahead log does not work: it shares memory between processes."""


class Mount(NamedTuple):
    """One file system: where it is mounted, and its kind (``ext4``, ``nfs4``)."""

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether it is another machine's, or a program's that may be; FUSE tells no difference."""
        return self.kind in NETWORK or self.kind.startswith("fuse.")


def mount_of(place: Path, mounts: str) -> Mount | None:
    """Return the file system that a folder is on, by Linux's table of mounts (proc(5)); None: not told."""
    found: Mount | None = None
    depth = -1
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(_plain(fields[1]))
        if place.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = Mount(str(point), fields[2]), len(point.parts)
    return found


def mounts() -> str:
    """Return Linux's table of mounts; empty where there is none."""
    table = Path("/proc/self/mounts")
    return table.read_text(encoding="utf-8", errors="replace") if table.exists() else ""


def mount_at(path: str) -> Mount | None:
    """Return the file system that a file is on, or would be on; None: not told."""
    return mount_of(Path(os.path.realpath(path)).parent, mounts())


def free_at(path: str) -> int:
    """Return the bytes that this user may still write beside a file. Raises OSError."""
    found = os.statvfs(Path(path).parent)
    return found.f_bavail * found.f_frsize


def sync(path: str) -> None:
    """Put a file's bytes, or a folder's entries, on the disk: without that a power cut may undo a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(point: str) -> str:
    """Undo the table's octal escapes of white space and backslashes."""
    for escape, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(escape, char)
    return point
