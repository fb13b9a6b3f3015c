"""``.env`` in the working folder: keys only.

A file that lies beside a job file may bring a key. It may not redirect one, or change anything else.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

_LARGEST: Final = 1024 * 1024
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_NAMED_AT_MOST: Final = 5


class Keys(Mapping[str, str]):
    """Keys by the variable that holds them. Its repr names the variables and shows no key."""

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._keys = dict(keys or {})

    def __getitem__(self, name: str) -> str:
        return self._keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self._keys))})"


class DotEnv(Keys):
    """The keys of one ``.env`` file."""

    def __init__(self, path: Path, keys: Mapping[str, str] | None = None) -> None:
        super().__init__(keys)
        self.path = path


def read_dotenv(folder: Path, names: Collection[str]) -> tuple[DotEnv, tuple[str, ...]]:
    """Read the variables called ``names`` from ``.env`` in this folder; return them and notes on what was left out.

    ``NAME=value`` and ``export NAME=value``, with or without quotes; ``#`` begins a comment. Nothing is expanded. No
    note holds a value. A missing file, or a folder of that name, holds nothing.
    """
    path = folder / ".env"
    try:
        if not path.is_file():
            return DotEnv(path), ()
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
            shared = os.fstat(file.fileno()).st_mode & 0o077
        text = content.decode("utf-8-sig")
    except OSError as error:
        return DotEnv(path), (f"{path} was not read: {error.strerror or error}",)
    except UnicodeDecodeError:
        return DotEnv(path), (f"{path} was not read: it is not UTF-8",)
    if len(content) > _LARGEST:
        return DotEnv(path), (f"{path} was not read: it is larger than 1 MiB",)
    found, notes = _sorted_out(path, text, names)
    if found and shared:
        notes += (f"other users may read {path}, and the key in it; chmod 600 {path}",)
    return found, notes


def _sorted_out(path: Path, text: str, names: Collection[str]) -> tuple[DotEnv, tuple[str, ...]]:
    keys: dict[str, str] = {}
    ignored: list[str] = []
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match and match[1] in names:
            keys[match[1]] = _value(match[2])
        else:
            ignored.append(match[1] if match else "a line without a name")
    return DotEnv(path, keys), (_note(path, ignored),) if ignored else ()


def _value(text: str) -> str:
    text = text.strip()
    if text[:1] in ("'", '"') and (end := text.find(text[0], 1)) > 0:
        rest = text[end + 1 :].strip()
        if not rest or rest.startswith("#"):
            return text[1:end]
    return re.split(r"\s#", text, maxsplit=1)[0].rstrip()


def _note(path: Path, ignored: list[str]) -> str:
    unique = list(dict.fromkeys(ignored))
    more = f" and {len(unique) - _NAMED_AT_MOST} more" if len(unique) > _NAMED_AT_MOST else ""
    return f"{path}: ignored {', '.join(unique[:_NAMED_AT_MOST])}{more}; only providers' keys are read from it"
