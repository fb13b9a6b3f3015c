"""Rows of data, read as the texts of a corpus: which column is embedded, which one names it, which come along."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from batchrunner.core.corpus import Text
from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.formats.export_vectors_base import RESERVED
from batchrunner.formats.naming import Repeats, name_of, own_name, refused_row, value_of
from batchrunner.formats.records import Record, Records

ALL: Final = ("*",)
NOTHING: Final = b"{}"

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFields:
    """Which columns of a row are what."""

    text: str = "text"
    id: str | None = None
    """None: the number of the line or row; of a folder the file's path."""
    keep: tuple[str, ...] = ()
    """``("*",)``: all but the text and the name."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a kept column with the name of one that is written beside it."""
        for column in self.keep:
            if column.lower() in RESERVED:
                raise ConfigurationError(
                    f"the column {column!r} can't be kept: what is written beside the vectors has that name",
                    hint="the name of each text is there anyway; rename other columns in the source",
                )

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """The columns that are read; None: all."""
        return None if self.keep == ALL else (self.text, *([] if self.id is None else [self.id]), *self.keep)


class Texts:
    """The texts of a source, in its order. It can be read several times; memory does not grow with it. Close it."""

    def __init__(self, records: Records, fields: TextFields) -> None:
        """Raise InputError for a column that no row has."""
        self._records = records
        self._fields = fields
        self.path = records.path
        self.size = records.size
        for column in fields.wanted or (fields.text, fields.id):
            if column is not None and records.columns is not None and column not in records.columns:
                raise InputError(
                    f'{self.path} has no column "{column}"',
                    hint=f"--{self._asked_as(column)} takes one of {', '.join(records.columns[:30])}",
                    path=self.path,
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()

    @property
    def sha256(self) -> str:
        """Hex digest of the content, and of what is read of it. Raises InputError."""
        fields = self._fields
        return hashlib.sha256(_encode([self._records.sha256, fields.text, fields.id, fields.keep])).hexdigest()

    def __iter__(self) -> Iterator[Text]:
        """Yield the texts. Raises InputError that names the row for what is no text, and for a name used twice."""
        if self._fields.id is None:
            yield from (self._text(record) for record in self._records)
            return
        with closing(Repeats("the name")) as names:
            note = names.note
            for record in self._records:
                text = self._text(record)
                note(text.id)
                yield text
            names.refuse((self._name(record), record) for record in self._records)

    def _text(self, record: Record) -> Text:
        text = record.fields.get(self._fields.text)
        if not isinstance(text, str):
            text = self._odd(record)
        return Text(self._name(record), text, self._kept(record) if self._fields.keep else NOTHING)

    def _odd(self, record: Record) -> str:
        """Return the empty text for a cell without a value, which is as empty; raise InputError for what is no text."""
        value = value_of(record, self._fields.text)
        if value is not None:
            raise refused_row(record, f'the column "{self._fields.text}" holds no text, but {_told(value)}')
        return ""

    def _asked_as(self, column: str) -> str:
        return "text" if column == self._fields.text else "id" if column == self._fields.id else "keep"

    def _name(self, record: Record) -> str:
        if self._fields.id is not None:
            return name_of(record, self._fields.id, "name")
        return own_name(record)

    def _kept(self, record: Record) -> bytes:
        fields = self._fields
        if fields.keep != ALL:
            return _encode({column: value_of(record, column) for column in fields.keep})
        kept = {name: value for name, value in record.fields.items() if name not in (fields.text, fields.id)}
        odd = next((name for name in kept if name.lower() in RESERVED), None)
        if odd is not None:
            raise refused_row(
                record, f'the column "{odd}" can\'t be kept: what is written beside the vectors has that name'
            )
        return _encode(kept)


def _told(value: object) -> str:
    return "a number" if isinstance(value, int | float) and not isinstance(value, bool) else f"a {type(value).__name__}"
