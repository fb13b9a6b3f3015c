"""The words that tables are written in: our column types, names of constraints, and strictness."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, MetaData, Table, Text, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

Whole = BigInteger().with_variant(Integer(), "sqlite")
"""64-bit integers; SQLite's strict tables know them as INTEGER."""


def whole(name: str, *parts: Any, default: int | None = None) -> Column[int]:
    """Declare an integer that is always known."""
    return Column(name, Whole, *parts, nullable=False, server_default=None if default is None else text(str(default)))


def maybe_whole(name: str) -> Column[int]:
    """Declare an integer that may be unknown."""
    return Column(name, Whole)


def words(name: str, *parts: Any, default: str | None = None) -> Column[str]:
    """Declare a text that is always known."""
    return Column(name, Text, *parts, nullable=False, server_default=None if default is None else text(f"'{default}'"))


def maybe_words(name: str) -> Column[str]:
    """Declare a text that may be unknown."""
    return Column(name, Text)


def key() -> Column[int]:
    """Declare a table's own id."""
    return Column("id", Whole, primary_key=True)


def part(name: str, kind: Any = Whole) -> Column[Any]:
    """Declare a part of a rollup's key."""
    return Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def among(column: str, *values: str) -> CheckConstraint:
    """Allow these words in a column, and no others.

    Spelled with OR: SQLite builds a temporary index each time it looks at a list, and five lists on the attempts cost
    as much as everything else that is done to them.
    """
    return CheckConstraint(" OR ".join(f"{column} = '{value}'" for value in values), name=column)


def later(column: Column[Any]) -> Column[Any]:
    """Declare a column that a migration added to its table: ``schema.create`` adds it in the same way."""
    column.info["later"] = True
    return column


@compiles(CreateColumn, "sqlite")
def _create_column(element: CreateColumn, compiler: Any, **options: Any) -> Any:
    """Leave out what is added later, so that a new file's schema has the text of a migrated one's."""
    return None if element.element.info.get("later") else compiler.visit_create_column(element, **options)


def table(name: str, *parts: Any, rowid: bool = True) -> Table:
    """Declare a strict table: SQLite then holds every value to its column's type."""
    return Table(name, metadata, *parts, sqlite_strict=True, sqlite_with_rowid=rowid)
