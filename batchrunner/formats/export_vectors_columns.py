"""The kept columns of a corpus: which types they have, and their values for Parquet and Arrow.

A column's type is decided by all of its values, in a pass of its own before anything is written. Types that are taken
from the first rows are a trap: the column that turns from whole to broken numbers, or has its first text, in the last
of ten million rows can't be written any more, and the shards before it are on the disk already.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from batchrunner.core.errors import DatabaseError

if TYPE_CHECKING:
    import pyarrow as pa

EXACT = 1 << 53
"""Whole numbers up to this are doubles without loss."""
LONGEST = 19
"""Digits of the largest 64-bit integer."""


class Kind(StrEnum):
    """What a column holds. Every column may hold null, too."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    """64 bits, with a sign."""
    FLOAT = "float"
    """Doubles. Whole numbers among them are exact: a column with one that would not be is text."""
    TEXT = "text"
    """Strings as they are, anything else as JSON spells it: for mixed columns, and those that hold nothing but null."""
    JSON = "json"
    """JSON texts, strings in their quotes: for columns with a list or an object anywhere."""


class KeptColumn(NamedTuple):
    """A column that is carried along with the vectors."""

    name: str
    kind: Kind


_BOOLEAN, _INTEGER, _WIDE, _FLOAT, _TEXT, _NESTED = (1 << n for n in range(6))
_DECODE = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_STRING = msgspec.json.Decoder(str).decode


def columns_of(kept: Iterable[bytes]) -> tuple[KeptColumn, ...]:
    """Return the columns of all these JSON objects, in the order of their first appearance, each with its type.

    Reads everything once and holds one figure a column.
    """
    seen: dict[str, int] = {}
    for row in _rows(kept):
        for name, value in row.items():
            seen[name] = seen.get(name, 0) | _sort(bytes(value))
    return tuple(KeptColumn(name, _kind(found)) for name, found in seen.items())


def _rows(kept: Iterable[bytes]) -> Iterator[dict[str, msgspec.Raw]]:
    for text in kept:
        try:
            yield _DECODE(text) if text else {}
        except msgspec.DecodeError:  # half a surrogate pair: JSON all the same, and no text that could be written
            sound = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
            yield _DECODE(sound)


def _sort(value: bytes) -> int:
    first = value[:1]
    if first == b'"':
        return _TEXT
    if first in b"tf":
        return _BOOLEAN
    if first == b"n":
        return 0
    return _NESTED if first in b"[{" else _number(value)


def _number(value: bytes) -> int:
    """Return what kind of number this is; one that neither 64 bits nor a double can hold is as good as a text."""
    if b"." in value or b"e" in value or b"E" in value:
        return _FLOAT if math.isfinite(float(value)) else _TEXT
    if len(value) > LONGEST + 1:
        return _TEXT
    number = int(value)
    if -EXACT <= number <= EXACT:
        return _INTEGER
    return _WIDE if -(1 << 63) <= number < 1 << 63 else _TEXT


def _kind(found: int) -> Kind:
    if found & _NESTED:
        return Kind.JSON
    if found == _BOOLEAN:
        return Kind.BOOLEAN
    if found and not found & ~(_INTEGER | _WIDE):
        return Kind.INTEGER
    if found and not found & ~(_INTEGER | _FLOAT):
        return Kind.FLOAT
    return Kind.TEXT


def fields(columns: Sequence[KeptColumn]) -> "list[pa.Field]":
    """Return the Arrow fields of kept columns; those of JSON texts say so in their metadata."""
    import pyarrow as pa

    types = {
        Kind.BOOLEAN: pa.bool_(),
        Kind.INTEGER: pa.int64(),
        Kind.FLOAT: pa.float64(),
        Kind.TEXT: pa.string(),
        Kind.JSON: pa.string(),
    }
    return [
        pa.field(name, types[kind], metadata={"batchrunner.kind": "json"} if kind is Kind.JSON else None)
        for name, kind in columns
    ]


def values(kept: Sequence[bytes], columns: Sequence[KeptColumn]) -> list[list[Any]]:
    """Return for each column its values in these rows, None for null and for a row that lacks it.

    Raises DatabaseError for a column that is not among ``columns``, or a value that is not of its type.
    """
    if not columns and not any(len(text) > 2 for text in kept):
        return []
    names = {column.name for column in columns}
    rows = list(_rows(kept))
    for row in rows:
        if not row.keys() <= names:
            raise _unknown(sorted(row.keys() - names)[0])
    return [_column(rows, column) for column in columns]


def _column(rows: Sequence[dict[str, msgspec.Raw]], column: KeptColumn) -> list[Any]:
    name, kind = column
    found = []
    for row in rows:
        value = row.get(name)
        found.append(None if value is None else bytes(value))
    try:
        return [None if value is None or value == b"null" else _value(value, kind) for value in found]
    except (ValueError, KeyError) as error:
        raise _unknown(name) from error


def _value(value: bytes, kind: Kind) -> Any:
    match kind:
        case Kind.TEXT:
            return _STRING(value) if value[:1] == b'"' else value.decode()
        case Kind.JSON:
            return value.decode()
        case Kind.INTEGER:
            return int(value)
        case Kind.FLOAT:
            return float(value)
        case Kind.BOOLEAN:
            return {b"true": True, b"false": False}[value]


def _unknown(name: str) -> DatabaseError:
    return DatabaseError(
        f"the kept column {name!r} is not what was found of it before",
        hint="export again: the corpus changed meanwhile",
    )
