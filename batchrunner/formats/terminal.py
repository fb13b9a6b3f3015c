"""Results on a terminal: what an answer holds must not steer it. In a file or a pipe they stay byte for byte."""

import unicodedata
from typing import BinaryIO, Final

_STEERING: Final = ("Cc", "Cf", "Zl", "Zp")


class Shown:
    """A terminal to write results to: control characters, and marks that turn the direction, become ``\\\\u`` escapes.

    In JSON an escape stands for the very same text.
    """

    def __init__(self, terminal: BinaryIO) -> None:
        self._terminal = terminal

    def write(self, data: bytes) -> None:
        """Write whole lines."""
        text = data.decode("utf-8", "replace")
        if not (text.isascii() and text.replace("\n", "").isprintable()):
            text = "".join(map(_visible, text))
        self._terminal.write(text.encode())

    def flush(self) -> None:
        """Bring out what was written."""
        self._terminal.flush()


def _visible(char: str) -> str:
    if char == "\n" or unicodedata.category(char) not in _STEERING:
        return char
    return "".join(f"\\u{unit:04x}" for unit in _units(char))


def _units(char: str) -> list[int]:
    """Return a character's UTF-16 code units, as JSON spells it (RFC 8259 7)."""
    raw = char.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
