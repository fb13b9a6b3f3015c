"""What can be set, by what, and how each value is read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

from batchrunner.config import parsers
from batchrunner.config.assignments import check_tag
from batchrunner.config.naming import dotted, flag_of, variable_of
from batchrunner.config.parsers import Parse, Place
from batchrunner.config.units import parse_money, parse_when, shown
from batchrunner.core.errors import ConfigurationError


class Layer(IntEnum):
    """Where values come from; a higher layer beats a lower one."""

    DEFAULT = 0
    USER = 1
    PROJECT = 2
    ENVIRONMENT = 3
    FLAG = 4


class Given(NamedTuple):
    """One checked value from one source."""

    path: tuple[str, ...]
    """Such as ``("providers", "together", "rpm")``."""
    value: object
    layer: Layer
    source: str


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


_CONCURRENCY: Final = Option(parse=parsers.or_auto(parsers.count(1, 100_000)), example="64")
_RPM: Final = Option(parse=parsers.or_auto(parsers.rate), example='"3k"')
_TPM: Final = Option(parse=parsers.or_auto(parsers.rate), example='"2M"')
_ROWS: Final = Option(parse=parsers.count(1, 10**12), example="100", in_files=False, in_environment=False)
_WORD: Final = Option(parse=parsers.text, example='"MODEL"', in_files=False, in_environment=False)
_OUTSIDE: Final = Option(parse=parsers.path, example='"certificates.pem"', in_files=False)
"""A path that decides whom we trust: a project file, which may have come with somebody's job file, must not."""
_SPAN: Final = parsers.duration(1, 31_536_000, "from 1s to 365d")
_SWITCH: Final = Option(parse=parsers.switch, example="true", default=False, in_files=False)

OPTIONS: Final[Mapping[str, Option]] = {
    "db": Option(parse=parsers.path, example='"batchrunner.db"', default="batchrunner.db"),
    "db_timeout": Option(parse=parsers.duration(0, 3_600, "from 0s to 1h"), example='"60s"', default="60s"),
    "unsafe_fs": Option(parse=parsers.switch, example="true", default=False),
    "accept_older": _SWITCH,
    "provider": Option(parse=parsers.provider_name, example='"together"', default="together"),
    "concurrency": _CONCURRENCY,
    "rpm": _RPM,
    "tpm": _TPM,
    "confirm_above": Option(parse=lambda raw, _: parse_money(raw), example='"12.50"', default="1.00"),
    "grace": Option(parse=parsers.duration(0, 86_400, "from 0s to 24h"), example='"60s"', default="60s"),
    "max_tries": Option(parse=parsers.count(1, 100), example="5", default=5),
    "repair": Option(parse=parsers.count(0, 10), example="2", default=0),
    "raise_cap": Option(parse=parsers.factor, example='"2x"'),
    "on_pause": Option(parse=parsers.choice("wait", "exit"), example='"wait"'),
    "until": Option(parse=lambda raw, _: parse_when(raw), example='"06:30"', in_files=False, in_environment=False),
    "run_for": Option(parse=_SPAN, example='"6h"', in_files=False, in_environment=False),
    "give_up_after": Option(parse=_SPAN, example='"2h"'),
    "row_timeout": Option(parse=_SPAN, example='"30m"'),
    "poll_for": Option(parse=_SPAN, example='"6h"', default="6h"),
    # Not in files: a folder's batchrunner.toml must not be able to start a command, or to tell a stranger.
    "notify": Option(parse=parsers.text, example='"notify-send done"', in_files=False, echo=False),
    "price_files": Option(parse=parsers.paths, example='["prices.toml"]', default=()),
    "reserve": Option(parse=parsers.choice("learned", "upper"), example='"learned"', default="learned"),
    "progress": Option(
        parse=parsers.choice("auto", "live", "plain", "json", "none"), example='"plain"', default="auto"
    ),
    "color": Option(parse=parsers.choice("auto", "always", "never"), example='"never"', default="auto"),
    "idle_timeout": Option(parse=parsers.duration(1, 3_600, "from 1s to 1h"), example='"60s"', default="60s"),
    "keep_partial": Option(parse=parsers.switch, example="true", default=False),
    "stream": replace(_SWITCH, in_environment=False),
    "dedupe": replace(_SWITCH, in_environment=False),
    "max_response": Option(parse=parsers.size, example='"8MiB"', default="32MiB"),
    "ca_file": _OUTSIDE,
    # Nor may it name the folder whose files are sent: the job file that came with it would choose among ours.
    "attachments": replace(_OUTSIDE, example='"photos"'),
    "tokenizer": replace(_OUTSIDE, example='"tokenizer.json"'),
    "api_key_file": replace(_OUTSIDE, example='"key.txt"'),
    "no_proxy": _SWITCH,
    "any_owner": _SWITCH,
    "yes": _SWITCH,
    "no_input": _SWITCH,
    "debug": _SWITCH,
    "quiet": _SWITCH,
    "verbose": Option(parse=parsers.count(0, 9), example="1", default=0, in_files=False),
    "tags": Option(parse=parsers.pairs(check_tag), example='{ team = "research" }', default=(), in_environment=False),
    "endpoint": Option(parse=parsers.text, example='"chat"', in_files=False, in_environment=False),
    "model": _WORD,
    "limit": _ROWS,
    "sample": _ROWS,
    "settings": Option(
        parse=parsers.pairs(parsers.setting),
        example='{ max_tokens = "512" }',
        default=(),
        in_files=False,
        in_environment=False,
    ),
}
"""Options at the top level: of the command line, the environment and files."""

CONFIG_FILE: Final = Option(parse=parsers.path, example='"batchrunner.toml"')
"""``--config``: the file that stands in for the working folder's own."""

MODEL_OPTIONS: Final[Mapping[str, Option]] = {"concurrency": _CONCURRENCY, "rpm": _RPM, "tpm": _TPM}
"""What ``[providers.NAME.models."MODEL"]`` may hold."""

PACK_OPTIONS: Final[Mapping[str, Option]] = {
    "pack_texts": Option(parse=parsers.count(1, 100_000), example="100"),
    "pack_tokens": Option(parse=parsers.count(1, 10**9), example='"300k"'),
    "text_tokens": Option(parse=parsers.count(1, 10**9), example="512"),
    "dimensions": Option(parse=parsers.count(1, 100_000), example="1024"),
}
"""What a provider or a model may say of embedding, besides: of what one request takes, and how long its vectors are."""

PROVIDER_OPTIONS: Final[Mapping[str, Option]] = {
    "base_url": Option(parse=parsers.base_url, example='"https://api.example.com"', echo=False),
    "key_env": Option(parse=parsers.key_env, example='"EXAMPLE_API_KEY"', echo=False),
    "quirks": Option(parse=parsers.choice("together", "openai", "generic"), example='"generic"'),
    "prices": Option(parse=parsers.path, example='"prices.toml"'),
    "deadline": Option(parse=parsers.duration(1, 86_400, "from 1s to 24h"), example='"10m"'),
    **MODEL_OPTIONS,
    **PACK_OPTIONS,
}
"""What ``[providers.NAME]`` may hold besides ``models``."""
