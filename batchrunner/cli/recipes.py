"""What ``prepare`` and ``run --template`` have in common."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from batchrunner.api import Recipe
from batchrunner.core.errors import ConfigurationError, InputError

DATA = (".csv", ".tsv", ".parquet")
"""Suffixes of files that hold no requests."""


def recipe_of(
    template: str | None,
    *,
    system: str | None,
    schema: str | None,
    id_column: str | None,
    keep: Sequence[str],
    form: str | None,
) -> Recipe | None:
    """Return the recipe that options make; None without a template. Raises ConfigurationError."""
    given = {"--system": system, "--schema": schema, "--id": id_column, "--keep": keep, "--format": form}
    if template is None:
        lonely = next((name for name, value in given.items() if value), None)
        if lonely is not None:
            raise ConfigurationError(f"{lonely} needs a template", hint="give one: --template prompt.jinja")
        return None
    kept = columns_of(keep)
    return Recipe(template=template, system=system, schema=schema, id=id_column, keep=kept, form=form)


def refuse_data(path: str, verb: str = "run") -> None:
    """Raise InputError for what holds rows and no requests, before each of its lines is reported as a bad one."""
    folder = Path(path).is_dir()
    tabular = Path(path.lower().removesuffix(".gz")).suffix in DATA
    if folder or (tabular and Path(path).is_file()):
        source = shlex.quote(path)
        raise InputError(
            f"{path} is {'a folder, not a regular file' if folder else 'data, not a job file'}",
            hint=f"make requests of it: batchrunner {verb} {source} --template prompt.jinja; or vectors:"
            f" batchrunner embed {source} -o vectors.parquet",
            path=path,
        )


def columns_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names that options hold, each a list with commas; ``("*",)`` where one of them asks for all."""
    names = dict.fromkeys(name.strip() for each in given for name in each.split(",") if name.strip())
    return ("*",) if "*" in names else tuple(names)
