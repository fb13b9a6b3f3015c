"""Results as CSV, for spreadsheets: one row per request, failures among them."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from batchrunner.core.job import Job
from batchrunner.core.labels import label_of
from batchrunner.core.request import RequestState
from batchrunner.core.usage import TOKENS, Usage
from batchrunner.formats.base import Row, exact_seconds, exact_usd, latency_ms, links
from batchrunner.formats.joined import Joined, Value
from batchrunner.formats.replace import begins_and_ends

COLUMNS = (
    "custom_id", "line", "state", "text", "reasoning", "finish_reason", "model", "endpoint",
    "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
    "images", "pixels", "seconds", "characters", "searches", "usage_from", "cost_usd",
    "latency_ms", "attempts", "flags", "partial", "copy_of", "error_kind", "error_class", "error_message", "job",
    "job_mark",
)  # fmt: skip
LAST = 2
"""Of these, how many stand behind the columns that are joined: a line ends with its job's mark."""
CRLF = "\r\n"
"""Told to the csv module, which quotes no lone CR or LF unless it belongs to the line end; what is written is LF."""
NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
NO_USAGE = (None,) * 9
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""OWASP, CSV injection: what a spreadsheet takes for a formula when a cell begins with it."""

Text = Callable[[str, bytes], tuple[str | None, str | None]]
"""Returns the text of an endpoint's answer and the reasoning apart from it, or None where there is none."""


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice] = []


_finish = msgspec.json.Decoder(_Choices)


class CsvExporter:
    """One row per request, in UTF-8, comma separated, quoted by RFC 4180 and ended by a newline."""

    splits = False

    def __init__(
        self, job: Job, text_of: Text, *, raw: bool = False, artifacts: str = "", joined: Joined | None = None
    ) -> None:
        """``raw`` leaves cells that a spreadsheet takes for formulas as they are; else an apostrophe goes before.

        ``artifacts`` is the artifacts folder as seen from where the results will be: answers that are files have their
        paths for a text, a line each. ``joined`` are columns beside our own.
        """
        self._joined = joined or Joined()
        self._artifacts = artifacts
        self._job = job.name
        self._mark = job.mark
        self._text_of = text_of
        self._cell = _as_it_is if raw else guarded
        self._buffer = io.StringIO(newline="")
        self._writer = csv.writer(self._buffer, lineterminator=CRLF)

    def head(self) -> bytes:
        """Return the line of column names."""
        names = (self._cell(column.name) for column in self._joined.columns)
        return self._record((*COLUMNS[:-LAST], *names, *COLUMNS[-LAST:]))

    def foot(self) -> bytes:
        """Return nothing: the file ends with a row."""
        return b""

    def owns(self, path: Path) -> bool:
        """Tell whether a file has our columns and its last row this job's mark, or no rows. Raises OSError.

        Whichever columns are joined: a job that grew may have more of them.
        """
        begin, end = ",".join(COLUMNS[:-LAST]).encode() + b",", b",%b\n" % self._mark.encode()
        return begins_and_ends(path, begin, end) or begins_and_ends(path, self.head(), end)

    def line(self, row: Row) -> bytes:
        """Return a row as one record. What was kept of an answer that broke off has its text too, and says so."""
        cell = self._cell
        answer = row.body if row.state == RequestState.SUCCEEDED or row.partial else None
        text, reasoning, finish = None, None, None
        if answer is not None:
            text, reasoning = self._text_of(row.endpoint, answer)
            finish = finish_reason(answer)
        if row.artifacts:
            text = "\n".join(links(row, self._artifacts))
        cost = None if row.cost is None else exact_usd(row.cost)
        joined = map(self._value, self._joined.values(row, text, typed=False))
        return self._record(
            (
                cell(row.custom_id), row.line, str(row.state), cell(text), cell(reasoning), cell(finish),
                cell(row.model), cell(row.endpoint), *_amounts(row.usage), row.usage_from, cost,
                latency_ms(row), row.attempts, cell("; ".join(row.flags) or None),
                "true" if row.partial else None, cell(row.copy_of), cell(row.failure),
                label_of(row.status, row.failure), cell(row.message), *joined, cell(self._job), self._mark,
            )
        )  # fmt: skip

    def _value(self, value: Value) -> Value:
        """Return a joined value as a cell: numbers are no formulas, also where the input had them as text."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            return self._cell(value)
        return value

    def _record(self, cells: Iterable[Value]) -> bytes:
        self._writer.writerow(cells)
        record = self._buffer.getvalue().removesuffix(CRLF) + "\n"
        self._buffer.seek(0)
        self._buffer.truncate()
        return record.encode("utf-8", "replace")


def _amounts(usage: Usage | None) -> tuple[int | str | None, ...]:
    """Return what was used by column; a unit that was not counted is left empty."""
    if usage is None:
        return NO_USAGE
    seconds = exact_seconds(usage.milliseconds) if usage.milliseconds else None
    units = (usage.images or None, usage.pixels or None, seconds, usage.characters or None, usage.searches or None)
    return (*usage[:TOKENS], *units)


def guarded(cell: str | None) -> str | None:
    """Return a cell with an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + cell if cell is not None and cell.startswith(FORMULA) else cell


def finish_reason(body: bytes) -> str | None:
    """Return why the first choice of an answer ended, where its format says so (OpenAI's chat and completions)."""
    try:
        choices = _finish.decode(body).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return choices[0].finish_reason if choices else None


def _as_it_is(cell: str | None) -> str | None:
    return cell
