"""``config``: settings, and where each came from."""

from pathlib import Path
from typing import Any

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table
from batchrunner.config import Loaded, user_folder
from batchrunner.config.load import PROJECT_FILE, USER_FILE

MONEY = ("confirm_above",)
"""Settings that are held in pico-dollars."""


@click.group()
def command() -> None:
    """Show settings, and where each came from."""


@verb(name="show")
@json_option
def show(loaded: Loaded, as_json: bool) -> None:
    """List every setting with its value and the flag, variable or line of a file that set it. Keys are never shown.

    A later one wins: default, the user's file, the project's file, .env (keys only), environment, flag.

    \b
    Examples:
      batchrunner config show
      batchrunner config show --json
    """
    values = [(name, _plain(name, origin.value), origin.source) for name, origin in sorted(loaded.origins.items())]
    if as_json:
        facts = [{"name": name, "value": value, "origin": source} for name, value, source in values]
        print_json({"schema": "batchrunner.config/1", "settings": facts})
        return
    table(("setting", "value", "origin"), [(name, _shown(value), source) for name, value, source in values])


@verb(name="path")
@json_option
def path(loaded: Loaded, as_json: bool) -> None:
    """Show where configuration files are looked for, and which of them are there.

    \b
    Examples:
      batchrunner config path
    """
    folder = user_folder()
    user = folder / USER_FILE if folder else None
    read = [origin.source for origin in loaded.origins.values() if origin.source.startswith("file ")]
    project = Path.cwd() / PROJECT_FILE
    files = [("user", user), ("project", project), ("keys", Path.cwd() / ".env"), *_named(read, user, project)]
    facts = [(kind, file, file.is_file()) for kind, file in files if file is not None]
    if as_json:
        listed = [{"kind": kind, "path": str(file), "exists": there} for kind, file, there in facts]
        print_json({"schema": "batchrunner.config-path/1", "files": listed})
        return
    table(("kind", "path", "is there"), [(kind, str(file), "yes" if there else "no") for kind, file, there in facts])


def _named(sources: list[str], user: Path | None, project: Path) -> list[tuple[str, Path]]:
    """Return the file that --config or its variable named, as the origins of its values tell it."""
    files = dict.fromkeys(Path(source.removeprefix("file ").rpartition(":")[0]) for source in sources)
    return [("named", file) for file in files if file not in (user, project) and file.name != ".env" and file.name]


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON types: paths as text, money in dollars."""
    if name in MONEY and isinstance(value, int):
        return exact(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain("", each) for each in value]
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join("=".join(map(str, each)) if isinstance(each, list) else str(each) for each in value) or "-"
    return str(value)


command.add_command(show)
command.add_command(path)
