"""An API key that does not show itself."""

from typing import Final, NoReturn

from batchrunner.core.errors import ConfigurationError

_SHORTEST: Final = 8
"""Characters of a key that can be told from words: a shorter one is a local server's placeholder."""
_KNOWN: Final[set[str]] = set()
"""The keys of this process, for ``without_keys`` alone."""


def guard(key: str) -> None:
    """Remember a key that this process was given: ``without_keys`` cuts it out from now on."""
    if len(key) >= _SHORTEST:
        _KNOWN.add(key)


def without_keys(text: str) -> str:
    """Cut every key that this process holds out of a text: the last defence of what is shown of an error."""
    for key in _KNOWN:
        text = text.replace(key, "***")
    return text


class Secret:
    """A key that shows as ``***`` wherever it is printed, formatted or logged, and that can't be pickled.

    Only visible ASCII is taken, so that no error about a header that can't be encoded has to quote it.
    Raises ConfigurationError, which does not quote it either.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value or not all("!" <= char <= "~" for char in value):
            raise ConfigurationError(
                "the API key is empty, or holds a space, a line break or another character that no key has",
                hint="copy it again, without quotes and without what stands around it",
            )
        self._value: Final = value
        guard(value)

    def reveal(self) -> str:
        """Return the key itself: for the header that sends it, and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not written anywhere")
