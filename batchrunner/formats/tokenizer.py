"""A tokenizer from a local file: exact counts of tokens, and never a download."""

from collections.abc import Sequence
from pathlib import Path

from batchrunner.core.errors import ConfigurationError

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
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def counts(self, texts: Sequence[str], *, special: bool) -> list[int]:
        """Return the tokens of each text; ``special``: with those that its model puts before and behind a text."""
        sound = [text.encode("utf-8", "replace").decode() for text in texts]  # half a surrogate pair is no text there
        return [len(one.ids) for one in self._tokenizer.encode_batch_fast(sound, add_special_tokens=special)]


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
