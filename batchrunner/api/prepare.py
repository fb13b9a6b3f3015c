"""Job files from data: rows and a template become requests, checked as a load would check them."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from batchrunner.config import Settings
from batchrunner.core.errors import ConfigurationError, InputError, Problem
from batchrunner.core.request import NewRequest
from batchrunner.formats.base import STDOUT
from batchrunner.formats.jobfile import Line, parse_line
from batchrunner.formats.prepared import ALL, Made, Prepared, Shape, read_schema, text_or_file
from batchrunner.formats.records import open_records
from batchrunner.formats.replace import Replacement, disk_error, is_regular, sweep
from batchrunner.formats.screen import LineProblem
from batchrunner.runner.compile import Compiler
from batchrunner.runner.loader import refuse_own_files
from batchrunner.wiring import attachments

if TYPE_CHECKING:
    from batchrunner.formats.templates import Template
JOB_FILES = (".jsonl", ".ndjson")
"""Suffixes of what is written: it is never compressed, and no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What makes requests of rows, beside what changes every body (model, settings, endpoint)."""

    template: str
    """Path of a Jinja2 template: of the user's message, or (``.json.jinja``) of the whole body."""
    system: str | None = None
    """A text, or ``@FILE``."""
    schema: str | None = None
    """Path of a JSON Schema that answers are asked to follow."""
    id: str | None = None
    """Column of the ``custom_id``."""
    keep: tuple[str, ...] = ()
    """Columns that come back beside the answers; ``("*",)``: all."""
    form: str | None = None
    """``jsonl, csv, tsv, parquet, txt``; None: by the suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """What ``prepare`` wrote."""

    out: str
    requests: int
    est_in: int
    """Input tokens, estimated."""


def open_prepared(
    source: str, recipe: Recipe, settings: Settings, *, limit: int | None = None, stdin: BinaryIO | None = None
) -> Prepared:
    """Open a source with a template, as a job file. Raises InputError, ConfigurationError; close it."""
    from batchrunner.formats.templates import read_template  # Jinja2: not for those who have job files

    template = read_template(recipe.template)
    shape = Shape(
        endpoint=_endpoint(settings),
        system=None if recipe.system is None else text_or_file(recipe.system),
        schema=None if recipe.schema is None else read_schema(recipe.schema),
        id=recipe.id,
        keep=recipe.keep,
        limit=limit,
    )
    records = open_records(source, stdin=stdin, form=recipe.form, only=_wanted(template, shape))
    try:
        return Prepared(records, template, shape)
    except BaseException:
        records.close()
        raise


def prepare(  # noqa: PLR0913 - each is a question of its own
    source: str,
    recipe: Recipe,
    out: str,
    settings: Settings,
    *,
    force: bool = False,
    first: Callable[[bytes], None] | None = None,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
) -> PreparedFile:
    """Write the job file that a source of rows and a template make: whole, or nothing.

    ``settings`` bring what changes every body (``model``, ``settings``, ``endpoint``, ``stream``) and ``limit``. Every
    request is checked as a load would check it. ``first`` is told the first line before anything is written. ``out`` is
    a path or ``-``; a file that is there is replaced only with ``force``. Raises InputError that names the row, and
    ConfigurationError.
    """
    _refuse_target(source, recipe, out, settings, force=force)
    with open_prepared(source, recipe, settings, limit=settings.limit, stdin=stdin) as prepared:
        lines = _Lines(prepared, settings, first)
        if out == STDOUT:
            sink = stdout or sys.stdout.buffer
            for line in lines:
                sink.write(line)
            sink.flush()
        else:
            _write(lines, Path(out))
    return PreparedFile(out=out, requests=lines.requests, est_in=lines.est_in)


def requests_of(prepared: Prepared, settings: Settings) -> Iterator[tuple[Made, NewRequest]]:
    """Yield what is made of each row, and the request that a load would make of that. Raises InputError that names the
    row.
    """
    compiler = Compiler(settings.job, attachments(settings), settings.providers)
    for made in prepared:
        try:
            line: Line = parse_line(made.line(), made.record.number)
            request = compiler.request(line)
        except LineProblem as problem:
            raise _bad(made, problem.reason) from None
        if isinstance(request, Problem):
            raise _bad(made, request.reason)
        yield made, request


class _Lines:
    """The lines of a job file in the making, and what was counted on the way."""

    def __init__(self, prepared: Prepared, settings: Settings, first: Callable[[bytes], None] | None) -> None:
        self._requests = requests_of(prepared, settings)
        self._first = first
        self.requests = self.est_in = 0

    def __iter__(self) -> Iterator[bytes]:
        for made, request in self._requests:
            line = made.line(request.endpoint, request.body)
            if self._first is not None and not self.requests:
                self._first(line)
            self.requests += 1
            self.est_in += request.est_in
            yield line + b"\n"


def _bad(made: Made, reason: str) -> InputError:
    number, place = made.record.number, made.record.place
    hint = "--model ID names the model of every request" if "model" in reason else "mend the template, or the row"
    problem = Problem(number, 1, reason)
    message = f"{place}: the request that is made of this row is refused: {reason}"
    return InputError(message, hint=hint, path=place.removesuffix(f":{number}"), problems=(problem,))


def _write(lines: _Lines, out: Path) -> None:
    sweep(out)
    with Replacement(out) as file:
        try:
            for line in lines:
                file.file.write(line)
        except OSError as error:
            raise disk_error(out, error) from error
        file.commit()


def _refuse_target(source: str, recipe: Recipe, out: str, settings: Settings, *, force: bool) -> None:
    """Raise ConfigurationError where the job file may not be written."""
    if out == STDOUT:
        return
    path = Path(out)
    refuse_own_files(out, str(settings.db))
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}", hint="make it, or write somewhere else")
    for own in (source, recipe.template):
        if own != STDOUT and path.exists() and Path(own).exists() and path.samefile(own):
            raise ConfigurationError(f"{out} is what is read here", hint="write to another path")
    if source != STDOUT and Path(source).is_dir() and path.resolve().is_relative_to(Path(source).resolve()):
        raise ConfigurationError(f"{out} lies in the folder that is read", hint="write to another place")
    if path.suffix.lower() not in JOB_FILES:
        raise ConfigurationError(
            f"{out}: its suffix is not a job file's", hint=f"use {' or '.join(JOB_FILES)}, or - for stdout"
        )
    regular = is_regular(path)
    if regular is False or (regular and not force):
        raise ConfigurationError(f"{out} exists", hint="write to another path, or add --force")


def _endpoint(settings: Settings) -> str | None:
    """Return the endpoint's path as it was named. Raises ConfigurationError."""
    Compiler(settings.job)
    return settings.job.endpoint


def _wanted(template: "Template", shape: Shape) -> frozenset[str] | None:
    """Return the columns that are needed; None: all."""
    if template.columns is None or shape.keep == ALL:
        return None
    return template.columns | set(shape.keep) | ({shape.id} if shape.id is not None else set())
