"""Rows and a template, read as the job file that they make: requests, each with the columns that come back joined."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.core.job import JobSource
from batchrunner.formats.naming import Repeats, name_of, own_name, value_of
from batchrunner.formats.records import Record, Records
from batchrunner.formats.source import BOM

if TYPE_CHECKING:  # Jinja2 is imported only where there is a template
    from batchrunner.formats.templates import Template

COLUMNS: Final = "columns"
"""Key of ``metadata`` in a job line: the input columns that are joined to its answer, by name."""
ALL: Final = ("*",)
CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
TEXT_KEYS: Final = {
    "/v1/completions": "prompt",
    "/v1/images/generations": "prompt",
    "/v2/videos": "prompt",
    "/v1/embeddings": "input",
    "/v1/moderations": "input",
    "/v1/audio/speech": "input",
    RESPONSES: "input",
}
"""Where the template's text goes in the body of an endpoint; in chat it is the user's message."""

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How rows become requests."""

    endpoint: str | None = None
    """Path; None: chat, or what a whole body tells by itself."""
    system: str | None = None
    """The system message of every request."""
    schema: tuple[str, bytes] | None = None
    """Name and JSON Schema of the answers that are asked for."""
    id: str | None = None
    """The column that holds the ``custom_id``; None: ``row-12`` by its line or number, of a folder the path."""
    keep: tuple[str, ...] = ()
    """Columns that are joined to the answers; ``("*",)``: all."""
    limit: int | None = None
    """Rows that are taken, from the first."""


class Made(NamedTuple):
    """One request that was made of a row."""

    record: Record
    custom_id: str
    endpoint: str | None
    body: bytes
    kept: bytes | None
    """The columns that are joined to its answer, as a JSON object."""

    def line(self, endpoint: str | None = None, body: bytes | None = None) -> bytes:
        """Return the line of a job file that holds it, or another body in its place, without a line end."""
        endpoint = endpoint or self.endpoint
        url = b"" if endpoint is None else b'"method":"POST","url":%b,' % _encode(endpoint)
        beside = b"" if self.kept is None else b',"metadata":{"%b":%b}' % (COLUMNS.encode(), self.kept)
        return b'{"custom_id":%b,%b"body":%b%b}' % (_encode(self.custom_id), url, body or self.body, beside)


class Prepared:
    """A source of rows and a template as a job file. It can be read several times; nothing of it is held in memory."""

    def __init__(self, records: Records, template: "Template", shape: Shape) -> None:
        """Raise ConfigurationError for a shape that does not go with the template or the endpoint, InputError for a
        column that no row has.
        """
        _refuse_unfit(template, shape)
        self._records = records
        self._template = template
        self._shape = shape
        self.path = records.path
        self.size = records.size
        self.mtime_ns = 0
        """Unknown: a template may have changed where its source did not."""
        for column in (shape.id, *(() if shape.keep == ALL else shape.keep)):
            if column is not None and records.columns is not None and column not in records.columns:
                raise _no_column(column, records.path, records.columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._records.close()

    def fingerprint(self) -> JobSource:
        """Return what this is, by the content of the source, the template and the shape. Raises InputError."""
        shape = self._shape
        parts = (shape.endpoint, shape.system, shape.schema, shape.id, shape.keep, shape.limit)
        told = _encode(("prepared", self._records.sha256, self._template.sha256, self._template.whole, parts))
        return JobSource(path=self.path, sha256=hashlib.sha256(told).hexdigest(), size=self.size, mtime_ns=0)

    def __iter__(self) -> Iterator[Made]:
        """Yield a request for each row. Raises InputError that names the row for whatever can't be made of it."""
        if self._shape.id is None:
            yield from islice(self._all(), self._shape.limit)
            return
        with closing(Repeats("custom_id")) as names:
            for made in islice(self._all(), self._shape.limit):
                names.note(made.custom_id)
                yield made
            names.refuse((self._name(record), record) for record in islice(self._records, self._shape.limit))

    def chunks(self) -> Iterator[bytes]:
        """Yield the lines of the job file. A row of line 12 is on line 12, with blank lines before it where needed."""
        number = 0
        for made in self:
            blank = max(0, made.record.number - number - 1)
            number += blank + 1
            yield b"\n" * blank + made.line() + b"\n"

    def _all(self) -> Iterator[Made]:
        for record in self._records:
            text = self._template.render(record)
            body = text.strip().encode() if self._template.whole else self._body(text)
            yield Made(record, self._name(record), self._endpoint(), body, self._kept(record))

    def _endpoint(self) -> str | None:
        return self._shape.endpoint or (None if self._template.whole else CHAT)

    def _body(self, text: str) -> bytes:
        """Return a body with the text where this endpoint has it."""
        shape, endpoint = self._shape, self._endpoint()
        body: dict[str, object]
        if endpoint == CHAT:
            system = [] if shape.system is None else [{"role": "system", "content": shape.system}]
            body = {"messages": [*system, {"role": "user", "content": text}]}
        else:
            body = {TEXT_KEYS[endpoint or CHAT]: text}
            if shape.system is not None:
                body["instructions"] = shape.system
        if shape.schema is not None:
            name, schema = shape.schema
            wanted = {"name": name, "schema": msgspec.Raw(schema), "strict": True}
            if endpoint == CHAT:
                body["response_format"] = {"type": "json_schema", "json_schema": wanted}
            else:
                body["text"] = {"format": {"type": "json_schema", **wanted}}
        return _encode(body)

    def _name(self, record: Record) -> str:
        column = self._shape.id
        if column is None:
            return own_name(record, "row-{}")
        return name_of(record, column, "custom_id")

    def _kept(self, record: Record) -> bytes | None:
        keep = self._shape.keep
        if not keep:
            return None
        return _encode(record.fields if keep == ALL else {column: value_of(record, column) for column in keep})


def text_or_file(given: str) -> str:
    """Return a text, or for ``@FILE`` what the file holds. Raises InputError."""
    if not given.startswith("@"):
        return given
    return _read(given[1:]).removeprefix(BOM.decode()).rstrip("\n")


def read_schema(path: str) -> tuple[str, bytes]:
    """Return the name, from the file's, and the JSON of a file that holds a JSON Schema. Raises InputError."""
    from pathlib import Path

    from batchrunner.formats.screen import LineProblem, strict

    raw = _read(path).encode()
    try:
        strict(raw)
    except LineProblem as problem:
        line = raw.count(b"\n", 0, problem.column - 1) + 1
        raise InputError(f"{path}:{line}: {problem.reason}", hint="it must hold one JSON object", path=path) from None
    stem = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in Path(path).stem)
    return stem[:64] or "answer", _encode(msgspec.json.decode(raw))


def _read(path: str) -> str:
    from batchrunner.formats.source import open_source

    try:
        with open_source(path) as file:
            file.form = "text"
            return b"".join(file.chunks()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start:,}", path=path) from None


def _refuse_unfit(template: "Template", shape: Shape) -> None:
    if template.whole and (shape.system is not None or shape.schema is not None):
        raise ConfigurationError(
            f"{template.name} makes whole bodies, so --system and --schema have no place",
            hint="put both into the template",
        )
    if template.whole or shape.endpoint in (None, CHAT):
        return
    if shape.endpoint not in TEXT_KEYS:
        raise ConfigurationError(
            f"{shape.endpoint} takes more than one text",
            hint="write a template of the whole body: its name ends in .json.jinja",
        )
    if shape.endpoint != RESPONSES and (shape.system is not None or shape.schema is not None):
        raise ConfigurationError(
            f"{shape.endpoint} has no place for --system or --schema", hint=f"only {CHAT} and {RESPONSES} have"
        )


def _no_column(column: str, path: str, columns: tuple[str, ...]) -> InputError:
    return InputError(f'{path} has no column "{column}"', hint=f"it has {', '.join(columns[:30])}", path=path)
