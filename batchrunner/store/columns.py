"""The words that tables are written in: our column types, names of constraints, and strictness."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn, ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

ADDED = "added by a migration"

Whole = BigInteger().with_variant(Integer(), "sqlite")
"""64-bit integers; SQLite's strict tables know them as INTEGER."""


def whole(name: str, *parts: Any, default: int | None = None) -> Column[int]:
    """Declare an integer that is always known."""
    return Column(name, Whole, *parts, nullable=False, server_default=None if default is None else text(str(default)))


def maybe_whole(name: str) -> Column[int]:
    """Declare an integer that may be unknown."""
    return Column(name, Whole)


def added(column: Column[Any]) -> Column[Any]:
    """Mark a column that a migration added to a table that was there: new files get it in the same way.

    ``ALTER TABLE`` leaves its own mark in a table's text, and new and migrated files are to be alike to the letter.
    """
    column.info[ADDED] = True
    return column


def added_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that a table was not created with, in the order in which they were added."""
    return [column for column in table.columns if ADDED in column.info]


def added_index(index: Index) -> Index:
    """Mark an index that a migration added: new files get it after such columns, which it may be one of."""
    index.info[ADDED] = True
    return index.ddl_if(callable_=lambda *_, **__: False)


def added_indexes(table: Table) -> list[Index]:
    """Return the indexes that a table was not created with."""
    return [index for index in table.indexes if ADDED in index.info]


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


def table(name: str, *parts: Any, rowid: bool = True) -> Table:
    """Declare a strict table: SQLite then holds every value to its column's type."""
    return Table(name, metadata, *parts, sqlite_strict=True, sqlite_with_rowid=rowid)


class AddColumn(ExecutableDDLElement):
    """``ALTER TABLE ... ADD COLUMN`` for one column."""

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


@compiles(AddColumn)
def _add(element: AddColumn, compiler: DDLCompiler, **_: Any) -> str:
    column = element.column
    return f"ALTER TABLE {column.table.name} ADD COLUMN {compiler.get_column_specification(column)}"


@compiles(CreateColumn)
def _create(element: CreateColumn, compiler: DDLCompiler, **more: Any) -> str | None:
    """Leave what is added afterwards out of CREATE TABLE."""
    if ADDED in element.element.info:
        return None
    column: str | None = compiler.visit_create_column(element, **more)  # type: ignore[no-untyped-call]
    return column
