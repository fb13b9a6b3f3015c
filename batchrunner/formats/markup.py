"""Markup of a page: the one place where text becomes HTML, so that no text can ever become more than text."""

import html
import unicodedata
from typing import Final

_STEERING: Final = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_VOID: Final = frozenset({"meta", "br", "hr", "col"})
"""Elements of HTML that never hold anything, and have no end tag."""
_SHAPES: Final = frozenset({"rect", "line"})
"""Elements of SVG that are closed at once where they hold nothing."""

LONGEST: Final = 200
"""Characters that are shown of one text that came from elsewhere."""

Value = str | int
"""What an attribute can have."""


class Html(str):
    """Markup. Only ``element`` and ``text`` make it of anything that is not a part of this program."""

    __slots__ = ()


def text(raw: str, longest: int = LONGEST) -> Html:
    """Return any text as markup that shows just this text, in an element or an attribute, cut with an ellipsis.

    Beside HTML's own characters this makes visible, as ``\\\\u`` escapes, what could turn the direction of what stands
    around it or stand in no valid page: controls, invisible marks, halves of characters.
    """
    if len(raw) > longest:
        raw = raw[: longest - 1] + "…"
    if not (raw.isascii() and raw.isprintable()):
        raw = "".join(map(_visible, raw))
    return Html(html.escape(raw, quote=True))


def element(name: str, /, *content: str, **attributes: Value | None) -> Html:
    """Return an element. Content that is not ``Html`` is text, and so is every attribute's value.

    ``class_`` is ``class``, ``aria_label`` is ``aria-label``; an attribute that is None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value), 1_000)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    inside = joined(*content)
    if not inside and name in _SHAPES:
        return Html(f"<{name}{given}/>")
    return Html(f"<{name}{given}>{inside}</{name}>")


def joined(*content: str) -> Html:
    """Return pieces one after the other; what is not ``Html`` is text."""
    return Html("".join(part if isinstance(part, Html) else text(part) for part in content))


def _visible(char: str) -> str:
    if char in "\n\t":
        return " "
    if unicodedata.category(char) not in _STEERING:
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
