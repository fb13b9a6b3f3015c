"""Configuration: what holds, and where it came from.

Precedence: defaults < user file < project file < ``.env`` (keys only) < environment < flags.
"""

from batchrunner.config.assignments import parse_setting, parse_tag
from batchrunner.config.dotenv import DotEnv
from batchrunner.config.keys import fingerprint, key_for, key_source
from batchrunner.config.load import Loaded, load_here, load_settings, user_folder
from batchrunner.config.settings import (
    DEFAULT_CONCURRENCY,
    LaneLimits,
    ModelLimits,
    Origin,
    ProviderSettings,
    Settings,
    limits_for,
    packs_for,
)
from batchrunner.config.units import PICO, parse_count, parse_duration, parse_money, parse_rate, parse_size

__all__ = [
    "DEFAULT_CONCURRENCY",
    "PICO",
    "DotEnv",
    "LaneLimits",
    "Loaded",
    "ModelLimits",
    "Origin",
    "ProviderSettings",
    "Settings",
    "fingerprint",
    "key_for",
    "key_source",
    "limits_for",
    "load_here",
    "load_settings",
    "packs_for",
    "parse_count",
    "parse_duration",
    "parse_money",
    "parse_rate",
    "parse_setting",
    "parse_size",
    "parse_tag",
    "user_folder",
]
