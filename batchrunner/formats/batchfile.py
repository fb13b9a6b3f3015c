"""The rules of the files that providers take for their own batches: a file may be good for us and be refused there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from batchrunner.core.errors import Problem
from batchrunner.formats.jobfile import Line
from batchrunner.formats.screen import value_at

MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRules:
    """What one provider's batch files must be."""

    name: str
    lines: int
    size: int
    """Bytes."""
    custom_id: int | None
    """Characters of a custom_id at most; None: no bound is published."""
    endpoints: tuple[str, ...]
    needs_url: bool
    """Whether each line says its method and url, the same one on every line."""
    embedding_inputs: int | None = None
    """Texts to embed in a whole file."""


TOGETHER: Final = BatchRules(
    name="together-batch",
    lines=50_000,
    size=100 * MB,
    custom_id=64,
    endpoints=(
        "/v1/chat/completions", "/v1/completions", "/v1/audio/transcriptions", "/v1/audio/translations",
    ),
    needs_url=False,
)  # fmt: skip
OPENAI: Final = BatchRules(
    name="openai-batch",
    lines=50_000,
    size=200 * MB,
    custom_id=None,
    endpoints=(
        "/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations",
        "/v1/images/generations", "/v1/images/edits", "/v1/videos",
    ),
    needs_url=True,
    embedding_inputs=50_000,
)  # fmt: skip

_LINE = msgspec.json.Decoder(dict[str, Any])


class BatchFile:
    """Holds the lines of one file to a provider's rules, one after the other. Repeated ids are not its business."""

    def __init__(self, rules: BatchRules) -> None:
        self._rules = rules
        self._lines = 0
        self._inputs = 0
        self._url: str | None = None
        self._model: str | None = None

    def line(self, line: Line, endpoint: str) -> Iterator[Problem]:
        """Yield what the provider refuses about a line, with the column of the field at fault."""
        rules = self._rules
        found = _LINE.decode(line.raw)
        self._lines += 1
        if self._lines == rules.lines + 1:
            yield Problem(line.number, 1, f"{rules.name} takes at most {rules.lines:,} lines in a file")
        if "body" not in found:
            yield Problem(line.number, 1, f'{rules.name} wants "custom_id" and "body"; this is a bare body')
            return
        yield from (_at(line, *problem) for problem in self._identity(found, endpoint))
        body = found["body"]
        yield from (_in_body(line, *problem) for problem in self._body(body, endpoint))

    def size(self, size: int) -> Iterator[Problem]:
        """Yield what is wrong with the size of the file in bytes."""
        if size > self._rules.size:
            most = self._rules.size // MB
            yield Problem(1, 1, f"{self._rules.name} takes files of at most {most} MB, and this one has {size:,} bytes")

    def _identity(self, found: Mapping[str, Any], endpoint: str) -> Iterator[tuple[str, str]]:
        rules, custom_id = self._rules, found.get("custom_id")
        if custom_id is None:
            yield "custom_id", '"custom_id" is missing: expected a string that no other line has'
        elif rules.custom_id is not None and len(custom_id) > rules.custom_id:
            yield "custom_id", f'"custom_id": expected at most {rules.custom_id} characters, not {len(custom_id)}'
        if endpoint not in rules.endpoints:
            yield "url", f"{rules.name} has no {endpoint}: expected one of {', '.join(rules.endpoints)}"
        if not rules.needs_url:
            return
        if found.get("method") != "POST":
            yield "method", '"method" is missing: expected "POST"'
        if found.get("url") is None:
            yield "url", f'"url" is missing: expected "{endpoint}"'
        self._url = self._url or endpoint
        if endpoint != self._url:
            yield "url", f'"url": expected "{self._url}" as on the first line: a batch is of one endpoint'

    def _body(self, body: Mapping[str, Any], endpoint: str) -> Iterator[tuple[str, str]]:
        rules, model = self._rules, body.get("model")
        if body.get("stream"):
            yield "stream", "`stream`: expected false or nothing: a batch does not stream"
        self._model = self._model or model
        if model != self._model:
            yield "model", f"`model`: expected {self._model!r} as on the first line: a batch is of one model"
        if endpoint == "/v1/embeddings" and rules.embedding_inputs is not None:
            before, given = self._inputs, body.get("input")
            self._inputs += len(given) if isinstance(given, list) and given and isinstance(given[0], str) else 1
            if before <= rules.embedding_inputs < self._inputs:
                yield "input", f"`input`: {rules.name} embeds at most {rules.embedding_inputs:,} texts in a file"


def _at(line: Line, key: str, reason: str) -> Problem:
    return Problem(line.number, line.column(key), reason)


def _in_body(line: Line, key: str, reason: str) -> Problem:
    start = value_at(line.raw, "body")
    return Problem(line.number, value_at(line.raw, key, start) + 1, reason)
