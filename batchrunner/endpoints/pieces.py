"""JSON values that come in pieces, joined without being decoded: what the provider wrote stays as it wrote it.

Texts are joined inside their quotes. So escapes, numbers beyond 64 bits and characters whose halves come in two pieces
are in the whole what they were in the parts.
"""

from collections.abc import Callable, Mapping

import msgspec

from batchrunner.endpoints.answers import UNREADABLE, mend_surrogates

NULL, EMPTY = b"null", b'""'
NONE = msgspec.Raw(NULL)
OVERHEAD = 256
"""Bytes that a value takes in memory beside its text, about."""

Values = Mapping[str, msgspec.Raw]

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_encode = msgspec.json.Encoder().encode
_HALF = b"\xff"
"""Stands for the backslash of half a surrogate pair; no text in UTF-8 has this byte."""


def objects(raw: bytes | msgspec.Raw) -> list[dict[str, msgspec.Raw]] | None:
    """Return a list of objects as their values; None where it is anything else."""
    try:
        return _OBJECTS.decode(raw)
    except UNREADABLE:
        return None


def object_of(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Return an object as its values; None where it is anything else.

    Halves of surrogate pairs are let through, as ``restored`` finds them.
    """
    try:
        return _OBJECT.decode(raw)
    except msgspec.ValidationError:
        return None
    except UNREADABLE:
        text = bytes(raw)
        marked = mend_surrogates(text, lambda half: _HALF + half)
    try:
        return None if marked == text else _OBJECT.decode(marked)
    except UNREADABLE:
        return None


def restored(text: bytes) -> bytes:
    """Put back the halves of surrogate pairs, which by now may stand beside their other halves."""
    return text.replace(_HALF + b"ud", rb"\ud").replace(_HALF + b"uD", rb"\uD")


class Growing:
    """A JSON object whose values grow.

    The texts under ``texts`` are joined, lists are strung together where ``lists`` says so, and of everything else the
    last that is neither null nor an empty text counts.
    """

    __slots__ = ("_inner", "_lists", "_size", "_texts", "_values")

    def __init__(self, texts: frozenset[str] = frozenset(), lists: Callable[[str], bool] = lambda _: False) -> None:
        self._texts = texts
        self._lists = lists
        self._values: dict[str, bytearray] = {}
        self._inner: dict[str, Growing] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Return the bytes that are held, about."""
        return self._size + sum(inner.size for inner in self._inner.values())

    def get(self, key: str) -> bytes:
        """Return a value as it is now, ``null`` where there is none."""
        return bytes(self._values.get(key, NULL))

    def put(self, key: str, raw: bytes) -> None:
        """Take a value, or the next piece of it."""
        have = self._values.get(key)
        if have is None:
            have = self._values[key] = bytearray(raw)
            self._size += OVERHEAD + len(raw)
            return
        before = len(have)
        if have == NULL:
            have[:] = raw
        elif key in self._texts and have[0] == raw[0] == _QUOTE:
            have[-1:] = raw[1:]
        elif have[0] == raw[0] == _BRACKET and self._lists(key):
            self._string(have, raw)
        elif raw not in (NULL, EMPTY, have):
            have[:] = raw
        self._size += len(have) - before

    def inner(
        self, key: str, texts: frozenset[str] = frozenset(), lists: Callable[[str], bool] | None = None
    ) -> "Growing":
        """Return the growing object under a key; it is made when it is first asked for."""
        if key not in self._inner:
            self._inner[key] = Growing(texts, lists or self._lists)
            self._values.pop(key, None)
            self._size += 2 * OVERHEAD
        return self._inner[key]

    def items(self) -> list[tuple[str, bytes]]:
        """Return what there is by now."""
        grown = [(key, inner.json()) for key, inner in self._inner.items()]
        return [*((key, bytes(value)) for key, value in self._values.items() if key not in self._inner), *grown]

    def json(self) -> bytes:
        """Return the object."""
        return rendered(self.items())

    @staticmethod
    def _string(have: bytearray, raw: bytes) -> None:
        if not raw[1:-1].strip():
            return
        if have[1:-1].strip():
            have[-1:] = b"," + raw[1:]
        else:
            have[:] = raw


_QUOTE, _BRACKET = b'"['


def rendered(items: list[tuple[str, bytes]]) -> bytes:
    """Return a JSON object of these keys and JSON texts."""
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(key), value) for key, value in items)
