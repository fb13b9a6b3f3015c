"""What the fields of request bodies are described in: a rule says what it expects, and finds what is not so.

A finding refuses nothing. Providers differ, and change; what the queue needs is what ``inspect`` insists on.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

MOST_SHOWN = 60
NOTHING = "nothing"
"""What a finding has got where a value is missing."""


class Finding(NamedTuple):
    """One value that the provider will probably refuse."""

    field: str
    """Such as ``messages[0].role``."""
    expected: str
    """Such as ``a number from 0 to 2``."""
    got: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        if self.got == NOTHING:
            return f"`{self.field}` is missing: expected {self.expected}"
        return f"`{self.field}`: expected {self.expected}, not {self.got}"


Look = Callable[[Any, str], Iterator[Finding]]
"""Looks at a value that stands in a field, and yields what is wrong with it."""


class Rule(NamedTuple):
    """What a value must be."""

    expected: str
    look: Look


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def simple(expected: str, fits: Callable[[Any], bool]) -> Rule:
    """Return the rule that a value fits."""

    def look(value: Any, field: str) -> Iterator[Finding]:
        if not fits(value):
            yield Finding(field, expected, shown(value))

    return Rule(expected, look)


def number(low: float, high: float) -> Rule:
    """Return the rule for a number in a range, its ends included."""
    return simple(f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high)


def above(low: float) -> Rule:
    """Return the rule for a number greater than another one."""
    return simple(f"a number greater than {low:g}", lambda value: _is_number(value) and value > low)


def whole(low: int | None = None, high: int | None = None) -> Rule:
    """Return the rule for a whole number in a range, its ends included; None: without an end."""
    words = "a whole number"
    if low is not None:
        words += f" from {low:,} to {high:,}" if high is not None else f" of at least {low:,}"
    return simple(
        words,
        lambda value: type(value) is int and (low is None or value >= low) and (high is None or value <= high),
    )


def text(most: int | None = None, *, least: int = 0) -> Rule:
    """Return the rule for a string."""
    words = "a string that is not empty" if least else "a string"
    if most is not None:
        words = f"a string of {least} to {most:,} characters" if least else f"a string of at most {most:,} characters"
    return simple(
        words, lambda value: type(value) is str and least <= len(value) and (most is None or len(value) <= most)
    )


def one_of(*words: str) -> Rule:
    """Return the rule for one of some words."""
    return simple(" or ".join(f'"{word}"' for word in words), lambda value: value in words)


def either(*rules: Rule) -> Rule:
    """Return the rule for a value that any of these takes.

    Where one of them takes it but for something inside, that is what is found: the one bad item of a list.
    """
    expected = " or ".join(dict.fromkeys(rule.expected for rule in rules))

    def look(value: Any, field: str) -> Iterator[Finding]:
        tried = [list(rule.look(value, field)) for rule in rules]
        if all(tried):
            inner = [found for found in tried if all(finding.field != field for finding in found)]
            yield from min(inner, key=len, default=[Finding(field, expected, shown(value))])

    return Rule(expected, look)


def list_of(rule: Rule, most: int | None = None, *, least: int = 0) -> Rule:
    """Return the rule for a list, and for each of its items."""
    words = "a list" if least == 0 else "a list that is not empty"
    if most is not None:
        words += f" of at most {most:,}"

    def look(value: Any, field: str) -> Iterator[Finding]:
        if type(value) is not list:
            yield Finding(field, words, shown(value))
        elif not least <= len(value) <= (len(value) if most is None else most):
            yield Finding(field, words, f"one of {len(value):,}")
        else:
            for place, item in enumerate(value):
                yield from rule.look(item, f"{field}[{place}]")

    return Rule(words, look)


def fields(known: Mapping[str, Rule], *required: str) -> Rule:
    """Return the rule for an object with some fields, of which others may be there too."""

    def look(value: Any, field: str) -> Iterator[Finding]:
        if type(value) is not dict:
            yield Finding(field, "an object", shown(value))
            return
        for name in required:
            if value.get(name) is None:
                yield Finding(f"{field}.{name}".lstrip("."), known[name].expected, NOTHING)
        for name, rule in known.items():
            if value.get(name) is not None:
                yield from rule.look(value[name], f"{field}.{name}".lstrip("."))

    return Rule("an object", look)


def map_of(rule: Rule) -> Rule:
    """Return the rule for an object whose values all follow one rule."""

    def look(value: Any, field: str) -> Iterator[Finding]:
        if type(value) is not dict:
            yield Finding(field, "an object", shown(value))
            return
        for name, item in value.items():
            yield from rule.look(item, f"{field}.{name}")

    return Rule("an object", look)


TEXT = text()
NAME = text(least=1)
TOKENS = list_of(whole(0))
SWITCH = simple("true or false", lambda value: type(value) is bool)
OBJECT = simple("an object", lambda value: type(value) is dict)
ANYTHING = simple("a value", lambda value: True)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
