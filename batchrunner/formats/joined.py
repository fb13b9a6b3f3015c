"""Columns beside the answers: those of the input that were kept, and fields of answers that are JSON.

Which there are, and of which types, is only known when all rows were looked at; so it is surveyed before an export.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.base import Row
from batchrunner.formats.prepared import COLUMNS

MOST_COLUMNS: Final = 2_000
"""An input that has other columns in every row is no table."""
ALL: Final = ("*",)
_LONGEST_INT: Final = 1 << 63
_EXACT_INT: Final = 1 << 53
_FENCED: Final = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)

Value = str | int | float | bool | None


class Kind(StrEnum):
    """What the values of a column are."""

    EMPTY = "empty"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "text"
    """Also of columns with several types: text as it is, all else as JSON."""


class Column(NamedTuple):
    """One column that is joined."""

    name: str
    """What it is called in the export."""
    key: str
    """The input's column, or the answer's field: ``a``, or ``a.b`` for a field of a field."""
    kind: Kind


class Survey:
    """Learns which columns there are, in the order in which they are met, and of which kinds they are."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._large: set[str] = set()

    def add(self, values: Mapping[str, object]) -> None:
        """Look at one row. Raises ConfigurationError for more columns than a table has."""
        for key, value in values.items():
            self._kinds[key] = _common(self._kinds.get(key, Kind.EMPTY), _kind(value))
            if isinstance(value, int) and abs(value) > _EXACT_INT:
                self._large.add(key)
        if len(self._kinds) > MOST_COLUMNS:
            raise ConfigurationError(
                f"there are more than {MOST_COLUMNS:,} different columns to be joined", hint="export to .jsonl"
            )

    def kinds(self) -> dict[str, Kind]:
        """Return the columns with what holds all of their values exactly."""
        inexact = {key for key in self._large if self._kinds[key] is Kind.FLOAT}
        return {key: Kind.TEXT if key in inexact else kind for key, kind in self._kinds.items()}


class Joined:
    """The columns that an export has beside its own."""

    def __init__(
        self,
        kept: Mapping[str, Kind] | None = None,
        fields: Mapping[str, Kind] | None = None,
        own: Collection[str] = (),
    ) -> None:
        """``own`` are names that are taken: ``input.`` or ``answer.`` goes before a column that has one of them."""
        taken = set(own)
        self._kept = [Column(_free(key, "input.", taken), key, kind) for key, kind in (kept or {}).items()]
        self._fields = [Column(_free(key, "answer.", taken), key, kind) for key, kind in (fields or {}).items()]
        self.columns = (*self._kept, *self._fields)

    def values(self, row: Row, text: str | None, *, typed: bool = True) -> list[Value]:
        """Return a row's values in the order of ``columns``, None where it has none: ``typed`` as the column has them,
        else each as it is, only lists and objects as JSON.
        """
        kept = kept_columns(row.extras) if self._kept else {}
        fields = answer_fields(text, [each.key for each in self._fields]) if self._fields else {}
        return [
            *(_as(each.kind if typed else Kind.EMPTY, kept.get(each.key)) for each in self._kept),
            *(_as(each.kind if typed else Kind.EMPTY, fields.get(each.key)) for each in self._fields),
        ]


class _Metadata(msgspec.Struct, gc=False):
    columns: Any = None


class _Extras(msgspec.Struct, gc=False):
    metadata: _Metadata | None = None


_extras: Callable[[bytes], _Extras] = msgspec.json.Decoder(_Extras).decode
_object: Callable[[str], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def kept_columns(extras: bytes | None) -> dict[str, object]:
    """Return the input columns that a job line kept under ``metadata.columns``; none where it holds no object."""
    if extras is None or COLUMNS.encode() not in extras:
        return {}
    try:
        metadata = _extras(extras).metadata
    except _BROKEN:
        return {}
    found = None if metadata is None else metadata.columns
    return found if isinstance(found, dict) else {}


def answer_fields(text: str | None, wanted: Collection[str]) -> dict[str, object]:
    """Return these fields (``("*",)``: all on top) of an answer that is a JSON object, bare or in a fenced block."""
    if text is None or "{" not in text:
        return {}
    fenced = _FENCED.search(text)
    try:
        found = _object(fenced[1] if fenced is not None and not text.lstrip().startswith("{") else text)
    except _BROKEN:
        return {}
    if tuple(wanted) == ALL:
        return dict(found)
    return {key: value for key in wanted if (value := _at(found, key)) is not None}


def survey_kept(extras: Iterable[bytes]) -> dict[str, Kind]:
    """Return the columns that a job's lines kept, with their kinds."""
    survey = Survey()
    for each in extras:
        survey.add(kept_columns(each))
    return survey.kinds()


def survey_fields(texts: Iterable[str | None], wanted: Collection[str]) -> dict[str, Kind]:
    """Return the wanted fields of answers, with their kinds; one that no answer has is an empty column."""
    survey = Survey()
    for text in texts:
        survey.add(answer_fields(text, wanted))
    found = survey.kinds()
    return found if tuple(wanted) == ALL else {key: found.get(key, Kind.EMPTY) for key in wanted}


def _at(found: dict[str, Any], key: str) -> object:
    if key in found:
        return found[key]
    value: object = found
    for step in key.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _kind(value: object) -> Kind:
    if value is None:
        return Kind.EMPTY
    if isinstance(value, bool):
        return Kind.BOOL
    if isinstance(value, int):
        return Kind.INT if -_LONGEST_INT <= value < _LONGEST_INT else Kind.TEXT
    return Kind.FLOAT if isinstance(value, float) else Kind.TEXT


def _common(one: Kind, other: Kind) -> Kind:
    if one is other or other is Kind.EMPTY:
        return one
    if one is Kind.EMPTY:
        return other
    return Kind.FLOAT if {one, other} == {Kind.INT, Kind.FLOAT} else Kind.TEXT


def _as(kind: Kind, value: Any) -> Value:
    """Return a value as its column holds it."""
    if value is None or isinstance(value, str):
        return value
    if kind is Kind.FLOAT:
        return float(value)
    if kind is Kind.TEXT or isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    kept: Value = value
    return kept


def _free(key: str, before: str, taken: set[str]) -> str:
    name = key
    while name in taken:
        name = before + name
    taken.add(name)
    return name
