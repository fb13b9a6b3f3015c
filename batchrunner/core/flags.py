"""Flags: what is odd about a good answer. It was paid for, so it is kept and never fails its request.

A flag is a word, and after a colon what was found. The words are stored, exported and counted: never rename one.
"""

from typing import Final

CUT_OFF: Final = "cut_off"
"""The answer ended at its output bound."""
EMPTY: Final = "empty"
"""There is neither a text nor a tool call: reasoning models end so that spent all their tokens on thinking."""
REFUSED: Final = "refused"
"""The model refused to answer, in the field that OpenAI has for it."""
FILTERED: Final = "filtered"
"""The provider's filter withheld the answer, or the rest of it."""
INCOMPLETE: Final = "incomplete"
"""A response says of itself that it is incomplete, for another reason than its output bound or a filter."""
TOOL_ARGUMENTS: Final = "tool_arguments"
"""The arguments of a tool call are not JSON."""
NOT_JSON: Final = "not_json"
"""JSON was asked for, and this is none."""
SCHEMA: Final = "schema"
"""The answer is JSON, but not valid against the schema of its own request."""
UNCHECKED: Final = "unchecked"
"""The answer could not be checked against the schema of its own request."""

Flags = tuple[str, ...]


def flag(word: str, found: str) -> str:
    """Return a flag with what was found."""
    return f"{word}: {found}"


def word_of(flag: str) -> str:
    """Return the word of a flag."""
    return flag.partition(":")[0]
