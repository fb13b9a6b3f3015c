"""Local files that a body refers to: what is asked for, what comes back, and what the folder they lie in promises."""

from typing import NamedTuple, Protocol


class Wanted(NamedTuple):
    """A file that a body refers to as ``file:photos/1.jpg``."""

    name: str
    """Its path beneath the folder of attachments, as it stands after ``file:``; unchecked, and with no escapes."""
    accepts: tuple[str, ...]
    """Media types that may be sent in this place, the likeliest first."""
    most: int
    """Bytes that it may have."""
    spelled: bytes = b""
    """The whole reference as the JSON string that it stands in, to find its column by."""


class Attached(NamedTuple):
    """A file that was read."""

    name: str
    data: bytes
    media_type: str
    """By its content, never by its name."""


class Composed(NamedTuple):
    """What is sent in place of a body that refers to files, or that the wire wants in another form."""

    body: bytes
    content_type: str
    milliseconds: int | None = None
    """Length of the sound in it, measured; None where there is none or nobody can tell."""


class Unattachable(Exception):  # noqa: N818 - a finding about a file, always caught and told as a Problem or a Failure
    """A file that is not sent. Its message names the file, the reason, and what helps."""


class Attachments(Protocol):
    """The files that bodies may refer to. Blocking: ask it in a thread that nothing else waits for."""

    def look(self, wanted: Wanted) -> int:
        """Return the bytes that a file has, having looked at its beginning. Raises Unattachable."""
        ...

    def read(self, wanted: Wanted) -> Attached:
        """Return a whole file. Raises Unattachable; never reads more than ``wanted.most`` bytes of anything."""
        ...


class NoAttachments:
    """``Attachments`` of a run that was given no folder: local files are off."""

    def look(self, wanted: Wanted) -> int:
        """Raise Unattachable."""
        raise off(wanted)

    def read(self, wanted: Wanted) -> Attached:
        """Raise Unattachable."""
        raise off(wanted)


def off(wanted: Wanted) -> Unattachable:
    """Return what is raised where no folder was given."""
    return Unattachable(
        f"{shown(wanted.name)}: local files are off; --attachments DIR names the folder to read it from"
    )


_SHOWN = 120


def shown(name: str) -> str:
    """Return a reference for messages: on one line, printable, and never long."""
    short = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    return f"file:{short}" if short.isprintable() else f"file:{ascii(short)[1:-1]}"
