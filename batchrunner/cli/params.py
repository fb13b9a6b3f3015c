"""Types of the command line's values: human units, tags and settings, with messages that show how to write them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from batchrunner.config import parse_count, parse_duration, parse_money, parse_rate, parse_setting, parse_tag

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any, Any]
else:
    _ParamType = click.ParamType  # generic only from click 8.4 on


class Parsed(_ParamType):
    """A type that reads text with one of the configuration's readers; anything but text is taken as read already."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value. Text that can't be read is a usage error that holds an example."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


COUNT = Parsed("count", parse_count)
"""A whole number: ``500``, ``3k``, ``2M``."""

RATE = Parsed("rate", parse_rate)
"""A rate per minute: ``600``, ``3k``, ``0.3``."""


def _or_auto(parse: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: "auto" if text.strip() == "auto" else parse(text)


COUNT_OR_AUTO = Parsed("count|auto", _or_auto(parse_count))
"""A whole number, or ``auto``: learned."""

RATE_OR_AUTO = Parsed("rate|auto", _or_auto(parse_rate))
"""A rate per minute, or ``auto``: learned."""

DURATION = Parsed("duration", parse_duration)
"""Seconds: ``50ms``, ``10s``, ``5m``, ``1h30m``."""

MONEY = Parsed("money", parse_money)
"""Pico-dollars: ``12.50``, ``$12.50``."""

TAG = Parsed("key=value", parse_tag)
"""A pair: ``team=research``."""

SETTING = Parsed("key=value", parse_setting)
"""A pair of a body's key and JSON text: ``max_tokens=512``, ``stop=END``."""
