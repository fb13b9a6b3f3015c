"""Configuration files: TOML whose every key is known, with the line that each value stands on."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from batchrunner.config.assignments import check_tag
from batchrunner.config.naming import closest, dotted
from batchrunner.config.options import (
    MODEL_OPTIONS,
    OPTIONS,
    PACK_OPTIONS,
    PROVIDER_OPTIONS,
    Given,
    Layer,
    Option,
)
from batchrunner.config.parsers import Place, provider_name
from batchrunner.core.errors import ConfigurationError

_LARGEST: Final = 1024 * 1024
_FILE_OPTIONS: Final = {name: option for name, option in OPTIONS.items() if option.in_files}
_SECTIONS: Final = ("providers", "tags")
_SECRET = re.compile(r"(.*[_-])?(api_?)?key|.*(secret|password|token)", re.IGNORECASE)

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_PARTS = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TABLE = re.compile(rf"\s*\[\s*({_PARTS})\s*\]\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_PARTS})\s*=")


class _File(NamedTuple):
    """A file that is being read."""

    path: Path
    layer: Layer
    place: Place
    lines: Mapping[tuple[str, ...], int]

    def source(self, path: tuple[str, ...]) -> str:
        """Name the file and the line of a value, or of the table it is in."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"file {self.path}:{self.lines[path[:end]]}"
        return f"file {self.path}"

    def read(self, path: tuple[str, ...], raw: object, option: Option) -> Given:
        """Return the checked value."""
        return option.read(path, raw, self.layer, self.source(path), self.place)

    def table(self, path: tuple[str, ...], raw: object) -> Mapping[str, object]:
        """Return a table. Raises ConfigurationError for anything else."""
        if isinstance(raw, dict):
            return raw
        raise ConfigurationError(
            f"{dotted(path)} must be a table (from {self.source(path)})",
            hint=f"Write [{dotted(path)}] on its own line.",
        )

    def unknown(self, path: tuple[str, ...], known: tuple[str, ...]) -> ConfigurationError:
        """Return the error for a key that means nothing here."""
        name = path[-1]
        if _SECRET.fullmatch(name) and f"{name}s" not in known:
            hint = "Keys never stand in a configuration file: put the key into the variable that key_env names."
        elif likely := closest(name, known):
            hint = f"Did you mean {likely!r}?"
        else:
            hint = f"Known here: {', '.join(sorted(known))}."
        return ConfigurationError(f"unknown key {name!r} (from {self.source(path)})", hint=hint)


def read_file(path: Path, layer: Layer, home: str | None) -> list[Given]:
    """Read a configuration file; relative paths in it start at its own folder.

    Raises ConfigurationError with file and line for what is not TOML, is not known, or can't work.
    """
    text = _text_of(path)
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigurationError(
            f"{path} is not valid TOML: {reason}", hint="Strings need quotes, tables are written [like.this]."
        ) from None
    return list(_tables(_File(path, layer, Place(path.parent, home), lines_of(text)), document))


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Return the line on which each key and table of a TOML text stands, counted from 1.

    Good for everything that people write; keys inside an inline table are found by the line of their table.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if match := _TABLE.fullmatch(line.rstrip("\r")):
            table = _parts(match[1])
            found.setdefault(table, number)
        elif match := _KEY.match(line):
            found.setdefault(table + _parts(match[1]), number)
    return found


def _parts(key: str) -> tuple[str, ...]:
    """Split a dotted key as TOML does; one that is none is left whole."""
    try:
        node: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return (key,)
    parts = []
    while isinstance(node, dict):
        ((part, node),) = node.items()
        parts.append(part)
    return tuple(parts)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ConfigurationError(
                f"{path} is larger than 1 MiB", hint="Is it a configuration file? Name another with --config PATH."
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read: {error.strerror or error}", hint="Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 (byte {error.start})", hint="Save it as UTF-8.") from None


def _tables(file: _File, document: Mapping[str, object]) -> Iterator[Given]:
    for name, raw in document.items():
        if name == "providers":
            for provider, section in file.table((name,), raw).items():
                yield from _provider(file, (name, provider), section)
        elif name == "tags":
            for tag, value in file.table((name,), raw).items():
                yield file.read((name, tag), value, _tag(tag))
        elif name in _FILE_OPTIONS:
            yield file.read((name,), raw, _FILE_OPTIONS[name])
        elif name in OPTIONS:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigurationError(
                f"{name!r} can't be set in a file (from {file.source((name,))})",
                hint=f"Give {flag} on the command line.",
            )
        else:
            raise file.unknown((name,), (*_FILE_OPTIONS, *_SECTIONS))


def _tag(key: str) -> Option:
    return Option(parse=lambda raw, _: check_tag(key, raw)[1], example='"research"')


def _provider(file: _File, path: tuple[str, ...], raw: object) -> Iterator[Given]:
    try:
        provider_name(path[-1], file.place)
    except ValueError as error:
        raise ConfigurationError(
            f"{dotted(path)} can't be used: {error} (from {file.source(path)})", hint="For example: [providers.vllm]"
        ) from None
    yield Given(path, None, file.layer, file.source(path))
    for key, value in file.table(path, raw).items():
        if key == "models":
            for model, section in file.table((*path, key), value).items():
                yield from _fields(file, (*path, key, model), section, {**MODEL_OPTIONS, **PACK_OPTIONS})
        elif key in PROVIDER_OPTIONS:
            yield file.read((*path, key), value, PROVIDER_OPTIONS[key])
        else:
            raise file.unknown((*path, key), (*PROVIDER_OPTIONS, "models"))


def _fields(file: _File, path: tuple[str, ...], raw: object, options: Mapping[str, Option]) -> Iterator[Given]:
    for key, value in file.table(path, raw).items():
        if key not in options:
            raise file.unknown((*path, key), tuple(options))
        yield file.read((*path, key), value, options[key])
