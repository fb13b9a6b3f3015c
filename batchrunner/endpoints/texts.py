"""Inputs that are one text, several texts, or tokens: the prompt of a completion, the input of an embedding."""

from typing import NamedTuple

import msgspec

from batchrunner.core.estimate import tokens
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.facts import decode


class Texts(NamedTuple):
    """What an input holds."""

    number: int
    """Texts: each is answered on its own."""
    tokens: int
    """Estimated from the bytes of texts; exact where the input is made of token numbers."""
    blank: bool
    """Whether a text among them is empty."""


_ITEMS = msgspec.json.Decoder(list[str | int | list[int]])


def texts(raw: msgspec.Raw, field: str) -> Texts:
    """Read an input of any of the four shapes that OpenAI's format has; raises BadBody for others.

    They are a string, a list of strings, a list of token numbers, and a list of such lists.
    """
    value = bytes(raw)
    if value.startswith(b'"'):
        return Texts(1, tokens(value), blank=value == b'""')
    if not value.startswith(b"["):
        raise BadBody(f"`{field}` must be a string or a list", field)
    items = decode(_ITEMS, raw, field)
    if not items:
        raise BadBody(f"`{field}` is empty", field)
    kinds = {type(item) for item in items}
    if kinds == {str}:
        return Texts(len(items), tokens(value), blank="" in items)
    if kinds == {int}:
        return Texts(1, len(items), blank=False)
    if kinds == {list}:
        sizes = [len(item) for item in items if isinstance(item, list)]
        if 0 in sizes:
            raise BadBody(f"`{field}` holds an empty list of tokens", field)
        return Texts(len(items), sum(sizes), blank=False)
    raise BadBody(f"`{field}` mixes strings, token numbers and lists: use one kind", field)
