"""Templates of prompts: one file that makes a request of a row, rendered in a sandbox."""

import hashlib
from types import TracebackType
from typing import Any, Final

import msgspec
from jinja2 import Template as Compiled
from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from batchrunner.core.errors import InputError, Problem
from batchrunner.formats.records import Record
from batchrunner.formats.sandbox import Fields, Sandbox
from batchrunner.formats.screen import LineProblem, strict
from batchrunner.formats.source import BOM, open_source

WHOLE: Final = ".json.jinja"
"""A template whose name ends so makes the whole body; any other makes the text of the user's message."""
ROW: Final = "row"
"""What all columns together are called in a template, for names such as ``row["my column"]``."""
MOST_BYTES: Final = 256 * 1024
_GOES_WRONG: Final = (
    *(TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(RuntimeError, AssertionError, MemoryError, msgspec.MsgspecError),
)


class Template:
    """A template that was read and compiled.

    What a template may use is bounded (``formats/sandbox.py``). A column that a row does not have is an error, but for
    ``is defined`` and ``default``.
    """

    def __init__(self, source: str, name: str) -> None:
        """Raise InputError with the line for a source that is no template, or none that is allowed here."""
        self.name = name
        self.whole = name.endswith(WHOLE)
        self.sha256 = hashlib.sha256(source.encode()).hexdigest()
        self._box = Sandbox(whole=self.whole)
        try:
            tree = self._box.parse(source, name, name)
            self.columns = _columns(tree)
            """The columns that it may ask for; None: all, as it uses ``row``."""
            code = self._box.compiled(source, name)
        except TemplateSyntaxError as error:
            raise self._refused(error.lineno, str(error.message)) from None
        except (RecursionError, SyntaxError, MemoryError):
            raise self._refused(1, "nested too deeply") from None
        self._compiled = Compiled.from_code(self._box, code, dict(self._box.globals))

    def render(self, record: Record) -> str:
        """Return what the template makes of a row; of a whole body, JSON that was checked to be an object.

        Raises InputError that names the template's line and the row's place.
        """
        self._box.budget.renew()
        try:
            context = self._compiled.new_context({ROW: Fields(record.fields)} | record.fields)
            text = "".join(self._compiled.root_render_func(context))
        except _GOES_WRONG as error:
            reason = str(error) or type(error).__name__
            raise self._refused(self._line(error.__traceback__), f"{reason}{_known(error, record)}", record) from None
        if self.whole:
            self._check(text, record)
        return text

    def _check(self, text: str, record: Record) -> None:
        try:
            strict(text.encode())
        except LineProblem as problem:
            before = text.encode()[: problem.column - 1].decode("utf-8", "replace")
            where = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))} of what it makes"
            raise self._refused(1, f"{problem.reason} ({where})", record) from None

    def _line(self, trace: TracebackType | None) -> int:
        """Return the innermost line of the template that an error came through."""
        line = 1
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.name:
                line = self._compiled.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line

    def _refused(self, line: int, reason: str, record: Record | None = None) -> InputError:
        place = "" if record is None else f" (row {record.place})"
        return InputError(
            f"{self.name}:{line}: {reason}{place}",
            hint="mend the template and run the same command again"
            if record is None
            else "mend the template or the row",
            path=self.name,
            problems=(Problem(line, 1, f"{reason}{place}"),),
        )


def read_template(path: str) -> Template:
    """Read a template's file. Raises InputError."""
    with open_source(path) as file:
        if file.size > MOST_BYTES:
            raise InputError(f"{path} has {file.size:,} bytes: too large for a template", path=path)
        file.form = "a template"
        raw = b"".join(file.chunks()).removeprefix(BOM)
    try:
        return Template(raw.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8: byte 0x{raw[error.start]:02x}", path=path) from None


def _columns(tree: nodes.Template) -> frozenset[str] | None:
    names = find_undeclared_variables(tree)
    return None if ROW in names else frozenset(names)


def _known(error: Any, record: Record) -> str:
    """Return the columns that there are, where one was missed."""
    if "there is no column" not in str(error):
        return ""
    names = [name[:60] for name in record.fields]
    more = ", ..." if len(names) > 20 else ""
    return f"; there is {', '.join(names[:20])}{more}" if names else "; the row has none"
