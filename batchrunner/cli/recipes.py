"""What ``prepare`` and ``run --template`` have in common."""

from collections.abc import Sequence

from batchrunner.api import Recipe
from batchrunner.core.errors import ConfigurationError


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


def columns_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names that options hold, each a list with commas; ``("*",)`` where one of them asks for all."""
    names = dict.fromkeys(name.strip() for each in given for name in each.split(",") if name.strip())
    return ("*",) if "*" in names else tuple(names)
