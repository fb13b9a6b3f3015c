"""What a template may use up: how large values may become, and what one row may cost."""

import re
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from jinja2.environment import Environment
from jinja2.exceptions import SecurityError
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext, Macro, StrictUndefined, Undefined
from jinja2.utils import Namespace, missing

MOST_STEPS: Final = 100_000
"""Rounds of loops, calls and filters for one row."""
MOST_SIZE: Final = 16_000_000
"""Characters that one row may put out, and that one value may have; values within values count 8 each."""
MOST_MADE: Final = 64_000_000
"""Of all values together that are made for one row."""
MOST_SECONDS: Final = 10.0
"""Of this thread's time, for one row."""
MOST_BITS: Final = 4_096
"""Of a whole number that is computed."""
LOOK: Final = 16
"""Steps between two looks at the clock."""

_OPAQUE: Final = (Undefined, Namespace, Macro, LoopContext, Context, Environment, EvalContext, range)
_LONG_FORMAT: Final = re.compile(r"%[^%a-zA-Z]*?(?:\d{4,}|\*|\()")
_FORMATS: Final = 10_000
"""Of values in one text."""


class Budget:
    """What one row may still use up. Raises SecurityError when it is gone."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with another row."""
        self._steps = MOST_STEPS
        self._size = MOST_SIZE
        self._made = MOST_MADE
        self._until = time.thread_time() + MOST_SECONDS

    def step(self, size: int = 0) -> None:
        """Count a round, a call or a filter, and the fixed text that it puts out."""
        self._steps -= 1
        if self._steps < 0:
            raise SecurityError(f"more than {MOST_STEPS:,} rounds of loops and calls for one row")
        if size:
            self.put_out(size)
        if self._steps % LOOK == 0 and time.thread_time() > self._until:
            raise SecurityError(f"it takes more than {MOST_SECONDS:g} s for one row")

    def make(self, value: Any) -> Any:
        """Count a value that was made, and return it."""
        self._made -= weigh_outer(value)
        if self._made < 0:
            raise SecurityError(f"more than {MOST_MADE:,} characters in values that are made for one row")
        return value

    def put_out(self, size: int) -> None:
        """Count characters that are put out."""
        self._size -= size
        if self._size < 0:
            raise SecurityError(f"more than {MOST_SIZE:,} characters for one row")


class Missing(StrictUndefined):
    """What there is not: any use of it is an error that names it, but for ``is defined`` and ``default``."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing or isinstance(self._undefined_obj, Fields):
            return f'there is no column "{self._undefined_name}"'
        return f'a {type(self._undefined_obj).__name__} has no "{self._undefined_name}"'


class Fields(dict[str, object]):
    """All columns of a row: ``row`` in a template."""


VALUES: Final = (str, int, float, type(None), list, tuple, dict)
_KNOWN: Final = (*VALUES, *_OPAQUE)
INNER: Final = (Context, Environment, EvalContext)


def weigh(value: Any) -> int:
    """Return about how many characters a value takes as text. Raises SecurityError where it is too large, or is none.

    What is there several times counts several times, as it does when it is written out.
    """
    total, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            total += len(each) + 8
        elif isinstance(each, dict):
            total += 8
            waiting += each.keys()
            waiting += each.values()
        elif isinstance(each, list | tuple):
            total += 8
            waiting += each
        elif isinstance(each, int):
            total += 8 + each.bit_length() // 3
        elif isinstance(each, float | None | range):
            total += 8
        elif isinstance(each, Undefined):
            str(each)  # raises, and names it
        else:
            raise SecurityError(f"a {type(each).__name__} can't be used here")
        if total > MOST_SIZE:
            refuse_size(total)
    return total


def weigh_outer(value: Any) -> int:
    """Return the same for a value that may be no text at all, such as a loop or a namespace; these have no size."""
    return weigh(value) if isinstance(value, VALUES) else 0


def gathered(value: Any) -> Any:
    """Return a generator or a view, which has no size before it is gone through, as a list; else the value itself."""
    if isinstance(value, _KNOWN) or not isinstance(value, Iterable):
        return value
    total, found = 0, []
    for each in value:
        total += weigh_outer(each)
        refuse_size(total)
        found.append(each)
    return found


def short_range(*bounds: int) -> range:
    """Return a range of bounded length."""
    made = range(*bounds)
    if len(made) > MOST_STEPS:
        raise SecurityError(f"a range of more than {MOST_STEPS:,}")
    return made


def check_filter(name: str, args: list[Any], named: Mapping[str, Any]) -> None:
    """Refuse what would make a filter's result far larger than what it is given."""
    values = (*args, *named.values())
    size = sum(map(weigh_outer, values))
    numbers = [abs(each) for each in values[1:] if isinstance(each, int)]
    if name in _BY_NUMBER and any(each > _BY_NUMBER[name] for each in numbers):
        raise SecurityError(f"{name}: a number larger than {_BY_NUMBER[name]:,}")
    if name == "format" and isinstance(args[0], str):
        check_format(args[0])
    if name == "replace":
        texts = {**dict(zip(("s", "old", "new"), args, strict=False)), **named}
        _refuse_replaced(str(args[0]), str(texts.get("old", "")), str(texts.get("new", "")))
    if name == "int" and isinstance(args[0], str):
        refuse_bits("*", 1 << min(len(args[0]), 2 * MOST_BITS), 0)  # a bit a digit, whatever the base
    if name in ("join", "indent") and hasattr(args[0], "__len__"):
        gaps = args[0].count("\n") + 1 if name == "indent" and isinstance(args[0], str) else len(args[0])
        refuse_size(size + gaps * sum(len(each) for each in values[1:] if isinstance(each, str)))
    if name == "sum" and any(isinstance(each, list | tuple) for each in values[1:]):
        raise SecurityError("sum: of numbers only")


_BY_NUMBER: Final = MappingProxyType({"batch": 10_000, "slice": 10_000, "indent": 100, "round": 100})


def refuse_growth(method: Any, args: tuple[Any, ...]) -> None:
    """Refuse methods of text whose result would be far larger than what they are given."""
    owner = getattr(method, "__self__", None)
    if not isinstance(owner, str) or not args:
        return
    if method.__name__ == "replace" and len(args) > 1:
        _refuse_replaced(owner, str(args[0]), str(args[1]))
    elif method.__name__ == "join" and isinstance(args[0], str | list | tuple):
        refuse_size(weigh(args[0]) + len(owner) * len(args[0]))


def _refuse_replaced(text: str, old: str, new: str) -> None:
    refuse_size(len(text) + text.count(old) * len(new))


def refuse_size(size: int) -> None:
    """Raise SecurityError for a value of so many characters."""
    if size > MOST_SIZE:
        raise SecurityError(f"a value of more than {MOST_SIZE:,} characters")


def refuse_bits(operator: str, left: int, right: int) -> None:
    """Raise SecurityError where whole numbers would make one that is too long."""
    bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > MOST_BITS:
        raise SecurityError(f"a number of more than {MOST_BITS:,} bits")


def check_format(text: str) -> None:
    """Raise SecurityError for a format that makes far more than it is given."""
    if _LONG_FORMAT.search(text) or text.count("%") > _FORMATS:
        raise SecurityError("a format with names, or with a width of more than 999")
