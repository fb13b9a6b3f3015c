"""Templates in a box: Jinja2's immutable sandbox with far less in it, and a bound on everything that can grow.

Templates come with other people's job folders, and rows from anywhere, so both are taken for hostile. What a template
can reach is a list of what is allowed (filters, methods of text, of lists and objects), never of what is not. What it
can use up is counted: steps of loops and calls, characters put out, the size of every value that is made, and the time
that one row takes. Jinja's own sandbox bounds none of these but ``range``.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, Final, cast

import msgspec
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from batchrunner.formats.bounds import (
    INNER,
    VALUES,
    Budget,
    Fields,
    Missing,
    check_filter,
    check_format,
    gathered,
    refuse_bits,
    refuse_growth,
    refuse_size,
    short_range,
    weigh,
    weigh_outer,
)

__all__ = ["Fields", "Json", "Sandbox"]

_FILTERS: Final = (
    "abs", "batch", "capitalize", "count", "d", "default", "dictsort", "first", "float", "format", "groupby", "indent",
    "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace",
    "reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title", "trim", "truncate", "unique",
    "upper", "urlencode", "wordcount",
)  # fmt: skip
_OF_TEXT: Final = frozenset((
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
    "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "lower", "lstrip", "partition", "removeprefix",
    "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
    "strip", "swapcase", "title", "upper",
))  # fmt: skip
_OF_LISTS: Final = frozenset(("count", "index"))
_OF_OBJECTS: Final = frozenset(("get", "items", "keys", "values"))
_OF_LOOPS: Final = frozenset((
    "changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem",
    "revindex", "revindex0",
))  # fmt: skip
_TESTS: Final = (
    "boolean", "callable", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "greaterthan",
    "gt", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence",
    "string", "true", "undefined", "upper", "==", "!=", ">", ">=", "<", "<=",
)  # fmt: skip
_REFUSED: Final = (
    nodes.Extends,
    nodes.Block,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.ScopedEvalContextModifier,
)


class Json(str):
    """Text that is JSON: what ``tojson`` makes."""

    __slots__ = ()


class Sandbox(ImmutableSandboxedEnvironment):
    """The box. Not for more than one thread. ``whole``: what is put out is JSON, values only by ``tojson``."""

    sandboxed = True
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, *, whole: bool) -> None:
        super().__init__(
            autoescape=False,
            undefined=Missing,
            finalize=self._finalized,
            keep_trailing_newline=False,
            auto_reload=False,
            cache_size=0,
            optimized=False,
        )
        self.budget = Budget()
        self._whole = whole
        filters: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in _FILTERS}
        self.filters = {name: self._bounded(name, function) for name, function in filters.items()}
        self.filters |= {"tojson": self._to_json, "~loop": self._counted, "~made": self._made, "~join": self._joined}
        self.tests = {name: TESTS[name] for name in _TESTS}
        self.globals = {"range": short_range, "namespace": Namespace}

    def compiled(self, source: str, name: str) -> Any:
        """Return the code of a template. Raises TemplateSyntaxError, also for what a template here can't have."""
        self.budget.renew()
        tree = _Bounding().visit(self.parse(source, name, name))
        return self.compile(tree, name, name)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may reach an attribute: only what is on the lists."""
        if attr.startswith("_"):
            return False
        if isinstance(obj, str):
            return attr in _OF_TEXT
        if isinstance(obj, dict):
            return attr in _OF_OBJECTS
        if isinstance(obj, list | tuple):
            return attr in _OF_LISTS
        return (isinstance(obj, LoopContext) and attr in _OF_LOOPS) or isinstance(obj, Namespace)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro, a method or ``range``, within bounds."""
        self.budget.step()
        args = tuple(gathered(each) for each in args)
        for each in (*args, *kwargs.values()):
            weigh_outer(each)
        refuse_growth(obj, args)
        return self.budget.make(super().call(context, obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> None:
        """Leave ``format`` of texts to the list of what may be reached, where it is not."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute what could be larger than both of its sides."""
        self.budget.step()
        if operator == "%" and isinstance(left, str):
            check_format(left)
            weigh((left, right))
        elif isinstance(left, int) and isinstance(right, int):
            refuse_bits(operator, left, right)
        elif operator == "*":
            sizes = [_size(left), _size(right)]
            if all(isinstance(size, int) for size in sizes):
                refuse_size(sizes[0] * sizes[1])
        elif operator == "+" and isinstance(left, str | list | tuple):
            refuse_size(weigh(left) + weigh_outer(right))
        return self.budget.make(super().call_binop(context, operator, left, right))

    def _finalized(self, value: Any) -> Any:
        """Check and count what is put out."""
        if not isinstance(value, (*VALUES, Undefined)):
            raise SecurityError(f"a {type(value).__name__} can't be put into text")
        if self._whole and not isinstance(value, Json):
            if isinstance(value, str | list | tuple | dict):
                raise SecurityError("a value is put into JSON without tojson: write {{ value | tojson }}")
            value = self._to_json(value)
        self.budget.put_out(weigh(value))
        return value

    def _to_json(self, value: Any) -> Json:
        self.budget.step()
        value = gathered(value)
        weigh(value)
        made: Json = self.budget.make(Json(msgspec.json.encode(value).decode()))
        return made

    def _counted(self, values: Iterable[Any], size: int) -> Iterator[Any]:
        """Yield what a loop goes over, counting its rounds; ``size`` is the fixed text of its body."""
        for value in values:
            self.budget.step(max(size, 0))
            yield value

    def _made(self, value: Any) -> Any:
        """Bound a list or object that a template writes down: one made of others can be as large as all of them."""
        weigh(value)
        return self.budget.make(value)

    def _joined(self, values: tuple[Any, ...]) -> str:
        self.budget.step()
        weigh(values)
        made: str = self.budget.make("".join(map(str, values)))
        return made

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def bounded(*given: Any, **named: Any) -> Any:
            self.budget.step()
            args = [gathered(each) for each in given]
            check_filter(name, [each for each in args if not isinstance(each, INNER)], named)
            return self.budget.make(gathered(function(*args, **named)))

        return bounded


class _Bounding(NodeTransformer):
    """Puts the counting into a template, and refuses what leads out of one file."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja's names
        if node.recursive:
            raise TemplateSyntaxError("recursive loops can't be used here", node.lineno)
        size = sum(len(text.data) for part in node.body for text in part.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.iter = _filter(cast(nodes.Expr, node.iter), "~loop", nodes.Const(size))
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "~made") if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(nodes.Tuple(node.nodes, "load", lineno=node.lineno, environment=node.environment), "~join")

    def visit_List(self, node: nodes.Expr) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "~made")

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "~made") if node.ctx == "load" else node

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, _REFUSED):
            reason = "a template is one file, as it is: no extends, block, include, import or autoescape"
            raise TemplateSyntaxError(reason, node.lineno)
        return super().generic_visit(node, *args, **kwargs)


def _size(side: Any) -> Any:
    """Return how much one side of a multiplication repeats: characters of what has some, else the number itself."""
    if isinstance(side, str):
        return len(side)
    return weigh(side) if isinstance(side, list | tuple) else side


def _filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno, environment=node.environment)
