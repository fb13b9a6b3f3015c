"""Text for a terminal: nothing that came from a file or a server may steer it."""

import shlex
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchrunner.config import Loaded

_KEPT = {"\n", "\t"}


def safe(text: str) -> str:
    """Return text with control characters, escapes and invisible or direction-changing marks made visible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char) else _visible(char) for char in text)


def paragraph(text: str) -> str:
    """Return safe text whose further lines are indented: nothing in it can pass for a line of the program's own."""
    return safe(text.replace("\n", "\n      "))


def _harmless(char: str) -> bool:
    if char in _KEPT or char == " ":
        return True
    return char.isprintable() and unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def _visible(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def one_line(text: str, width: int) -> str:
    """Return safe text on one line, cut with an ellipsis."""
    flat = safe(" ".join(text.split()))
    return flat if len(flat) <= width else flat[: max(0, width - 1)] + "…"


def duration(seconds: float) -> str:
    """Return a span as people say it: ``4.2s``, ``3m 10s``, ``7h 05m``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"


def count(number: float) -> str:
    """Return a count that stays short: ``950``, ``12.3k``, ``4.56M``."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            return f"{number / (limit if unit != 'k' else 1e3):.3g}{unit}"
    return f"{number:,.0f}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 row`` or ``12,000 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def several(paths: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a to c``."""
    return paths[0] + (f" to {paths[-1]}" if len(paths) > 2 else f" and {paths[-1]}" if len(paths) == 2 else "")


def command_line(loaded: "Loaded", *words: str) -> str:
    """Return a command to go on with, quoted for a shell; it finds the same database and configuration."""
    aim = aimed(loaded, "config", "db")
    return " ".join(shlex.quote(word) for word in ("batchrunner", *words, *aim))


def aimed(loaded: "Loaded", *names: str) -> list[str]:
    """Return these flags again, as far as they were given; each says where something is."""
    given = [(name.replace("_", "-"), loaded.aim[name]) for name in names if name in loaded.aim]
    return [word for name, value in given for word in (f"--{name}", value)]
