"""Cutting a stream of bytes into lines, the way JSON Lines wants it: at ``\n`` and nowhere else."""

from collections.abc import Iterable, Iterator

from batchrunner.formats.source import MAX_LINE


class LineTooLong(Exception):  # noqa: N818 - always caught and reported as a Problem
    """A line passed the cap; nothing after it is read, as it may have no end."""


def split_lines(chunks: Iterable[bytes], cap: int = MAX_LINE) -> Iterator[bytes]:
    """Yield every line without its ``\n`` and one ``\r`` before it; never holds more than one line and one chunk.

    Nothing else ends a line: U+2028, U+0085, VT and a lone CR occur inside valid JSON, where text readers cut them.
    Raises LineTooLong where a line has more than ``cap`` bytes.
    """
    tail: list[bytes] = []
    held = 0
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        held += len(pieces[0])
        tail.append(pieces[0])
        if held > cap:
            raise LineTooLong
        if len(pieces) == 1:
            continue
        pieces[0] = b"".join(tail)
        last = pieces.pop()
        yield from _checked(pieces, cap)
        tail, held = [last], len(last)
    yield from _checked([b"".join(tail)], cap)


def _checked(lines: Iterable[bytes], cap: int) -> Iterator[bytes]:
    for line in lines:
        if len(line) > cap:
            raise LineTooLong
        yield line[:-1] if line.endswith(b"\r") else line
