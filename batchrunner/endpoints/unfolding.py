"""How much work a JSON schema may make of an answer, found out before a validator is let at it.

Schemas come with job files, and a few lines of one can keep a validator busy for years: definitions that refer to the
next one twice, or to themselves from two sides. So what would be evaluated is counted first, without evaluating it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST_WORK: Final = 5_000_000
"""Evaluations that one answer may cost; a validator in Rust takes about a second for so many."""

_SAME: Final = ("not", "if", "then", "else")
_SAME_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SAME_MAPS: Final = ("dependentSchemas", "dependencies")
_BELOW: Final = (
    "additionalProperties", "unevaluatedProperties", "propertyNames", "additionalItems", "unevaluatedItems", "contains",
)  # fmt: skip
_LISTS: Final = ("prefixItems", "items")
_ELSEWHERE: Final = ("$dynamicRef", "$recursiveRef")
_WEIGHTY: Final = ("enum", "required")

Node = Mapping[str, Any]


class Unusable(Exception):  # noqa: N818 - a finding, always caught and told as a flag
    """A schema that is not let loose on an answer, and why."""


class Unfolding:
    """The size of one schema. Raises Unusable for one that nothing can be said of.

    Only references within the schema are followed: none leads to a file or to another host.
    """

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._anchors: dict[str, Node] = {}
        self._collect(schema, is_root=True)
        self._here: dict[int, Counter[int]] = {}
        self._known: dict[int, Node] = {}
        self._sizes: dict[int, int] = {}
        self._recursive = False
        try:
            self.size: int | None = self._size(schema)
            """Evaluations that one value costs at most, with all that is below it; None: it depends on the value."""
        except RecursionError:
            raise Unusable("it is nested too deeply") from None
        if self._recursive:
            self.size = None

    def refuse_work(self, value: Any, values: int) -> None:
        """Raise Unusable where an answer of so many ``values`` would cost too much."""
        if self.size is not None and self.size * values <= MOST_WORK:
            return
        try:
            self._walk(value, Counter({self._note(self._root): 1}), [0])
        except RecursionError:
            raise Unusable("the answer is nested too deeply for it") from None

    def _collect(self, schema: Any, *, is_root: bool = False) -> None:
        """Find the anchors, and refuse what makes references mean something else."""
        todo = [(schema, is_root)]
        while todo:
            node, top = todo.pop()
            if isinstance(node, dict):
                if not top and isinstance(node.get("$id"), str):
                    raise Unusable("it holds a schema with an $id of its own")
                if isinstance(node.get("$anchor"), str):
                    self._anchors[node["$anchor"]] = node
                if any(isinstance(node.get(word), str) for word in _ELSEWHERE):
                    raise Unusable("it refers to places that are only known while it is evaluated")
                todo.extend((part, False) for part in node.values())
            elif isinstance(node, list):
                todo.extend((part, False) for part in node)

    def _note(self, node: Any) -> int:
        self._known[id(node)] = node
        return id(node)

    def _resolve(self, ref: str) -> Any:
        if ref == "#":
            return self._root
        if ref.startswith("#/"):
            return self._pointed(ref)
        if ref.removeprefix("#") in self._anchors and ref.startswith("#"):
            return self._anchors[ref[1:]]
        raise Unusable(f"it refers to {ref[:100]!a}, which is not in it, and nothing is fetched")

    def _pointed(self, ref: str) -> Any:
        from urllib.parse import unquote

        node = self._root
        for part in unquote(ref[2:]).split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise Unusable(f"it refers to {ref[:100]!a}, which is not in it")
        return node

    def _same(self, node: Any) -> Iterator[Any]:
        """Yield the schemas that are applied to the very value that this one is applied to."""
        if not isinstance(node, dict):
            return
        if isinstance(node.get("$ref"), str):
            yield self._resolve(node["$ref"])
        yield from (node[word] for word in _SAME if word in node)
        for word in _SAME_LISTS:
            yield from node[word] if isinstance(node.get(word), list) else ()
        for word in _SAME_MAPS:
            yield from node[word].values() if isinstance(node.get(word), dict) else ()

    def _below(self, node: Any) -> Iterator[Any]:
        """Yield the schemas that are applied to what lies within the value."""
        if not isinstance(node, dict):
            return
        for word in ("properties", "patternProperties"):
            yield from node[word].values() if isinstance(node.get(word), dict) else ()
        yield from (node[word] for word in _BELOW if word in node)
        for word in _LISTS:
            found = node.get(word, [])
            yield from found if isinstance(found, list) else (found,)

    def _size(self, node: Any) -> int:
        """Return the size of a schema with all references written out."""
        key = self._note(node)
        known = self._sizes.get(key)
        if known == 0:
            self._recursive = True
            return 0
        if known is None:
            self._sizes[key] = 0
            self._closure(node)
            parts = [*self._same(node), *self._below(node)]
            known = _weight(node) + sum(self._size(part) for part in parts)
            self._sizes[key] = known
        return known

    def _closure(self, node: Any, above: frozenset[int] = frozenset()) -> Counter[int]:
        """Count how often each schema is applied to a value to which this one is applied once."""
        key = self._note(node)
        if key in above:
            raise Unusable("it refers to itself")
        found = self._here.get(key)
        if found is None:
            found = Counter({key: 1})
            for part in self._same(node):
                found.update(self._closure(part, above | {key}))
            self._here[key] = found
        return found

    def _walk(self, value: Any, applied: Counter[int], work: list[int]) -> None:
        """Add up what a value costs to which these schemas are applied so often."""
        full: Counter[int] = Counter()
        for key, times in applied.items():
            for inner, more in self._closure(self._known[key]).items():
                full[inner] += times * more
        work[0] += sum(times * _weight(self._known[key]) for key, times in full.items())
        if work[0] > MOST_WORK:
            raise Unusable("it would take too long to evaluate for this answer")
        if isinstance(value, dict):
            for name, part in value.items():
                self._walk(part, self._on_property(full, name), work)
        elif isinstance(value, list):
            on_items = self._counted(full, _items)
            for part in value:
                self._walk(part, on_items, work)

    def _on_property(self, full: Counter[int], name: str) -> Counter[int]:
        return self._counted(full, lambda node: _properties(node, name))

    def _counted(self, full: Counter[int], parts_of: Any) -> Counter[int]:
        applied: Counter[int] = Counter()
        for key, times in full.items():
            for part in parts_of(self._known[key]):
                applied[self._note(part)] += times
        return applied


def _weight(node: Any) -> int:
    if not isinstance(node, dict):
        return 1
    return 1 + sum(len(node[word]) for word in _WEIGHTY if isinstance(node.get(word), list))


def _properties(node: Any, name: str) -> Iterator[Any]:
    if not isinstance(node, dict):
        return
    named = node.get("properties")
    if isinstance(named, dict) and name in named:
        yield named[name]
    patterns = node.get("patternProperties")
    yield from patterns.values() if isinstance(patterns, dict) else ()
    yield from (
        node[word] for word in ("additionalProperties", "unevaluatedProperties", "propertyNames") if word in node
    )


def _items(node: Any) -> Iterator[Any]:
    if not isinstance(node, dict):
        return
    for word in _LISTS:
        found = node.get(word, [])
        yield from found if isinstance(found, list) else (found,)
    yield from (node[word] for word in ("additionalItems", "unevaluatedItems", "contains") if word in node)
