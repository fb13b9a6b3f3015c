"""A tokenizer from a local file: exact counts of tokens, and never a download."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from batchrunner.core.errors import ConfigurationError

WIDTH = 16
"""Characters of a token at most, about, where a text is cut: so far ahead is looked for the end of a part."""
MOST_BYTES = 256 << 20
"""Of a tokenizer.json; the largest ones known are a seventh of it."""


class LocalTokenizer:
    """Counts tokens by a ``tokenizer.json`` as models are published with."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ConfigurationError for one that is no tokenizer, and without the extra ``tokens``.

        What it says of cutting and filling texts is left out: that is how a model is fed, and not what a text counts.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise ConfigurationError(
                "--tokenizer needs the package tokenizers, which is not installed",
                hint="pip install 'batchrunner[tokens]', or leave it out: tokens are guessed then",
            ) from None
        content = _read(path)
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:
            raise ConfigurationError(
                f"{path} is no tokenizer that can be read: {str(error)[:200]}",
                hint="give the tokenizer.json of the model, as it stands beside its weights",
            ) from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        """Hex digest of the file."""
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def counts(self, texts: Sequence[str], *, special: bool) -> list[int]:
        """Return the tokens of each text; ``special``: with those that its model puts before and behind a text."""
        sound = list(map(_sound, texts))
        return [len(one.ids) for one in self._tokenizer.encode_batch_fast(sound, add_special_tokens=special)]

    def cut(self, text: str, most: int) -> list[str]:
        """Cut a text into parts of ``most`` tokens each at most, with those of its model, at spaces if there are any.

        The parts, put together, are the text. A single character stays whole, however many tokens it has.
        """
        room = max(1, most - self._tokenizer.num_special_tokens_to_add(False))
        parts: list[str] = []
        start = 0
        while start < len(text):
            ahead = text[start : start + WIDTH * room]
            part = ahead[: self._end(_sound(ahead), room)]
            parts.append(part)
            start += len(part)
        return parts

    def _end(self, ahead: str, room: int) -> int:
        """Return how many characters the first part has."""
        found = self._tokenizer.encode(ahead, add_special_tokens=False)
        if len(found.ids) <= room:
            return len(ahead)
        end = max(1, found.offsets[room - 1][1])
        space = ahead.rfind(" ", end // 2, end)
        end = space + 1 if space > 0 else end
        while end > 1 and self.counts([ahead[:end]], special=False)[0] > room:
            end = max(1, end * 15 // 16)  # what follows a word may have changed how it is taken apart
        return end


def _sound(text: str) -> str:
    """Return a text of the same length without halves of surrogate pairs: they are no text there."""
    return text.encode("utf-8", "replace").decode()


def _read(path: Path) -> bytes:
    advice = "--tokenizer takes a file that is on this machine; nothing is downloaded"
    try:
        if not path.is_file():
            raise ConfigurationError(f"there is no file {path}", hint=advice)
        if path.stat().st_size > MOST_BYTES:
            raise ConfigurationError(f"{path} is larger than {MOST_BYTES >> 20} MiB", hint=advice)
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}", hint=advice) from error
