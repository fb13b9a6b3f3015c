"""How options are spelled: as TOML, as a flag, as a variable; and which one a misspelled name meant."""

import difflib
import re
from collections.abc import Iterable


def dotted(path: tuple[str, ...]) -> str:
    """Return a path as TOML spells it: parts that hold dots or slashes are quoted."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path)


def flag_of(name: str) -> str:
    """Return the flag of an option, without its dashes."""
    return {"tags": "tag", "settings": "set", "run_for": "for"}.get(name, name.replace("_", "-"))


def variable_of(name: str) -> str:
    """Return the environment variable of an option."""
    return f"BATCHRUNNER_{name.upper()}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a mistyped one most likely meant."""
    return next(iter(difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)), None)
