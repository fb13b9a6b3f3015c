"""What can be set, by what, and how each value is read and checked."""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from batchrunner.config.assignments import check_json, check_setting_key, check_tag
from batchrunner.config.naming import dotted, flag_of, variable_of
from batchrunner.config.units import parse_count, parse_duration, parse_money, parse_rate, parse_size, parse_when, shown
from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.hosts import normalise


class Layer(IntEnum):
    """Where values come from; a higher layer beats a lower one."""

    DEFAULT = 0
    USER = 1
    PROJECT = 2
    ENVIRONMENT = 3
    FLAG = 4


class Place(NamedTuple):
    """What a path is read against."""

    folder: Path
    """Where relative paths start: the working folder, or the folder of the file that holds the value."""
    home: str | None
    """What ``~`` means."""


class Given(NamedTuple):
    """One checked value from one source."""

    path: tuple[str, ...]
    """Such as ``("providers", "together", "rpm")``."""
    value: object
    layer: Layer
    source: str


Parse = Callable[[object, Place], object]
"""Turns what was given into the value. Raises ValueError with a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that can be set."""

    parse: Parse
    example: str
    """A good value, as TOML."""
    default: object = None
    in_files: bool = True
    in_environment: bool = True
    echo: bool = True
    """Whether a bad value may stand in a message; not where it could be a password in the wrong place."""

    def read(self, path: tuple[str, ...], raw: object, layer: Layer, source: str, place: Place) -> Given:
        """Return the checked value. Raises ConfigurationError that names value, reason, source and a good value."""
        try:
            return Given(path, self.parse(raw, place), layer, source)
        except ConfigurationError as error:
            raise ConfigurationError(f"{dotted(path)}: {error.message} (from {source})", hint=error.hint) from error
        except ValueError as error:
            what = f"{dotted(path)} = {shown(raw)}" if self.echo else dotted(path)
            raise ConfigurationError(
                f"{what} can't be used: {error} (from {source})", hint=f"For example: {self._spelled(path, layer)}"
            ) from None

    def _spelled(self, path: tuple[str, ...], layer: Layer) -> str:
        bare = self.example.strip('"')
        if layer is Layer.FLAG:
            return f"--{flag_of(path[-1])} {bare}"
        if layer is Layer.ENVIRONMENT:
            return f"{variable_of(path[-1])}={bare}"
        return f"{path[-1]} = {self.example}"


# ------------------------------------------------------------------------------------------------------------- readers


def _count(low: int, high: int) -> Parse:
    def parse(raw: object, _: Place) -> int:
        number = parse_count(raw)
        if not low <= number <= high:
            raise ValueError(f"it must be from {low:,} to {high:,}")
        return number

    return parse


def _rate(raw: object, _: Place) -> float:
    rate = parse_rate(raw)
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError("it must be greater than 0; leave it out for no limit")
    return rate


def _or_auto(parse: Parse) -> Parse:
    def read(raw: object, place: Place) -> object:
        return "auto" if isinstance(raw, str) and raw.strip() == "auto" else parse(raw, place)

    return read


def _duration(low: float, high: float, allowed: str) -> Parse:
    def parse(raw: object, _: Place) -> float:
        seconds = parse_duration(raw)
        if not low <= seconds <= high:
            raise ValueError(f"it must be {allowed}")
        return seconds

    return parse


def _size(raw: object, _: Place) -> int:
    number = parse_size(raw)
    if not 1024 <= number <= 1 << 30:
        raise ValueError("it must be from 1KiB to 1GiB")
    return number


def _factor(raw: object, _: Place) -> float:
    factor = parse_rate(raw.strip().removesuffix("x") if isinstance(raw, str) else raw)
    if not 1 < factor <= 16:
        raise ValueError("it must be greater than 1x and at most 16x")
    return factor


def _choice(*words: str) -> Parse:
    def parse(raw: object, _: Place) -> str:
        if isinstance(raw, str) and raw.strip() in words:
            return raw.strip()
        raise ValueError(f"it must be one of {', '.join(words)}")

    return parse


def _text(raw: object, _: Place) -> str:
    if isinstance(raw, str) and raw.strip() and raw.isprintable() and len(raw) <= 1_024:
        return raw.strip()
    raise ValueError("it must be text on one line")


def _switch(raw: object, _: Place) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in words:
        return words[raw.strip().lower()]
    raise ValueError("it must be true or false")


def _path(raw: object, place: Place) -> Path:
    text = os.fspath(raw) if isinstance(raw, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError("it must be the path of a file")
    if "://" in text:
        raise ValueError("it must be the path of a file, not a URL")
    if text == "~" or text.startswith("~/"):
        if not place.home:
            raise ValueError("'~' means nothing here, since HOME is not set; write the whole path")
        text = place.home + text[1:]
    return place.folder / text


def _paths(raw: object, place: Place) -> tuple[Path, ...]:
    if isinstance(raw, str):
        raw = [part for part in raw.split(os.pathsep) if part]
    if not isinstance(raw, list | tuple):
        raise ValueError("it must be a list of paths")
    return tuple(_path(each, place) for each in raw)


def provider_name(raw: object, _: Place) -> str:
    """Read a provider's name. Raises ValueError."""
    if isinstance(raw, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", raw):
        return raw
    raise ValueError("a provider's name is 1 to 64 lower-case letters, digits, '_' or '-'")


def _key_env(raw: object, _: Place) -> str:
    if isinstance(raw, str) and (not raw or re.fullmatch(r"[A-Z_][A-Z0-9_]*", raw)):
        return raw
    raise ValueError(
        "it must be the NAME of the environment variable that holds the key, in capitals, and never the key itself; "
        "an empty string for a server without a key"
    )


def _base_url(raw: object, _: Place) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("it must be a URL")
    return normalise(raw.strip())


def _pairs(check: Callable[[str, object], tuple[str, str]]) -> Parse:
    def parse(raw: object, _: Place) -> tuple[tuple[str, str], ...]:
        listed = list(raw.items()) if isinstance(raw, Mapping) else raw
        if not isinstance(listed, list | tuple):
            raise ValueError("it must be pairs of key and value")
        checked: dict[str, str] = {}
        for pair in listed:
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ValueError("it must be pairs of key and value")
            key, value = check(pair[0], pair[1])
            if key in checked:
                raise ValueError(f"{key!r} is given twice")
            checked[key] = value
        return tuple(sorted(checked.items()))

    return parse


def _setting(key: str, value: object) -> tuple[str, str]:
    if not isinstance(value, str):
        raise ValueError(f"the value of {key!r} must be JSON text, such as '512'")
    return check_setting_key(key), check_json(key, value)


# --------------------------------------------------------------------------------------------------------------- table

_CONCURRENCY: Final = Option(parse=_or_auto(_count(1, 100_000)), example="64")
_RPM: Final = Option(parse=_or_auto(_rate), example='"3k"')
_TPM: Final = Option(parse=_or_auto(_rate), example='"2M"')
_ROWS: Final = Option(parse=_count(1, 10**12), example="100", in_files=False, in_environment=False)
_WORD: Final = Option(parse=_text, example='"MODEL"', in_files=False, in_environment=False)
_OUTSIDE: Final = Option(parse=_path, example='"certificates.pem"', in_files=False)
"""A path that decides whom we trust: a project file, which may have come with somebody's job file, must not."""
_SPAN: Final = _duration(1, 31_536_000, "from 1s to 365d")
_SWITCH: Final = Option(parse=_switch, example="true", default=False, in_files=False)

OPTIONS: Final[Mapping[str, Option]] = {
    "db": Option(parse=_path, example='"batchrunner.db"', default="batchrunner.db"),
    "db_timeout": Option(parse=_duration(0, 3_600, "from 0s to 1h"), example='"60s"', default="60s"),
    "unsafe_fs": Option(parse=_switch, example="true", default=False),
    "accept_older": _SWITCH,
    "provider": Option(parse=provider_name, example='"together"', default="together"),
    "concurrency": _CONCURRENCY,
    "rpm": _RPM,
    "tpm": _TPM,
    "confirm_above": Option(parse=lambda raw, _: parse_money(raw), example='"12.50"', default="1.00"),
    "grace": Option(parse=_duration(0, 86_400, "from 0s to 24h"), example='"60s"', default="60s"),
    "max_tries": Option(parse=_count(1, 100), example="5", default=5),
    "repair": Option(parse=_count(0, 10), example="2", default=0),
    "raise_cap": Option(parse=_factor, example='"2x"'),
    "on_pause": Option(parse=_choice("wait", "exit"), example='"wait"'),
    "until": Option(parse=lambda raw, _: parse_when(raw), example='"06:30"', in_files=False, in_environment=False),
    "run_for": Option(parse=_SPAN, example='"6h"', in_files=False, in_environment=False),
    "give_up_after": Option(parse=_SPAN, example='"2h"'),
    "row_timeout": Option(parse=_SPAN, example='"30m"'),
    # Not in files: a folder's batchrunner.toml must not be able to start a command, or to tell a stranger.
    "notify": Option(parse=_text, example='"notify-send done"', in_files=False, echo=False),
    "price_files": Option(parse=_paths, example='["prices.toml"]', default=()),
    "reserve": Option(parse=_choice("learned", "upper"), example='"learned"', default="learned"),
    "progress": Option(parse=_choice("auto", "live", "plain", "json", "none"), example='"plain"', default="auto"),
    "color": Option(parse=_choice("auto", "always", "never"), example='"never"', default="auto"),
    "max_response": Option(parse=_size, example='"8MiB"', default="32MiB"),
    "ca_file": _OUTSIDE,
    "api_key_file": replace(_OUTSIDE, example='"key.txt"'),
    "no_proxy": _SWITCH,
    "any_owner": _SWITCH,
    "yes": _SWITCH,
    "no_input": _SWITCH,
    "debug": _SWITCH,
    "quiet": _SWITCH,
    "verbose": Option(parse=_count(0, 9), example="1", default=0, in_files=False),
    "tags": Option(parse=_pairs(check_tag), example='{ team = "research" }', default=(), in_environment=False),
    "endpoint": Option(parse=_text, example='"chat"', in_files=False, in_environment=False),
    "model": _WORD,
    "limit": _ROWS,
    "sample": _ROWS,
    "settings": Option(
        parse=_pairs(_setting), example='{ max_tokens = "512" }', default=(), in_files=False, in_environment=False
    ),
}
"""Options at the top level: of the command line, the environment and files."""

CONFIG_FILE: Final = Option(parse=_path, example='"batchrunner.toml"')
"""``--config``: the file that stands in for the working folder's own."""

MODEL_OPTIONS: Final[Mapping[str, Option]] = {"concurrency": _CONCURRENCY, "rpm": _RPM, "tpm": _TPM}
"""What ``[providers.NAME.models."MODEL"]`` may hold."""

PROVIDER_OPTIONS: Final[Mapping[str, Option]] = {
    "base_url": Option(parse=_base_url, example='"https://api.example.com"', echo=False),
    "key_env": Option(parse=_key_env, example='"EXAMPLE_API_KEY"', echo=False),
    "quirks": Option(parse=_choice("together", "openai", "generic"), example='"generic"'),
    "prices": Option(parse=_path, example='"prices.toml"'),
    "deadline": Option(parse=_duration(1, 86_400, "from 1s to 24h"), example='"10m"'),
    **MODEL_OPTIONS,
}
"""What ``[providers.NAME]`` may hold besides ``models``."""
